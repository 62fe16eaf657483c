"""Pages on their way to a store that works, fails, comes back, or refuses a page."""

from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry

from fleetpulse.errors import StorageError
from fleetpulse.model import Labels, Metadata, Page
from scraper.buffer import PageBuffer
from scraper.metrics import BufferMetrics
from tests.scraper_fakes import MemoryWriter


def page(at_ms: int) -> Page:
    return Page.of(Labels.of(job="a"), at_ms, {Labels.of(__name__="up"): 1.0})


def buffer_of(writer: MemoryWriter, max_samples: int = 100) -> tuple[PageBuffer, CollectorRegistry]:
    registry = CollectorRegistry()
    return PageBuffer(writer, BufferMetrics(registry), max_samples=max_samples), registry


def times(writer: MemoryWriter) -> list[int]:
    return [page.at_ms for page in writer.pages]


def counted(registry: CollectorRegistry, name: str) -> float:
    return registry.get_sample_value(f"fleetpulse_scraper_{name}") or 0.0


def test_what_waits_is_written_at_once_and_in_order() -> None:
    writer = MemoryWriter()
    buffer, registry = buffer_of(writer)
    buffer.add([page(1), page(2)])
    buffer.add([page(3)])
    assert buffer.flush()
    assert (times(writer), writer.writes) == ([1, 2, 3], 1)
    assert counted(registry, "pages_written_total") == 3
    assert buffer.flush()
    assert writer.writes == 1


def test_while_the_store_fails_pages_wait() -> None:
    writer = MemoryWriter()
    buffer, registry = buffer_of(writer)
    writer.fail = StorageError("full", retriable=True)
    buffer.add([page(1)])
    assert not buffer.flush()
    buffer.add([page(2)])
    assert counted(registry, "waiting_samples") == 2
    writer.fail = None
    assert buffer.flush()
    assert times(writer) == [1, 2]
    assert counted(registry, "waiting_samples") == 0
    assert counted(registry, "dropped_pages_total") == 0


def test_when_too_many_wait_the_oldest_are_dropped_and_counted() -> None:
    writer = MemoryWriter()
    buffer, registry = buffer_of(writer, max_samples=3)
    writer.fail = StorageError("full", retriable=True)
    for at_ms in range(5):
        buffer.add([page(at_ms)])
        buffer.flush()
    writer.fail = None
    buffer.flush()
    assert times(writer) == [2, 3, 4]
    assert counted(registry, "dropped_pages_total") == 2


def test_a_page_that_the_store_refuses_takes_no_other_with_it() -> None:
    writer = MemoryWriter()
    writer.refused = lambda page: page.at_ms in (3, 6)
    buffer, registry = buffer_of(writer)
    buffer.add([page(at_ms) for at_ms in range(1, 8)])
    assert buffer.flush()
    assert times(writer) == [1, 2, 4, 5, 7]
    assert counted(registry, "dropped_pages_total") == 2


def test_a_fault_in_the_store_itself_is_counted_and_the_rest_goes_on() -> None:
    class Broken(MemoryWriter):
        broken = True

        def write(self, pages: Sequence[Page]) -> None:
            if self.broken:
                raise KeyError("a bug")
            super().write(pages)

    writer = Broken()
    buffer, registry = buffer_of(writer)
    buffer.add([page(1), page(2)])
    assert buffer.flush()
    assert counted(registry, "dropped_pages_total") == 2
    writer.broken = False
    buffer.add([page(3)])
    assert buffer.flush()
    assert times(writer) == [3]


def test_metadata_is_told_once_and_again_after_a_failure() -> None:
    class Deaf(MemoryWriter):
        told = 0
        deaf = True

        def describe(self, metadata: object) -> None:
            self.told += 1
            if self.deaf:
                raise StorageError("not now", retriable=True)

    writer = Deaf()
    buffer, _ = buffer_of(writer)
    buffer.describe({"a": Metadata("gauge")})
    buffer.flush()
    writer.deaf = False
    buffer.flush()
    buffer.describe({"a": Metadata("gauge")})
    buffer.flush()
    assert writer.told == 2


def test_the_end_writes_what_waits_and_counts_what_is_lost() -> None:
    writer = MemoryWriter()
    buffer, _ = buffer_of(writer)
    buffer.start()
    buffer.add([page(1)])
    buffer.stop()
    assert times(writer) == [1]

    writer.fail = StorageError("full", retriable=True)
    buffer, registry = buffer_of(writer)
    buffer.start()
    buffer.add([page(2)])
    buffer.stop()
    buffer.stop()
    assert counted(registry, "dropped_pages_total") == 1


def test_a_store_that_fails_is_told_of_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    writer = MemoryWriter()
    metrics = BufferMetrics(CollectorRegistry())
    buffer = PageBuffer(writer, metrics, max_samples=3, clock=lambda: now[0])
    writer.fail = StorageError("the disk is full", retriable=True)
    for at_ms in range(150):
        now[0] = float(at_ms)
        buffer.add([page(at_ms)])
        buffer.flush()
    told = [record.getMessage() for record in caplog.records]
    assert [text.partition("; ")[2] for text in told] == [
        "1 wait, 0 were dropped: the disk is full",
        "3 wait, 58 were dropped: the disk is full",
        "3 wait, 118 were dropped: the disk is full",
    ]

    writer.fail = None
    assert buffer.flush()
    assert buffer.flush()
    assert [record.getMessage() for record in caplog.records[3:]] == [
        "the store takes pages again; 147 were dropped meanwhile"
    ]
