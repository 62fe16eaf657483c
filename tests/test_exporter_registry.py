"""gather(): what becomes of collectors that fail, hang or lie."""

import itertools
import logging
import math
import threading
import time
from collections.abc import Iterable, Iterator

import pytest

from exporter.collectors.base import NoDataError
from exporter.families import Found, counter, gauge
from exporter.page import TEXT, Part, render
from exporter.registry import Registry
from tests.exporter_fakes import FakeCollector, samples
from tests.support import wait_for

GOOD, HALF, OTHER = (gauge(f"node_{name}", "h") for name in ("good", "half", "other"))


def good() -> list[Found]:
    return [(GOOD, 1)]


def page_of(registry: Registry, names: list[str] | None = None) -> dict[str, float]:
    return samples(render(registry.gather(names), TEXT).decode())


def test_a_failure_is_on_the_page_and_the_others_too() -> None:
    def bad() -> Iterator[Found]:
        yield HALF, 1
        raise OSError(13, "Permission denied", "/proc/x")

    registry = Registry([FakeCollector("bad", bad), FakeCollector("good", good)], 5.0)
    page = page_of(registry)
    assert page['node_scrape_collector_success{collector="bad"}'] == 0
    assert page['node_scrape_collector_success{collector="good"}'] == 1
    assert page['node_scrape_collector_duration_seconds{collector="bad"}'] >= 0
    assert page["node_good"] == 1
    assert "node_half" not in page  # half a subsystem would look like a whole one
    assert registry.failing == ["bad"]


def test_a_failure_is_logged_when_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    errors: list[Exception | None] = [OSError("a"), OSError("a"), KeyError("b"), None, None]

    def work() -> Iterable[Found]:
        error = errors.pop(0)
        if error is not None:
            raise error
        return good()

    now = itertools.count(0.0, 100.0)
    registry = Registry([FakeCollector("x", work)], 5e9, clock=lambda: next(now))
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            registry.gather()
    assert [record.getMessage() for record in caplog.records] == [
        "collector x failed: OSError: a",
        "collector x failed: KeyError: 'b'",
        "collector x works again",
    ]
    # A host's refusal is a line; what may be our own fault comes with its traceback.
    assert [bool(record.exc_info) for record in caplog.records] == [False, True, False]


def test_a_failure_that_changes_its_words_each_time_fills_no_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    numbers = itertools.count()

    def work() -> Iterable[Found]:
        raise OSError(f"no room at {next(numbers)}")

    registry = Registry([FakeCollector("x", work)], 5.0)
    for _ in range(20):
        registry.gather()
    assert len(caplog.records) == 1


def test_a_host_without_the_subsystem_is_no_news(caplog: pytest.LogCaptureFixture) -> None:
    def nothing() -> Iterable[Found]:
        raise NoDataError("none here")

    registry = Registry([FakeCollector("x", nothing)], 5.0)
    with caplog.at_level(logging.DEBUG):
        pages = [page_of(registry) for _ in range(2)]
    assert [page['node_scrape_collector_success{collector="x"}'] for page in pages] == [0, 0]
    assert registry.failing == []
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (
        logging.DEBUG, "collector x has no data: none here"
    )  # fmt: skip


def test_rights_that_are_lacking_are_told_in_a_line(caplog: pytest.LogCaptureFixture) -> None:
    def refused() -> Iterable[Found]:
        raise NoDataError("for root alone") from PermissionError(13, "Permission denied")

    registry = Registry([FakeCollector("x", refused)], 5.0)
    with caplog.at_level(logging.INFO):
        registry.gather()
        registry.gather()
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert record.getMessage() == "collector x has no data: for root alone"
    assert not record.exc_info


@pytest.mark.parametrize(
    ("interval", "asked"),
    [
        pytest.param(0.1, [0, 4, 8], id="every fourth turn"),
        pytest.param(15.0, [0, 4, 8], id="within a minute of scrapes every 15 seconds"),
        pytest.param(30.0, [0, 2, 4, 6, 8], id="once a minute when scrapes are rarer"),
        pytest.param(60.0, list(range(9)), id="each time when they are a minute apart"),
    ],
)
def test_what_is_not_there_is_not_looked_for_at_each_turn(
    interval: float, asked: list[int]
) -> None:
    def nothing() -> Iterable[Found]:
        raise NoDataError("none here")

    now, turns, calls = 1000.0, list[int](), 0
    absent = FakeCollector("x", nothing)
    registry = Registry([absent, FakeCollector("good", good)], 5.0, clock=lambda: now)
    for turn in range(9):
        page = page_of(registry)
        assert page['node_scrape_collector_success{collector="x"}'] == 0
        assert page["node_good"] == 1
        if absent.calls > calls:
            turns.append(turn)
        calls, now = absent.calls, now + interval
    assert turns == asked


