"""The bounded queue on disk."""

import logging
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleetpulse.errors import StartError, StorageError
from fleetpulse.storage.spool import Spool

Open = Callable[..., Spool]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens spools in the same file and closes what a test leaves open."""
    spools: list[Spool] = []

    def open_spool(**limits: int) -> Spool:
        spools.append(Spool(tmp_path / "deep" / "spool.db", busy_timeout=0.05, **limits))
        return spools[-1]

    yield open_spool
    for spool in spools:
        spool.close()


def payloads(spool: Spool) -> list[bytes]:
    return [payload for _, payload in spool.peek(1000)]


# limits, payloads put in this order, what stays, what each put() answered
BOUNDS = [
    pytest.param({}, [b"a", b"b"], [b"a", b"b"], [0, 0], id="no limit keeps everything"),
    pytest.param({"max_items": 2}, [b"a", b"b"], [b"a", b"b"], [0, 0], id="full is not too full"),
    pytest.param(
        {"max_items": 2}, [b"a", b"b", b"c"], [b"b", b"c"], [0, 0, 1], id="the oldest goes first"
    ),
    pytest.param(
        {"max_bytes": 4}, [b"aa", b"bb", b"cccc"], [b"cccc"], [0, 0, 2], id="as many as it takes"
    ),
    pytest.param(
        {"max_bytes": 4}, [b"aa", b"x" * 5], [b"aa"], [0, 1], id="one too large for any room"
    ),
    pytest.param(
        {"max_items": 9, "max_bytes": 2}, [b"a", b"b", b"c"], [b"b", b"c"], [0, 0, 1],
        id="the tighter limit counts",
    ),
    pytest.param({"max_bytes": 2}, [b"", b"ab"], [b"", b"ab"], [0, 0], id="an empty payload"),
]  # fmt: skip


@pytest.mark.parametrize(("limits", "put", "kept", "answers"), BOUNDS)
def test_the_bounds_hold_and_drops_are_counted(
    opened: Open, limits: dict[str, int], put: list[bytes], kept: list[bytes], answers: list[int]
) -> None:
    spool = opened(**limits)
    assert [spool.put(payload) for payload in put] == answers
    assert payloads(spool) == kept
    assert len(spool) == len(kept)
    assert spool.size_bytes == sum(map(len, kept))
    assert spool.dropped_total == sum(answers)


def test_peek_takes_nothing_away_and_ack_only_what_it_names(opened: Open) -> None:
    spool = opened()
    for payload in (b"a", b"bb", b"ccc"):
        spool.put(payload)
    first, second = spool.peek(2)
    assert spool.peek(2) == [first, second]
    spool.ack([second[0], 10**9])
    assert payloads(spool) == [b"a", b"ccc"]
    assert (len(spool), spool.size_bytes) == (2, 4)


def test_a_late_ack_of_a_dropped_payload_hits_no_other(opened: Open) -> None:
    spool = opened(max_items=1)
    spool.put(b"a")
    [(stale, _)] = spool.peek(1)
    spool.put(b"b")
    spool.ack([stale])
    assert payloads(spool) == [b"b"]


def test_a_restart_finds_what_was_left(opened: Open) -> None:
    first = opened()
    first.put(b"a")
    first.put(b"bb")
    first.close()
    again = opened()
    assert payloads(again) == [b"a", b"bb"]
    assert (len(again), again.size_bytes) == (2, 3)


def test_limits_lowered_at_a_restart_are_kept_from_the_next_put_on(opened: Open) -> None:
    first = opened()
    for payload in (b"a", b"b", b"c"):
        first.put(payload)
    first.close()
    again = opened(max_items=2)
    assert again.put(b"d") == 2
    assert payloads(again) == [b"c", b"d"]


KILLED = """
import os, signal, sys
from pathlib import Path
from fleetpulse.storage.spool import Spool
spool = Spool(Path(sys.argv[1]))
for number in range(20):
    spool.put(b"%d" % number)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.integration
def test_kill_9_loses_nothing_that_was_put(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "spool.db"
    done = subprocess.run([sys.executable, "-c", KILLED, path], timeout=30, check=False)
    assert done.returncode == -9
    assert payloads(opened()) == [b"%d" % number for number in range(20)]


def test_a_second_owner_is_refused_and_told_why(opened: Open) -> None:
    opened().put(b"a")
    with pytest.raises(StartError, match="another process uses this spool"):
        opened()


def test_a_corrupt_file_is_set_aside(
    opened: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "deep" / "spool.db"
    path.parent.mkdir()
    path.write_bytes(b"no database at all, whatever the name says" * 100)
    with caplog.at_level(logging.ERROR):
        spool = opened()
    assert spool.put(b"a") == 0
    assert payloads(spool) == [b"a"]
    assert spool.set_aside_total == 1
    assert "set aside as spool.db.corrupt" in caplog.text
    assert (tmp_path / "deep" / "spool.db.corrupt").read_bytes().startswith(b"no database")


def test_damage_found_while_running_costs_the_queue_but_not_the_service(
    opened: Open, tmp_path: Path
) -> None:
    first = opened()
    first.put(bytes(100_000))
    first.close()
    path = tmp_path / "deep" / "spool.db"
    whole = path.read_bytes()
    # The last pages hold the payload's tail: opening meets no damage, reading does.
    path.write_bytes(whole[:-50_000] + b"\xff" * 50_000)
    spool = opened()
    assert len(spool) == 1
    assert payloads(spool) == []
    assert spool.set_aside_total == 1
    spool.put(b"after")
    assert (len(spool), spool.size_bytes) == (1, 5)


def test_another_programs_database_is_left_alone(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "spool.db"
    path.parent.mkdir()
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE mine (x)")
    foreign.close()
    before = path.read_bytes()
    with pytest.raises(StartError, match="no spool; choose another file"):
        opened()
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_says_how_to_mend_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StartError, match=r"make .*file writable .* or choose another --data-dir"):
        Spool(tmp_path / "file" / "spool.db")


def test_after_close_every_call_is_a_storage_error(opened: Open) -> None:
    spool = opened()
    spool.close()
    spool.close()
    with pytest.raises(StorageError, match="closed"):
        spool.put(b"a")


def test_threads_share_it(opened: Open) -> None:
    spool = opened(max_items=30)

    def fill() -> None:
        for _ in range(20):
            spool.put(b"xy")

    threads = [threading.Thread(target=fill) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(spool), spool.size_bytes, spool.dropped_total) == (30, 60, 30)
