"""The scrape loop: one thread that starts what is due and moves bytes, and does nothing else."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from fleetpulse.service import STOP_DEADLINE
from scraper.client import Client, Request
from scraper.fetch import Answer, Fetcher
from scraper.maker import PageMaker, Scraped
from scraper.metrics import ScrapeMetrics
from scraper.page import Outcome
from scraper.protocols import is_openmetrics
from scraper.schedule import Schedule
from scraper.targets import Job, Target

log = logging.getLogger(__name__)

Key = tuple[str, object, str]
# A scrape begun this close after its turn bears the turn's time, which then stays regular.
_TOLERANCE = 0.001  # of the interval
_LATE = 1.0  # seconds after its turn from which on a scrape counts as late
_MAX_BACKLOG = 256 << 20  # bytes of bodies that wait to be read; past it no scrape is begun


class ScrapeLoop:
    """set_targets() from any thread; all else happens on the loop's own.

    It wakes up every tick seconds for whatever is due then: the fewer wake-ups, the cheaper.
    """

    name = "scrape loop"

    def __init__(
        self,
        fetcher: Fetcher,
        maker: PageMaker,
        metrics: ScrapeMetrics,
        *,
        tick: float = 0.1,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._fetcher, self._maker, self._metrics = fetcher, maker, metrics
        self._tick, self._now = tick, now
        self._wanted: queue.SimpleQueue[tuple[Sequence[Target], int]] = queue.SimpleQueue()
        self._scraped: dict[Key, Scraped] = {}
        self._clients: dict[str, Client] = {}
        self._schedule: Schedule[Key] = Schedule(tick)
        self._done: list[tuple[Scraped, Outcome]] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    @property
    def scraped(self) -> Sequence[Scraped]:
        """The targets of the moment, for those who show them."""
        return tuple(self._scraped.values())

    def set_targets(self, targets: Sequence[Target], connections: int = 1000) -> None:
        """From the next tick on these and no others are scraped; those known keep their turns.

        connections: how many are kept alive between scrapes.
        """
        self._wanted.put((targets, connections))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends; scrapes under way are given up, and nothing is said of their targets."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_DEADLINE)
        elif self._thread.ident is None:
            self._fetcher.close()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._turn()
                except Exception:  # the loop must go on
                    log.exception("a turn of the scrape loop failed")
                    self._metrics.errors.inc()
                    time.sleep(self._tick)  # a fault that stays must not make a busy loop
        finally:
            self._fetcher.close()
            for client in self._clients.values():
                client.close()

    def _turn(self) -> None:
        while not self._wanted.empty():
            self._apply(*self._wanted.get())
        now = self._now()
        for key, planned, missed in self._schedule.due(now):
            self._metrics.skipped.inc(missed)
            self._metrics.lag.set(now - planned)
            if now - planned > _LATE:
                self._metrics.late.inc()
            self._begin(self._scraped[key], planned)
        # To the next tick of the clock, whatever happens before on the sockets.
        until = now + self._tick - now % self._tick
        while (left := until - self._now()) > 0 and left <= self._tick:
            self._fetcher.run(left)
        if self._done:
            done, self._done = self._done, []
            self._maker.make(done)
        self._metrics.active.set(self._fetcher.active)

    def _begin(self, scraped: Scraped, planned: float) -> None:
        if scraped.busy or self._maker.backlog > _MAX_BACKLOG:
            self._metrics.skipped.inc()
            return
        target, began = scraped.target, self._now()
        on_time = 0 <= began - planned <= target.interval * _TOLERANCE
        at_ms = round((planned if on_time else began) * 1000)
        scraped.busy = True
        if target.refusal:
            self._note(scraped, at_ms, Answer(0.0, reason="limit", error=target.refusal))
            return
        limit = f"X-Prometheus-Scrape-Timeout-Seconds: {target.timeout:g}"
        request = Request(target.url, target.timeout, target.job.limits.body, (limit,))
        client = self._clients[target.job.name]
        try:
            self._fetcher.start(client, request, lambda answer: self._note(scraped, at_ms, answer))
        except Exception:  # the loop's fence tells of it; no answer will ever come
            scraped.busy = False
            raise

    def _note(self, scraped: Scraped, at_ms: int, answer: Answer) -> None:
        if scraped.ended:  # its series have their staleness markers already
            return
        self._done.append((scraped, _outcome(at_ms, answer, scraped.target.job)))

    def _apply(self, targets: Sequence[Target], connections: int) -> None:
        now = self._now()
        wanted: dict[Key, Target] = {target.key: target for target in targets}
        self._renew_clients(targets)
        self._remove(self._scraped.keys() - wanted.keys(), wanted, now)
        scraped = {}
        for key, target in wanted.items():
            found = self._scraped.get(key)
            if found is None:
                found = self._maker.adopt(target)
            elif found.target != target:
                self._maker.configure(found, target)
            scraped[key] = found
            self._schedule.add(key, target.interval, target.offset, now)
        self._scraped = scraped
        self._fetcher.expect(connections)
        self._metrics.targets.set(len(scraped))

    def _remove(self, gone: set[Key], wanted: dict[Key, Target], now: float) -> None:
        """Series end with their target, unless another one bears the same labels."""
        if not gone:
            return
        taken_over = {target.labels for target in wanted.values()}
        self._schedule.remove_all(gone)
        for key in gone:
            scraped = self._scraped[key]
            scraped.ended = True
            if scraped.target.labels not in taken_over:
                self._maker.end(scraped, round(now * 1000))

    def _renew_clients(self, targets: Sequence[Target]) -> None:
        jobs = {target.job.name: target.job for target in targets}
        for name, client in list(self._clients.items()):
            if name not in jobs or not client.same(**_way(jobs[name])):
                client.close()
                del self._clients[name]
        for name, job in jobs.items():
            if name not in self._clients:
                self._clients[name] = Client(whose=f"job {name}", **_way(job))


def _way(job: Job) -> dict[str, Any]:
    """How a job's requests are made, whatever else of the job changes."""
    config = job.config
    return {"http": config, "accept": job.accept, "compressed": config.enable_compression}


def _outcome(at_ms: int, answer: Answer, job: Job) -> Outcome:
    if answer.reason:
        return Outcome(at_ms, answer.duration, reason=answer.reason, error=answer.error)
    try:
        kind = is_openmetrics(answer.content_type, job.config.fallback_scrape_protocol)
    except ValueError as err:
        return Outcome(at_ms, answer.duration, reason="format", error=str(err))
    return Outcome(at_ms, answer.duration, answer.body, kind)
