"""What is done to a store by hand: verified, backed up, restored, cut, counted."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from fleetpulse.errors import StorageError
from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels
from fleetpulse.storage.embedded import CompactionLimits, Keeping, backup, restore, verify
from fleetpulse.storage.embedded.holders import pids
from tests import store_v1
from tests.store_fakes import (
    FOR_EVER,
    FROM_EVER,
    MINUTE,
    T0,
    everything,
    line,
    opened,
    page,
    timed_page,
)

HOSTS = [Labels.of(host=name) for name in "abc"]
LINES = [line("m", n="1"), line("m", n="2"), line("other")]
LATE = T0 + 600 * MINUTE
ALL = CompactionLimits(min_age=0, gather=0)


def make(path: Path, *, minutes: int = 150, fold: bool = True) -> None:
    with opened(path, now_ms=LATE) as store:
        for at in range(minutes):
            values = {one: at + k for k, one in enumerate(LINES)}
            store.write([page(host, T0 + at * MINUTE, values) for host in HOSTS])
        if fold:
            store.compact(ALL)


def execute(path: Path, query: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute(query)
        db.commit()


FINDINGS = [
    pytest.param("UPDATE page SET vals = zeroblob(24) WHERE id = 1", "page (id 1)", id="page"),
    pytest.param(
        "UPDATE chunk SET vals = x'9c00' WHERE line = 2 AND target = 1 AND span = 236111",
        "chunk (span 236111, line 2, target 1)",
        id="chunk",
    ),
    pytest.param("UPDATE chunk SET clock = 7 WHERE line = 1", "chunk (span", id="no such clock"),
    pytest.param("UPDATE clock SET samples = 9", "clock (span 236111, target 1, n 0)", id="clock"),
    pytest.param("UPDATE line SET labels = '[]' WHERE id = 3", "line (id 3)", id="line"),
    pytest.param("UPDATE layout SET digest = x'00'", "layout (id 1)", id="layout"),
]


@pytest.mark.parametrize(("damage", "told"), FINDINGS)
def test_verify_names_what_is_damaged(tmp_path: Path, damage: str, told: str) -> None:
    path = tmp_path / "x.db"
    make(path)
    with opened(path) as store:
        store.write([page(HOSTS[0], LATE, dict.fromkeys(LINES, 1.0))])
        store.write([timed_page(HOSTS[0], [(LINES[0], LATE + 5, 1.0)])])
    assert verify(path).findings == []
    assert verify(path).blobs > 20
    execute(path, damage)

    found = verify(path)

    assert any(told in finding for finding in found.findings), found.findings


def test_verify_tells_of_blobs_that_have_no_checksum_yet(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    store_v1.build(path)
    with opened(path, now_ms=LATE) as store:
        assert (verify(path).unsealed, verify(path).findings) == (17, [])
        store.compact(ALL)
    assert (verify(path).unsealed, verify(path).findings) == (0, [])


def test_verify_goes_on_where_a_part_cannot_be_walked_through(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    make(path)
    with closing(sqlite3.connect(path)) as db:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'page'"
        root = db.execute(query).fetchone()[0]
    with path.open("r+b") as file:
        file.seek((root - 1) * 16384)
        file.write(b"\xff" * 16384)

    found = verify(path)

    assert any("the file is damaged" in finding for finding in found.findings)
    assert found.blobs > 10


def test_a_backup_is_the_store_at_one_moment_while_it_is_written(tmp_path: Path) -> None:
    path, copy = tmp_path / "x.db", tmp_path / "copy.db"
    make(path, fold=False)
    with opened(path, now_ms=LATE) as store:
        before = everything(store)
        written: list[int] = []

        def meddle(done: int, total: int) -> None:
            written.append(done)
            store.write([page(HOSTS[0], LATE + len(written), dict.fromkeys(LINES, 1.0))])

        size = backup(path, copy, meddle)
        assert len(everything(store)) == 9

    assert written
    assert size == copy.stat().st_size
    assert verify(copy).findings == []
    with opened(copy) as kept:
        assert everything(kept) == before
    assert [file.name for file in tmp_path.glob("copy*")] == ["copy.db"]
    with pytest.raises(StorageError, match="there already"):
        backup(path, copy)


def test_restore_puts_a_backup_in_place_and_keeps_what_was_there(tmp_path: Path) -> None:
    path, copy = tmp_path / "x.db", tmp_path / "copy.db"
    make(path)
    backup(path, copy)
    with opened(path) as store:
        before = everything(store)
        store.write([page(HOSTS[0], LATE, dict.fromkeys(LINES, 1.0))])
        after = everything(store)

    kept = restore(copy, path)

    with opened(path) as store:
        assert everything(store) == before
    assert kept is not None
    with opened(kept) as store:
        assert everything(store) == after


@pytest.mark.parametrize("there", [None, b"", b"\xff" * 99999], ids=["none", "empty", "garbage"])
def test_restore_needs_no_store_that_can_be_opened(tmp_path: Path, there: bytes | None) -> None:
    path, copy = tmp_path / "data" / "x.db", tmp_path / "copy.db"
    make(copy)
    if there is not None:
        path.parent.mkdir()
        path.write_bytes(there)

    restore(copy, path)

    with opened(path) as store:
        assert len(everything(store)) == 9


def test_a_log_that_a_crash_left_is_not_taken_for_the_backups(tmp_path: Path) -> None:
    path, copy = tmp_path / "x.db", tmp_path / "copy.db"
    make(path)
    backup(path, copy)
    with opened(path) as store:
        store.write([page(HOSTS[0], LATE, dict.fromkeys(LINES, 1.0))])
        log = (tmp_path / "x.db-wal").read_bytes()
    (tmp_path / "x.db-wal").write_bytes(log)  # as after a kill -9

    restore(copy, path)

    assert (tmp_path / "x.db.before-restore-wal").read_bytes() == log
    with opened(path) as store, opened(copy) as other:
        assert everything(store) == everything(other)


HOLD = """
import sys
from pathlib import Path
from fleetpulse.storage.embedded import EmbeddedStore
store = EmbeddedStore(Path(sys.argv[2]), read_only=sys.argv[1] == "reader")
print("open", flush=True)
sys.stdin.readline()
"""


@pytest.mark.integration
@pytest.mark.parametrize("role", ["writer", "reader"])
def test_restore_refuses_a_store_in_use_and_names_who_has_it(tmp_path: Path, role: str) -> None:
    path, copy = tmp_path / "x.db", tmp_path / "copy.db"
    make(path)
    backup(path, copy)
    script = tmp_path / "hold.py"
    script.write_text(HOLD)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    command = [sys.executable, str(script), role, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(StorageError, match=rf"in use by hold.py {role} \(pid {process.pid}\)"):
            restore(copy, path)
        process.communicate(b"\n")

    restore(copy, path)


def test_a_broken_backup_is_not_restored(tmp_path: Path) -> None:
    path, copy = tmp_path / "x.db", tmp_path / "copy.db"
    make(path)
    shutil.copy(path, copy)
    with copy.open("r+b") as file:
        file.seek(3 * 16384)
        file.write(b"\xff" * 16384 * 3)
    before = path.read_bytes()

    with pytest.raises(StorageError, match="damaged"):
        restore(copy, path)
    with pytest.raises(StorageError, match="cannot be opened"):
        restore(tmp_path / "none.db", path)

    assert path.read_bytes() == before


def test_the_holders_of_a_lock_are_read_from_proc() -> None:
    locks = (
        "1: POSIX  ADVISORY  READ 29691 fe:00:99 1073741826 1073742335\n"
        "2: POSIX  ADVISORY  READ 7 fe:00:99 128 128\n"
        "2: -> POSIX  ADVISORY  WRITE 8 fe:00:99 0 EOF\n"
        "3: FLOCK  ADVISORY  WRITE 9 fe:00:98 0 EOF\n"
        "4: OFDLCK ADVISORY  READ -1 fe:00:99 0 EOF\n"
    )
    assert pids(locks, "fe:00:99") == [7, 29691]


# Matchers; first and last minute; samples that go of 1,350.
CUTS = [
    pytest.param([Matcher("__name__", "=", "other")], 0, 149, 450, id="a metric, all of it"),
    pytest.param([Matcher("host", "=", "a")], 0, 9, 30, id="a host, the first minutes"),
    pytest.param([Matcher("n", "=", "1"), Matcher("host", "!=", "c")], 100, 130, 62, id="across"),
    pytest.param([Matcher("__name__", "=", "none")], 0, 149, 0, id="nothing"),
    pytest.param([], 0, 149, 1350, id="all"),
]


@pytest.mark.parametrize("fold", [False, True], ids=["pages", "chunks"])
@pytest.mark.parametrize(("matchers", "first", "last", "count"), CUTS)
def test_delete_takes_what_matches_and_nothing_else(
    tmp_path: Path, matchers: list[Matcher], first: int, last: int, count: int, fold: bool
) -> None:
    path = tmp_path / "x.db"
    make(path, fold=fold)
    start, end = T0 + first * MINUTE, T0 + last * MINUTE
    with opened(path, now_ms=LATE) as store:
        before = everything(store)
        gone = everything(store, *matchers, start_ms=start, end_ms=end)

        assert store.delete(matchers, start, end) == count

        left = {
            labels: {at: value for at, value in samples.items() if at not in gone.get(labels, {})}
            for labels, samples in before.items()
        }
        assert everything(store) == {labels: found for labels, found in left.items() if found}
        store.write([page(HOSTS[0], T0, dict.fromkeys(LINES, 1.0))])  # may come back
        assert everything(store)[HOSTS[0].merged(LINES[2])][T0]
    assert verify(path).findings == []


def tier_rows(path: Path) -> list[tuple[int, int]]:
    """How many days of tiers there are, by line."""
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT line, count(*) FROM tier GROUP BY line").fetchall()


@pytest.mark.parametrize("raw", [True, False], ids=["with samples", "tiers alone"])
def test_delete_takes_the_tiers_too(tmp_path: Path, raw: bool) -> None:
    path, day = tmp_path / "x.db", 1440 * MINUTE
    with opened(path, now_ms=T0 + 5 * day) as store:
        pages = [T0 + at * 10 * MINUTE for at in range(300)]
        store.write([page(HOSTS[0], at, dict.fromkeys(LINES, 1.0)) for at in pages])
        store.compact(ALL)
        assert tier_rows(path) == [(1, 3), (2, 3), (3, 3)]
        if not raw:
            store.expire(Keeping(3600.0, 30 * 86_400.0))
            assert everything(store) == {}

        deleted = store.delete([Matcher("__name__", "=", "other")], FROM_EVER, FOR_EVER)
        assert deleted == (300 if raw else 0)
        store.delete([Matcher("n", "=", "1")], T0 - day, T0 + day)
        store.compact(ALL)

        assert tier_rows(path) == [(1, 2), (2, 3)]
    assert verify(path).findings == []


def test_a_census_counts_series_labels_and_samples(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    make(path)
    with opened(path) as store:
        store.write([page(HOSTS[0], LATE, dict.fromkeys(LINES, 1.0))])
        found = store.census()

    assert dict(found.series_of) == {"m": 6, "other": 3}
    assert dict(found.values_of) == {"host": 3, "__name__": 2, "n": 2}
    assert found.samples == 1353
