"""What the page maker says of a target, and that a fault of its own ends nothing."""

import logging
from typing import cast

import pytest

from fleetpulse.telemetry import new_registry
from scraper.buffer import PageBuffer
from scraper.lines import Readers
from scraper.maker import PageMaker, Scraped
from scraper.metrics import BufferMetrics, ScrapeMetrics
from scraper.page import Outcome, Scrape, TargetPages
from tests.scraper_fakes import MemoryWriter, guards_of, job_of, target_of

TARGET = target_of(job_of())


class Faulty:
    """Pages with a bug that some bodies trigger."""

    def __init__(self) -> None:
        self._pages = TargetPages(TARGET, Readers(), guards_of())

    def take(self, outcome: Outcome) -> Scrape:
        if outcome.body == b"bug":
            raise OverflowError("int too big to convert")
        return self._pages.take(outcome)


def scraped_by_faulty() -> Scraped:
    return Scraped(TARGET, cast(TargetPages, Faulty()))


def made(scraped: Scraped, *outcomes: Outcome) -> MemoryWriter:
    """What is stored once all outcomes went through a maker."""
    registry, writer = new_registry(), MemoryWriter()
    buffer = PageBuffer(writer, BufferMetrics(registry))
    maker = PageMaker(buffer, ScrapeMetrics(registry), guards_of())
    maker.start()
    for outcome in outcomes:
        maker.make([(scraped, outcome)])
    maker.stop()
    buffer.flush()
    return writer


def test_a_fault_in_reading_a_page_shows_the_target_as_down() -> None:
    scraped = scraped_by_faulty()
    writer = made(scraped, Outcome(1000, 0.1, b"a 1\n"), Outcome(2000, 0.1, b"bug"))
    assert writer.values("up") == [1, 0]
    assert writer.values("a") == [1, None]
    assert (scraped.health.state, scraped.busy) == ("down", False)
    assert "fault in the scraper itself" in scraped.health.error


def test_after_such_a_fault_the_next_page_counts(caplog: pytest.LogCaptureFixture) -> None:
    scraped = scraped_by_faulty()
    with caplog.at_level(logging.INFO):
        writer = made(scraped, Outcome(1000, 0.1, b"bug"), Outcome(2000, 0.1, b"a 1\n"))
    assert writer.values("up") == [0, 1]
    assert scraped.health.error == ""
    assert "works again" in caplog.text


def test_one_failure_is_told_once_though_its_numbers_differ(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scraped = Scraped(TARGET, TargetPages(TARGET, Readers(), guards_of()))
    texts = ("timed out after 2000 ms", "timed out after 2001 ms", "refused", "refused")
    made(scraped, *[Outcome(at, 0.1, reason="x", error=text) for at, text in enumerate(texts)])
    told = [record.getMessage().rpartition(": ")[2] for record in caplog.records]
    assert told == ["timed out after 2000 ms", "refused"]
    assert scraped.health.error == "refused"


def test_timestamps_far_ahead_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    scraped = Scraped(TARGET, TargetPages(TARGET, Readers(), guards_of()))
    body = b"a 1 9999999999999\n"
    made(scraped, Outcome(1000, 0.1, body), Outcome(2000, 0.1, body))
    assert [record.getMessage().partition(" not")[0] for record in caplog.records] == [
        f"{TARGET.url}: 1 samples"
    ]
