from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleetpulse.errors import StorageError
from fleetpulse.storage.drain import Drain, Fault, SendError
from fleetpulse.storage.spool import Spool


class Store:
    """Takes lines, but for those that hold `bad`; fails as often as it is told to."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.batches: list[int] = []
        self.failures: list[SendError] = []
        self.most = 10**9
        self.when_asked: Callable[[], None] = lambda: None

    def __call__(self, lines: bytes, timeout: float) -> None:
        self.batches.append(lines.count(b"\n"))
        self.when_asked()
        if self.failures:
            raise self.failures.pop(0)
        if self.batches[-1] > self.most:
            raise SendError("HTTP 413", "size")
        if b"bad" in lines:
            raise SendError("HTTP 400", "lines")
        self.taken += lines.splitlines()


class Tally:
    def __init__(self) -> None:
        self.count = self.failures = 0
        self.bad: list[bytes] = []
        self.is_blocked = False

    def sent(self, lines: int) -> None:
        self.count += lines

    def failed(self, fault: Fault) -> None:
        self.failures += 1

    def blocked(self, blocked: bool) -> None:
        self.is_blocked = blocked

    def rejected(self, line: bytes, reason: str) -> None:
        assert reason.startswith("HTTP 4")
        self.bad.append(line.strip())


class Bench:
    """A drain over a real spool, with a clock that is moved by hand."""

    def __init__(self, path: Path, batch_size: int = 10) -> None:
        self.spool, self.store, self.tally = Spool(path), Store(), Tally()
        self.time, self.jitter = 1000.0, 0.0
        self.drain = Drain(
            self.spool,
            self.store,
            self.tally,
            batch_size=batch_size,
            timeout=9.0,
            clock=lambda: self.time,
            jitter=lambda: self.jitter,
        )

    def put(self, *names: str) -> None:
        self.spool.put("".join(f"{name}\n" for name in names).encode())


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "spool.db")
    yield bench
    bench.spool.close()


def test_small_payloads_go_together_and_leave_the_spool(bench: Bench) -> None:
    for index in range(25):
        bench.put(f"m{index}")
    bench.drain.turn()
    assert bench.store.taken == [f"m{index}".encode() for index in range(25)]
    assert max(bench.store.batches) <= 10
    assert len(bench.store.batches) < 25
    assert (len(bench.spool), bench.tally.count) == (0, 25)


def test_a_payload_larger_than_a_batch_is_parted(bench: Bench) -> None:
    bench.put(*(f"m{index}" for index in range(25)))
    bench.drain.turn()
    assert bench.store.batches == [10, 10, 5]
    assert len(bench.spool) == 0


def test_a_store_that_is_away_keeps_everything_in_the_spool(bench: Bench) -> None:
    bench.put("a", "b")
    bench.store.failures = [SendError("no route")]
    bench.drain.turn()
    assert (bench.store.taken, len(bench.spool), bench.tally.failures) == ([], 1, 1)


def test_it_backs_off_longer_with_every_failure_and_then_goes_on(bench: Bench) -> None:
    bench.put("a")
    bench.store.failures = [SendError("HTTP 503")] * 3
    tried = []
    for second in range(20):
        bench.time = 1000.0 + second
        before = len(bench.store.batches)
        bench.drain.turn()
        tried += [second] if len(bench.store.batches) > before else []
    assert tried == [0, 1, 3, 7]
    assert bench.store.taken == [b"a"]


def test_it_waits_as_long_as_the_store_asks(bench: Bench) -> None:
    bench.put("a")
    bench.store.failures = [SendError("HTTP 429", retry_after=30)]
    bench.drain.turn()
    bench.time += 29
    bench.drain.turn()
    assert bench.store.taken == []
    bench.time += 1
    bench.drain.turn()
    assert bench.store.taken == [b"a"]


def test_only_the_bad_lines_of_a_rejected_batch_are_set_aside(bench: Bench) -> None:
    bench.put("a", "bad1", "b", "c")
    bench.put("d", "bad2")
    bench.drain.turn()
    assert sorted(bench.store.taken) == [b"a", b"b", b"c", b"d"]
    assert bench.tally.bad == [b"bad1", b"bad2"]
    assert (len(bench.spool), bench.tally.count) == (0, 4)


def test_a_batch_that_is_too_large_for_the_store_is_halved(bench: Bench) -> None:
    bench.store.most = 3
    bench.put(*"abcdefgh")
    bench.drain.turn()
    assert b"".join(bench.store.taken) == b"abcdefgh"
    assert bench.tally.bad == []


def test_a_failure_amid_a_bisection_tells_no_bad_line_twice(bench: Bench) -> None:
    bench.put("bad", "a")
    rejected = SendError("HTTP 400", "lines")
    bench.store.failures = [rejected, rejected, SendError("HTTP 500")]
    bench.drain.turn()
    assert (bench.tally.bad, len(bench.spool)) == ([], 1)
    bench.time += 100
    bench.drain.turn()
    assert (bench.tally.bad, bench.tally.count, len(bench.spool)) == ([b"bad"], 1, 0)


def test_the_search_for_bad_lines_ends(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "spool.db", batch_size=5000)
    bench.put("good", *(f"bad{index}" for index in range(4999)))
    bench.drain.turn()
    assert len(bench.store.batches) < 2100
    assert (len(bench.tally.bad), len(bench.spool)) == (4999, 0)
    assert bench.store.taken == [b"good"]
    bench.spool.close()


def test_a_store_that_takes_no_line_at_all_keeps_the_queue_from_being_burnt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(tmp_path / "spool.db", batch_size=5000)
    bench.put(*(f"bad{index}" for index in range(5000)))
    bench.drain.turn()
    assert len(bench.store.batches) < 120
    assert (bench.tally.bad, len(bench.spool), bench.tally.is_blocked) == ([], 1, True)
    assert "no line at all is taken" in caplog.text
    bench.spool.close()


def test_bad_lines_alone_are_set_aside_once_good_ones_come_with_them(bench: Bench) -> None:
    bench.put("bad1", "bad2")
    bench.drain.turn()
    assert (bench.tally.bad, len(bench.spool)) == ([], 1)
    bench.put("good")
    bench.time += 60
    bench.drain.turn()
    assert (bench.tally.bad, bench.store.taken) == ([b"bad1", b"bad2"], [b"good"])
    assert (len(bench.spool), bench.tally.is_blocked) == (0, False)


def test_lines_that_the_words_name_are_looked_at_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "spool.db", batch_size=1000)

    class Naming(Store):
        def __call__(self, lines: bytes, timeout: float) -> None:
            self.batches.append(lines.count(b"\n"))
            bad = lines.count(b"bad")
            if bad:
                raise SendError(
                    "HTTP 400", "lines", dropped=bad, suspected=lambda line: b"bad" in line
                )
            self.taken += lines.splitlines()

    store = Naming()
    drain = Drain(bench.spool, store, bench.tally, batch_size=1000, timeout=9.0)
    bench.put(*(f"bad{n}" if n % 10 == 0 else f"a{n}" for n in range(1000)))
    drain.turn()
    assert store.batches == [1000, 900, 100]
    assert (len(bench.tally.bad), len(store.taken), len(bench.spool)) == (100, 900, 0)
    bench.spool.close()


def test_a_number_of_one_fault_hides_no_line_of_another(bench: Bench) -> None:
    class Partial(Store):
        """Takes the good lines; of two faults it tells the number of the first."""

        def __call__(self, lines: bytes, timeout: float) -> None:
            self.taken += [line for line in lines.splitlines() if b"bad" not in line]
            for kind in (b"bad1", b"bad2"):
                if number := lines.count(kind):
                    raise SendError("HTTP 400", "lines", dropped=number)

    store = Partial()
    drain = Drain(bench.spool, store, bench.tally, batch_size=10, timeout=9.0)
    bench.put("bad1", "a", "bad2", "b", "bad2", "c")
    drain.turn()
    assert sorted(bench.tally.bad) == [b"bad1", b"bad2", b"bad2"]
    assert (set(store.taken), bench.tally.count) == ({b"a", b"b", b"c"}, 3)


def test_a_damaged_payload_is_dropped_counted_and_holds_up_nobody(bench: Bench) -> None:
    def split(payload: bytes) -> list[bytes]:
        if payload == b"#":
            raise StorageError("crc", retriable=False)
        return payload.splitlines(keepends=True)

    drain = Drain(bench.spool, bench.store, bench.tally, batch_size=2, timeout=9.0, split=split)
    for payload in (b"#", b"#", b"a\n", b"#", b"b\n", b"c\n"):
        bench.spool.put(payload)
    drain.turn()
    assert bench.store.taken == [b"a", b"b", b"c"]
    assert (len(bench.spool), bench.spool.dropped["damaged"]) == (0, 3)


def test_finish_does_not_wait_for_the_back_off_but_ends_in_time(bench: Bench) -> None:
    bench.put("a")
    bench.store.failures = [SendError("HTTP 503")]
    bench.drain.turn()
    bench.drain.finish(0.0)
    assert bench.store.taken == []
    bench.drain.finish(5.0)
    assert bench.store.taken == [b"a"]


def test_an_interrupted_turn_ends_after_its_batch(bench: Bench) -> None:
    bench.put(*(f"a{index}" for index in range(10)))
    bench.put("b")
    bench.store.when_asked = bench.drain.interrupt
    bench.drain.turn()
    bench.drain.turn()
    assert (bench.store.batches, len(bench.spool)) == ([10], 1)
    bench.drain.finish(5.0)
    assert bench.store.batches == [10, 1]


def test_an_interrupted_search_for_bad_lines_is_begun_anew(bench: Bench) -> None:
    bench.put("bad", "a", "b")
    bench.store.when_asked = bench.drain.interrupt
    bench.drain.turn()
    assert (bench.store.batches, bench.tally.failures, len(bench.spool)) == ([3], 0, 1)
    bench.drain.finish(5.0)
    assert (sorted(bench.store.taken), bench.tally.bad) == ([b"a", b"b"], [b"bad"])


def test_what_is_left_is_sent_after_a_restart(tmp_path: Path) -> None:
    first = Bench(tmp_path / "spool.db")
    first.put("a")
    first.spool.close()
    second = Bench(tmp_path / "spool.db")
    second.drain.turn()
    assert second.store.taken == [b"a"]
    second.spool.close()


def test_two_that_failed_together_do_not_come_back_together(bench: Bench) -> None:
    bench.put("a")
    bench.store.failures = [SendError("HTTP 503")] * 3
    bench.jitter = 1.0
    tried = []
    for half in range(40):
        bench.time = 1000.0 + half / 2
        before = len(bench.store.batches)
        bench.drain.turn()
        tried += [half / 2] if len(bench.store.batches) > before else []
    assert tried == [0, 0.5, 1.5, 3.5]


def test_settings_that_are_refused_are_told_once_and_tried_slowly(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.put("a")
    bench.store.failures = [SendError("HTTP 401: check storage.token", "settings")] * 11
    while bench.store.failures:
        bench.drain.turn()
        bench.time += 1
    assert bench.tally.is_blocked
    told = [line for line in caplog.messages if "HTTP 401" in line]
    assert len(told) == 2  # in ten minutes
    assert "1 batches wait on disk, none is lost" in told[0]
    assert len(bench.store.batches) == 11
    assert bench.time - 1000 > 600
    bench.time += 60
    bench.drain.turn()
    assert (bench.store.taken, bench.tally.is_blocked) == ([b"a"], False)


def test_batches_stay_small_for_a_while_after_one_was_too_large(bench: Bench) -> None:
    bench.store.most = 4
    bench.put(*(f"a{index}" for index in range(10)))
    bench.drain.turn()
    assert bench.store.batches == [10, 5, 2, 2, 2, 2, 2]
    bench.store.most, bench.store.batches = 100, []
    bench.put(*(f"b{index}" for index in range(10)))
    bench.drain.turn()
    assert bench.store.batches == [2] * 5
    for _ in range(3):
        bench.time += 600
        bench.put("c")
        bench.drain.turn()
    bench.store.batches = []
    bench.put(*(f"d{index}" for index in range(10)))
    bench.drain.turn()
    assert bench.store.batches == [10]


def test_a_line_that_is_too_large_by_itself_is_set_aside(bench: Bench) -> None:
    bench.store.most = 0
    bench.put("a400")
    bench.drain.turn()
    assert (bench.tally.bad, len(bench.spool)) == ([b"a400"], 0)


def test_a_store_that_took_all_but_some_is_asked_no_more_than_needed(bench: Bench) -> None:
    class Partial(Store):
        """Takes the good lines of a batch that has bad ones, and tells how many it did not."""

        def __call__(self, lines: bytes, timeout: float) -> None:
            found = lines.splitlines()
            self.batches.append(len(found))
            self.taken += [line for line in found if b"bad" not in line]
            bad = sum(b"bad" in line for line in found)
            if bad:
                raise SendError(f"HTTP 400: dropped={bad}", "lines", dropped=bad)

    store = Partial()
    drain = Drain(bench.spool, store, bench.tally, batch_size=10, timeout=9.0)
    bench.put("bad1", "bad2", "a", "b", "c", "d", "e", "f")
    drain.turn()
    assert store.batches == [8, 4, 2, 2, 4]
    assert set(store.taken) == {b"a", b"b", b"c", b"d", b"e", b"f"}
    assert bench.tally.bad == [b"bad1", b"bad2"]
