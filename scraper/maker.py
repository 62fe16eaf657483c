"""Turns what was fetched into pages, on a thread of its own: a slow page delays no fetch."""

import logging
import queue
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from fleetpulse.service import STOP_DEADLINE
from scraper.buffer import PageBuffer
from scraper.failurelog import FailureLogs
from scraper.guards import Guards
from scraper.lines import Readers
from scraper.metrics import MakerMetrics, ScrapeMetrics
from scraper.news import TargetNews
from scraper.owntimes import Rejected
from scraper.page import Outcome, Scrape, TargetPages
from scraper.targets import Target

log = logging.getLogger(__name__)

_REJECTED = {
    "out_of_bounds": "their timestamps are too far ahead, or negative",
    "out_of_order": "they are older than the newest of their series",
    "duplicates": "their series have other values for the same time",
}
_DIGITS = re.compile(r"\d+")


@dataclass(slots=True)
class Health:
    """A target's last scrape, for people. Written by one thread, read by others, field by field."""

    state: str = "unknown"
    error: str = ""
    reason: str = ""  # the failure's, one word
    at: float = 0.0  # Unix seconds; 0: never
    duration: float = 0.0
    refused: bool = False  # whether guards kept series of the last page out
    rejected: frozenset[str] = frozenset()  # why samples of the last page were not taken


@dataclass(slots=True, eq=False)
class Scraped:
    """A target in the loop's hands.

    busy from the start of a scrape until its pages are made; ended once it is scraped no more.
    """

    target: Target
    pages: TargetPages
    health: Health = field(default_factory=Health)
    busy: bool = False
    ended: bool = False


Work = Callable[[], None]


class PageMaker:
    """Takes outcomes in order. The queue is bounded by one outcome a target (Scraped.busy)."""

    name = "page maker"

    def __init__(
        self,
        buffer: PageBuffer,
        metrics: ScrapeMetrics,
        guards: Guards,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._buffer, self._metrics, self._guards = buffer, metrics, guards
        self._news = TargetNews(clock)
        self._failures = FailureLogs(metrics.failure_log_errors.inc)
        self._readers = Readers()
        # Each written by one thread alone: bytes of bodies handed in, and done with.
        self._handed = self._done = 0
        self._handed_pages = self._done_pages = 0
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def show(self, metrics: MakerMetrics) -> None:
        """Tells of its queue and its memory."""
        metrics.show(
            lambda: self._handed_pages - self._done_pages,
            lambda: self.backlog,
            lambda: self._readers.known,
            lambda: self._readers.shapes,
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends once what was handed in before is done."""
        self._work.put(None)
        if self._thread.is_alive():
            self._thread.join(STOP_DEADLINE)

    def adopt(self, target: Target) -> Scraped:
        """A place for a new target."""
        return Scraped(target, TargetPages(target, self._readers, self._guards))

    def configure(self, scraped: Scraped, target: Target) -> None:
        scraped.target = target
        self._work.put(lambda: scraped.pages.configure(target))

    @property
    def backlog(self) -> int:
        """Bytes of bodies that wait to be read."""
        return self._handed - self._done

    def make(self, outcomes: Sequence[tuple[Scraped, Outcome]]) -> None:
        self._handed += sum(len(outcome.body) for _, outcome in outcomes)
        self._handed_pages += len(outcomes)
        self._work.put(lambda: self._make_all(outcomes))

    def end(self, scraped: Scraped, at_ms: int) -> None:
        """The target is scraped no more: its series get their staleness markers."""
        self._work.put(lambda: self._buffer.add(scraped.pages.gone(at_ms)))

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except Exception:  # one target's fault must not end all others' pages
                log.exception("making pages failed")
                self._metrics.errors.inc()
        self._failures.close()

    def _make_all(self, outcomes: Sequence[tuple[Scraped, Outcome]]) -> None:
        for scraped, outcome in outcomes:
            try:
                self._make(scraped, outcome)
            except Exception:  # as above
                log.exception("making the page of %s failed", scraped.target.url)
                self._metrics.errors.inc()
                self._give_up(scraped, outcome)
            finally:
                scraped.busy = False
                self._done += len(outcome.body)
                self._done_pages += 1
        self._news.settle()

    def _give_up(self, scraped: Scraped, outcome: Outcome) -> None:
        """The target is shown as down, instead of keeping what was said of it before."""
        error = "a fault in the scraper itself; its log has the traceback"
        try:
            self._make(scraped, replace(outcome, body=b"", reason="internal", error=error))
        except Exception:  # as above
            log.exception("the failure of %s could not be stored", scraped.target.url)

    def _make(self, scraped: Scraped, outcome: Outcome) -> None:
        scrape = scraped.pages.take(outcome)
        self._buffer.add(scrape.pages)
        if scrape.metadata:
            self._buffer.describe(scrape.metadata)
        self._note(scraped, outcome, scrape)

    def _note(self, scraped: Scraped, outcome: Outcome, scrape: Scrape) -> None:
        health, metrics = scraped.health, self._metrics
        metrics.scrapes.inc()
        metrics.samples.inc(scrape.samples)
        metrics.durations.observe(outcome.duration)
        if scrape.reason:
            self._note_failure(scraped.target, outcome, scrape)
        self._note_refused(scraped, scrape.refused)
        self._note_rejected(scraped, scrape.rejected)
        url = scraped.target.url
        if scrape.error and _kind(scrape.error) != _kind(health.error):
            line = f"scrape of {url} failed: {scrape.error}"
            self._news.tell(logging.WARNING, "scrapes failed", scrape.reason or "page", line)
        elif not scrape.error and health.error:
            line = f"scrape of {url} works again"
            self._news.tell(logging.INFO, "scrapes work again", health.reason, line)
        health.error, health.reason = scrape.error, scrape.reason
        health.state = "down" if scrape.reason else "up"
        health.at, health.duration = outcome.at_ms / 1000, outcome.duration

    def _note_failure(self, target: Target, outcome: Outcome, scrape: Scrape) -> None:
        self._metrics.failures.labels(scrape.reason).inc()
        path = target.job.failure_log
        if path is not None:
            self._failures.write(path, outcome.at_ms, target.job.name, target.url, scrape.error)

    def _note_refused(self, scraped: Scraped, refused: int) -> None:
        """Says so when it begins and when it is over; the metric counts."""
        if bool(refused) != scraped.health.refused:
            url = scraped.target.url
            if refused:
                line = f"{url}: {refused} series not taken: a guard is in the way"
                self._news.tell(logging.WARNING, "series not taken", scraped.target.job.name, line)
            else:
                line = f"{url}: all series are taken again"
                self._news.tell(logging.INFO, "series taken again", scraped.target.job.name, line)
        scraped.health.refused = bool(refused)

    def _note_rejected(self, scraped: Scraped, rejected: Rejected) -> None:
        """Counts what was not taken; says so when it begins, and not with every page."""
        reasons = set()
        for reason, text in _REJECTED.items():
            count = getattr(rejected, reason)
            if not count:
                continue
            reasons.add(reason)
            getattr(self._metrics, reason).inc(count)
            if reason not in scraped.health.rejected:
                line = f"{scraped.target.url}: {count} samples not taken: {text}"
                self._news.tell(logging.WARNING, "samples not taken", reason, line)
        scraped.health.rejected = frozenset(reasons)


def _kind(error: str) -> str:
    """What makes an error another one: not how many ms or bytes it was this time."""
    return _DIGITS.sub("#", error)
