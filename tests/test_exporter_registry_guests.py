"""A collector that tells what others made up never takes a name that is another's."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest

from exporter.families import Family, Found, gauge
from exporter.page import TEXT, render
from exporter.registry import Registry
from tests.exporter_fakes import FakeCollector, samples

OURS, THEIRS, FREE = (
    gauge("node_load1", "Ours."),
    gauge("node_load1", "Theirs."),
    gauge("free", "h"),
)


@dataclass
class Guest(FakeCollector):
    guest = True


def registry(
    own: Callable[[], Iterable[Found]] = lambda: [(OURS, 1)], theirs: Family = THEIRS
) -> Registry:
    # By name, the guest would come first.
    guest = Guest("a", lambda: [(theirs, 9), (FREE, 2)])
    return Registry([guest, FakeCollector("b", own)], 5.0)


def page_of(subject: Registry, names: list[str] | None = None) -> dict[str, float]:
    text = render(subject.gather(names), TEXT).decode()
    assert text.count("# TYPE node_load1 ") <= 1
    return samples(text)


def test_the_name_is_the_collectors_and_the_rest_is_told() -> None:
    page = page_of(registry())
    assert (page["node_load1"], page["free"]) == (1, 2)
    reason = 'collector="a",reason="name_taken"'
    assert page[f"fleetpulse_exporter_invalid_values_total{{{reason}}}"] == 1


def test_a_guest_that_was_alone_gives_the_name_back() -> None:
    subject = registry()
    assert page_of(subject, ["a"])["node_load1"] == 9
    for _ in range(2):
        page = page_of(subject)
        assert (page["node_load1"], page["free"]) == (1, 2)
    assert "node_load1" not in page_of(subject, ["a"])


def test_a_guest_that_was_faster_is_left_out_of_that_page() -> None:
    guest_is_done = threading.Event()

    def slow() -> Iterable[Found]:
        # So long that the guest runs meanwhile, in another lane.
        assert guest_is_done.wait(5)
        return [(OURS, 1)]

    def theirs() -> Iterable[Found]:
        yield THEIRS, 9
        yield FREE, 2
        threading.Timer(0.1, guest_is_done.set).start()

    subject = Registry([Guest("a", theirs), FakeCollector("b", slow)], 5.0)
    page = page_of(subject)
    assert (page["node_load1"], page.get("free")) == (1, None)
    page = page_of(subject)
    assert (page["node_load1"], page["free"]) == (1, 2)


RESERVED = [
    pytest.param("node_scrape_collector_success", id="the page's own account of collectors"),
    pytest.param("process_cpu_seconds", id="OpenMetrics' name of a reserved counter"),
]


@pytest.mark.parametrize("name", RESERVED)
def test_reserved_names_are_nobodys(name: str) -> None:
    reserved = [Family("process_cpu_seconds_total", "h", "counter")]
    guest = Guest("a", lambda: [(gauge(name, "h"), 9)])
    registry = Registry([guest], 5.0)
    registry.gather()
    registry.reserve(reserved)  # also what the guest told before
    page = page_of(registry)
    assert name not in page
