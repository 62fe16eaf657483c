"""gather(): what becomes of collectors that fail, hang or lie."""

import logging
import math
import threading
from collections.abc import Iterable, Iterator

import pytest

from exporter.collectors.base import NoDataError
from exporter.registry import Registry
from fleetpulse.model import MetricFamily, counter, gauge
from tests.exporter_fakes import FakeCollector, values
from tests.support import wait_for


def good() -> list[MetricFamily]:
    return [gauge("node_good", "h", 1)]


def test_a_failure_is_on_the_page_and_the_others_too() -> None:
    def bad() -> Iterator[MetricFamily]:
        yield gauge("node_half", "h", 1)
        raise OSError(13, "Permission denied", "/proc/x")

    registry = Registry([FakeCollector("bad", bad), FakeCollector("good", good)], 5.0)
    page = values(registry.gather())
    assert page['node_scrape_collector_success{collector="bad"}'] == 0
    assert page['node_scrape_collector_success{collector="good"}'] == 1
    assert page['node_scrape_collector_duration_seconds{collector="bad"}'] >= 0
    assert page["node_good"] == 1
    assert "node_half" not in page  # half a subsystem would look like a whole one
    assert registry.failing == ["bad"]


def test_a_failure_is_logged_when_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    errors: list[Exception | None] = [OSError("a"), OSError("a"), KeyError("b"), None, None]

    def work() -> Iterable[MetricFamily]:
        error = errors.pop(0)
        if error is not None:
            raise error
        return good()

    registry = Registry([FakeCollector("x", work)], 5.0)
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


def test_a_host_without_the_subsystem_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    def nothing() -> Iterable[MetricFamily]:
        raise NoDataError("none here")

    registry = Registry([FakeCollector("x", nothing)], 5.0)
    page = values(registry.gather())
    assert page['node_scrape_collector_success{collector="x"}'] == 0
    assert registry.failing == []
    assert not caplog.records


def test_a_stuck_collector_fails_until_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()

    def work() -> Iterable[MetricFamily]:
        assert release.wait(30)
        return good()

    stuck = FakeCollector("stuck", work)
    registry = Registry([stuck, FakeCollector("other", lambda: [gauge("node_o", "h", 2)])], 0.05)
    key = 'node_scrape_collector_success{collector="stuck"}'
    for _ in range(3):
        page = values(registry.gather())
        assert (page[key], page["node_o"]) == (0, 2)
    assert stuck.calls == 1
    assert len(caplog.records) == 1
    release.set()
    wait_for("the collector to be back", lambda: values(registry.gather())[key] == 1)


def test_dropped_values_are_counted_for_their_collector(caplog: pytest.LogCaptureFixture) -> None:
    def lies() -> list[MetricFamily]:
        return [gauge("node_a", "h", math.nan), counter("node_b_total", "h", -1), *good()]

    registry = Registry([FakeCollector("lies", lies), FakeCollector("good", list)], 5.0)
    registry.gather()
    page = values(registry.gather())
    assert page['fleetpulse_exporter_invalid_values_total{collector="lies"}'] == 4
    assert page['fleetpulse_exporter_invalid_values_total{collector="good"}'] == 0
    assert page["node_good"] == 1
    assert len(caplog.records) == 1


def test_only_those_named_are_run() -> None:
    left, right = FakeCollector("left", good), FakeCollector("right", list)
    registry = Registry([left, right], 5.0)
    page = values(registry.gather(["left"]))
    assert (left.calls, right.calls) == (1, 0)
    assert 'node_scrape_collector_success{collector="right"}' not in page


def test_scrapes_at_the_same_time_share_one_run() -> None:
    entered, release = threading.Event(), threading.Event()

    def work() -> list[MetricFamily]:
        entered.set()
        assert release.wait(30)
        return good()

    slow = FakeCollector("slow", work)
    registry = Registry([slow], 30.0)
    pages: list[list[MetricFamily]] = []
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
