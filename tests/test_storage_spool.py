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
from fleetpulse.storage.jumps import JumpClock
from fleetpulse.storage.spool import Spool

Open = Callable[..., Spool]


class Clocks:
    """The time of day and a steady clock, which go on together until the first is set."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_700_000_000.0, 50.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds

    def now(self) -> float:
        return self.wall

    def since_boot(self) -> float:
        return self.steady


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def opened(tmp_path: Path, clocks: Clocks) -> Iterator[Open]:
    """Opens spools in the same file and closes what a test leaves open."""
    spools: list[Spool] = []

    def open_spool(**limits: float) -> Spool:
        path = tmp_path / "deep" / "spool.db"
        spools.append(
            Spool(path, busy_timeout=0.05, now=clocks.now, steady=clocks.since_boot, **limits)  # type: ignore[arg-type]
        )
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


REASON_NAMES = ("items", "bytes", "age", "too_large", "damaged")
# limits, payloads put in this order, a minute between them, what each reason has dropped
REASONS = [
    pytest.param({}, [b"a", b"b"], {}, id="nothing"),
    pytest.param({"max_items": 1}, [b"a", b"b", b"c"], {"items": 2}, id="too many"),
    pytest.param({"max_bytes": 2}, [b"a", b"b", b"c"], {"bytes": 1}, id="too many bytes"),
    pytest.param({"max_bytes": 2}, [b"abc"], {"too_large": 1}, id="larger than the spool"),
    pytest.param({"max_age": 90}, [b"a", b"b", b"c"], {"age": 1}, id="too old"),
    pytest.param(
        {"max_age": 90, "max_items": 1}, [b"a", b"b", b"c"], {"items": 2},
        id="what is gone already grows no older",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("limits", "put", "reasons"), REASONS)
def test_drops_are_counted_by_reason(
    opened: Open,
    clocks: Clocks,
    limits: dict[str, float],
    put: list[bytes],
    reasons: dict[str, int],
) -> None:
    spool = opened(**limits)
    for payload in put:
        clocks.pass_(60)
        spool.put(payload)
    assert spool.dropped == dict.fromkeys(REASON_NAMES, 0) | reasons
    assert spool.dropped_total == sum(reasons.values())


def test_units_are_counted_where_payloads_are(opened: Open, clocks: Clocks) -> None:
    spool = opened(max_bytes=4, max_age=100)
    for payload, units in ((b"a", 10), (b"bbb", 20), (b"cc", 30), (b"x" * 5, 40)):
        spool.put(payload, units)
    assert (spool.units, spool.dropped_units["bytes"]) == (30, 30)
    assert spool.dropped_units["too_large"] == 40
    spool.close()
    again = opened(max_bytes=4, max_age=100)
    assert again.units == 30
    again.put(b"d")
    assert again.units == 31
    [(first, _), (second, _)] = again.peek(9)
    again.ack([first])
    assert again.units == 1
    again.discard([second, 10**6])
    assert (again.units, again.dropped["damaged"], again.dropped_units["damaged"]) == (0, 1, 1)
    again.put(b"e", 7)
    clocks.pass_(101)
    assert payloads(again) == []
    assert (again.units, again.dropped_units["age"]) == (0, 7)


def test_what_has_waited_too_long_is_not_told_any_more(opened: Open, clocks: Clocks) -> None:
    spool = opened(max_age=100)
    spool.put(b"old")
    clocks.pass_(60)
    spool.put(b"new")
    assert spool.oldest_age == 60
    clocks.pass_(41)
    assert payloads(spool) == [b"new"]
    assert (len(spool), spool.size_bytes, spool.oldest_age) == (1, 3, 41)
    spool.ack([number for number, _ in spool.peek(1)])
    assert spool.oldest_age == 0


# What happens to the clock between a put() and the next look, and what is left of `a`'s 100 s.
CLOCKS = [
    pytest.param(0, 0, 0, id="nothing"),
    pytest.param(0, 90, 90, id="time passes"),
    pytest.param(0, 101, None, id="too much time passes"),
    pytest.param(-86400, 90, 90, id="it is set back a day"),
    pytest.param(86400 * 365 * 54, 90, 90, id="from the epoch to today, as at a start without RTC"),
    pytest.param(86400, 101, None, id="it is set forward, and too much time passes"),
    pytest.param(30, 80, None, id="so little that it may have been slewed is time"),
]


@pytest.mark.parametrize(("jump", "passed", "age"), CLOCKS)
def test_setting_the_clock_makes_nothing_older_or_younger(
    opened: Open, clocks: Clocks, jump: float, passed: float, age: float | None
) -> None:
    spool = opened(max_age=100)
    spool.put(b"a")
    clocks.wall += jump
    clocks.pass_(passed)
    assert payloads(spool) == ([] if age is None else [b"a"])
    assert spool.oldest_age == pytest.approx(age or 0.0)


def test_across_a_restart_there_is_the_clock_to_go_by(
    opened: Open, clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    first = opened(max_age=3600)
    first.put(b"a")
    first.put(b"b")
    first.close()
    clocks.pass_(3601)
    again = opened(max_age=3600)
    assert (payloads(again), again.dropped["age"]) == ([], 2)
    assert "dropped 2 that have waited for more than 1h, by this host's clock" in caplog.text


def test_a_time_that_lies_ahead_at_a_restart_counts_as_now(opened: Open, clocks: Clocks) -> None:
    first = opened(max_age=3600)
    first.put(b"a")
    first.close()
    clocks.wall = 1000.0  # booted without a clock of its own
    again = opened(max_age=3600)
    assert (payloads(again), again.oldest_age) == ([b"a"], 0)
    clocks.pass_(60)
    clocks.wall = 1_700_000_100.0  # which is told the time a minute later
    assert payloads(again) == [b"a"]
    assert again.oldest_age == 60


JUMPS = [
    pytest.param(10, 10, 0.0, id="time passes"),
    pytest.param(70, 10, 60.0, id="set forward"),
    pytest.param(-50, 10, -60.0, id="set back"),
    pytest.param(69, 10, 0.0, id="less than what counts"),
]


@pytest.mark.parametrize(("wall", "steady", "jump"), JUMPS)
def test_a_clock_that_was_set_is_told_from_time(wall: float, steady: float, jump: float) -> None:
    clocks = Clocks()
    clock = JumpClock(clocks.now, clocks.since_boot)
    assert clock.look() == (1_700_000_000.0, 0.0)
    clocks.wall += wall
    clocks.steady += steady
    assert clock.look() == (1_700_000_000.0 + wall, jump)
    assert clock.look()[1] == 0.0


def make_old_file(path: Path, *, version: int = 0) -> None:
    """As the first version of this program left them: no times, version 0."""
    path.parent.mkdir()
    db = sqlite3.connect(path)
    db.execute("PRAGMA application_id = 0x46505350")
    db.execute(f"PRAGMA user_version = {version}")
    db.execute("CREATE TABLE items (id INTEGER PRIMARY KEY AUTOINCREMENT, payload BLOB NOT NULL)")
    db.executemany("INSERT INTO items (payload) VALUES (?)", [(b"a",), (b"b",)])
    db.commit()
    db.close()


def test_a_file_of_the_first_version_is_taken_over(
    opened: Open, clocks: Clocks, tmp_path: Path
) -> None:
    path = tmp_path / "deep" / "spool.db"
    make_old_file(path)
    spool = opened(max_age=100)
    assert payloads(spool) == [b"a", b"b"]
    clocks.pass_(90)
    spool.put(b"c")
    clocks.pass_(20)
    assert payloads(spool) == [b"c"]
    spool.close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (1,)
    assert db.execute("SELECT count(*) FROM put_times").fetchone() == (1,)
    db.close()


def test_what_an_older_version_put_meanwhile_counts_as_put_now(
    opened: Open, clocks: Clocks, tmp_path: Path
) -> None:
    first = opened()
    first.put(b"a")
    first.close()
    db = sqlite3.connect(tmp_path / "deep" / "spool.db")
    db.execute("INSERT INTO items (payload) VALUES (?)", (b"b",))
    db.execute("DELETE FROM items WHERE payload = ?", (b"a",))
    db.commit()
    db.close()
    clocks.pass_(1000)
    again = opened(max_age=100)
    assert (payloads(again), again.oldest_age) == ([b"b"], 0)


def test_a_file_of_a_later_version_is_left_alone(opened: Open, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "spool.db"
    make_old_file(path, version=2)
    before = path.read_bytes()
    with pytest.raises(StartError, match="of a newer version of FleetPulse; install that"):
        opened()
    assert path.read_bytes() == before


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


FULL = """
import resource, sys
from pathlib import Path
from fleetpulse.errors import StorageError
from fleetpulse.storage.spool import Spool
spool = Spool(Path(sys.argv[1]))
free, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, most))
kept = 0
try:
    while kept < 100:
        spool.put(bytes(20_000))
        kept += 1
except StorageError as err:
    print(err.retriable, len(spool) == kept, spool.size_bytes == kept * 20_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (free, most))
spool.put(b"room again")
spool.close()
print(kept + 1 == len(Spool(Path(sys.argv[1]))))
"""


@pytest.mark.integration
def test_a_full_disk_loses_only_what_could_not_be_put(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk."""
    command = [sys.executable, "-c", FULL, tmp_path / "spool.db"]
    done = subprocess.run(command, timeout=30, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["True"] * 4


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
