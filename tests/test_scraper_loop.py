"""The scrape loop by itself: a fault of its own ends nothing."""

from typing import cast

from fleetpulse.telemetry import new_registry
from scraper.buffer import PageBuffer
from scraper.client import Client, Request
from scraper.fetch import Answer, Done, Fetcher
from scraper.loop import ScrapeLoop
from scraper.maker import PageMaker
from scraper.metrics import BufferMetrics, ScrapeMetrics
from tests.scraper_fakes import MemoryWriter, guards_of, job_of, target_of
from tests.support import wait_for


class Faulty:
    """Trips over its first request and answers all others at once."""

    active = 0

    def __init__(self) -> None:
        self.asked = 0

    def start(self, client: Client, request: Request, done: Done) -> None:
        self.asked += 1
        if self.asked == 1:
            raise MemoryError("no room for a handle")
        done(Answer(0.001, b"a 1\n"))

    def run(self, seconds: float) -> None: ...
    def expect(self, targets: int) -> None: ...
    def close(self) -> None: ...


def test_a_target_whose_scrape_could_not_begin_has_its_next_turn() -> None:
    registry, writer, fetcher = new_registry(), MemoryWriter(), Faulty()
    metrics = ScrapeMetrics(registry)
    buffer = PageBuffer(writer, BufferMetrics(registry))
    maker = PageMaker(buffer, metrics, guards_of())
    loop = ScrapeLoop(cast(Fetcher, fetcher), maker, metrics, tick=0.01)
    loop.set_targets([target_of(job_of(scrape_interval="50ms", scrape_timeout="50ms"))])
    maker.start()
    loop.start()
    try:
        wait_for("a second scrape", lambda: fetcher.asked > 1)
    finally:
        loop.stop()
        maker.stop()
    assert registry.get_sample_value("fleetpulse_scraper_internal_errors_total") == 1