def test_what_comes_is_on_the_page_when_it_is_looked_for_again() -> None:
    told: list[list[Found]] = [[], good(), good()]

    def work() -> Iterable[Found]:
        found = told.pop(0)
        if not found:
            raise NoDataError("none here")
        return found

    registry = Registry([FakeCollector("x", work)], 5.0)
    assert ["node_good" in page_of(registry) for _ in range(6)] == [False] * 4 + [True] * 2


def test_a_stuck_collector_fails_until_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()

    def work() -> Iterable[Found]:
        assert release.wait(30)
        return good()

    stuck = FakeCollector("stuck", work)
    registry = Registry([stuck, FakeCollector("other", lambda: [(OTHER, 2)])], 0.05)
    key = 'node_scrape_collector_success{collector="stuck"}'
    for _ in range(3):
        page = page_of(registry)
        assert (page[key], page["node_other"]) == (0, 2)
    assert stuck.calls == 1
    assert len(caplog.records) == 1
    release.set()
    wait_for("the collector to be back", lambda: page_of(registry)[key] == 1)


def test_a_hanging_collector_costs_its_deadline_once_and_one_thread() -> None:
    release, before = threading.Event(), threading.active_count()

    def hang() -> Iterable[Found]:
        yield HALF, 1
        assert release.wait(60)

    collectors = [FakeCollector("a", good), FakeCollector("hang", hang), FakeCollector("z", list)]
    registry = Registry(collectors, 1.0)
    seconds = []
    for _ in range(5):
        begun = time.monotonic()
        page = page_of(registry)
        seconds.append(time.monotonic() - begun)
        assert page['node_scrape_collector_success{collector="hang"}'] == 0
        assert page['node_scrape_collector_success{collector="z"}'] == 1
        assert (page["node_good"], "node_half" in page) == (1, False)
    assert 1.0 <= seconds[0] < 10.0
    assert min(seconds[1:]) < 0.5
    assert threading.active_count() - before == 2, "the one that hangs, and the one for all else"
    registry.close()
    release.set()
    wait_for("the threads' end", lambda: threading.active_count() == before)


def test_close_lets_collectors_go_that_hold_something() -> None:
    class Holding(FakeCollector):
        closed = False

        def close(self) -> None:
            self.closed = True

    holding = Holding("holding", good)
    registry = Registry([holding, FakeCollector("plain", list)], 5.0)
    registry.gather()
    registry.close()
    assert holding.closed


def test_dropped_values_are_counted_for_their_collector(caplog: pytest.LogCaptureFixture) -> None:
    a, b = gauge("node_a", "h"), counter("node_b_total", "h")

    def lies() -> list[Found]:
        return [(a, math.nan), (b, -1), *good()]

    registry = Registry([FakeCollector("lies", lies), FakeCollector("good", list)], 5.0)
    page_of(registry)
    page = page_of(registry)
    total = 'fleetpulse_exporter_invalid_values_total{collector="lies",reason='
    assert page[f'{total}"not_finite"}}'] == 2
    assert page[f'{total}"below_range"}}'] == 2
    assert not [name for name in page if 'invalid_values_total{collector="good"' in name]
    assert page["node_good"] == 1
    assert len(caplog.records) == 2  # the first of each kind


def test_only_those_named_are_run() -> None:
    left, right = FakeCollector("left", good), FakeCollector("right", list)
    registry = Registry([left, right], 5.0)
    page = page_of(registry, ["left"])
    assert (left.calls, right.calls) == (1, 0)
    assert 'node_scrape_collector_success{collector="right"}' not in page


def test_scrapes_at_the_same_time_share_one_run() -> None:
    entered, release = threading.Event(), threading.Event()

    def work() -> list[Found]:
        entered.set()
        assert release.wait(30)
        return good()

    slow = FakeCollector("slow", work)
    registry = Registry([slow], 30.0)
    pages: list[list[Part]] = []
    threads = [
        threading.Thread(target=lambda: pages.append(registry.gather()), name=f"scrape-{n}")
        for n in range(4)
    ]
    threads[0].start()
    assert entered.wait(30)
    for thread in threads[1:]:
        thread.start()
    wait_for("all to wait", lambda: registry.joined == 3)
    release.set()
    for thread in threads:
        thread.join(30)
    assert slow.calls == 1
    assert [page is pages[0] for page in pages] == [True] * 4


def test_of_two_collectors_with_one_family_the_first_tells_it() -> None:
    first = FakeCollector("a", lambda: [(GOOD, 1)])
    second = FakeCollector("b", lambda: [(gauge("node_good", "another"), 2), (OTHER, 3)])
    page = page_of(Registry([second, first], 5.0))
    assert (page["node_good"], page["node_other"]) == (1, 3)
    assert page['fleetpulse_exporter_invalid_values_total{collector="b",reason="name_taken"}'] == 1
