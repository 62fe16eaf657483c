"""The jobs that a store wants done now and then, on a schedule."""

import logging
import time
from collections.abc import Callable, Sequence

import schedule
from prometheus_client import CollectorRegistry, Counter

from fleetpulse.backend import Job
from fleetpulse.service import Periodic
from fleetpulse.storage.jumps import JumpClock

log = logging.getLogger(__name__)

_LOOK = 5.0  # seconds between two looks at what is due


class Housekeeping(Periodic):
    """Runs each job at its interval, one at a time. A failed one is logged and counted."""

    def __init__(
        self,
        jobs: Sequence[Job],
        registry: CollectorRegistry,
        *,
        now: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """now: Unix time, which may be set; steady: a clock that only goes on."""
        self._jobs, self._clock = jobs, JumpClock(now, steady)
        self._jumps = Counter(
            "fleetpulse_clock_jumps_total",
            "Times that this host's clock was set by a minute or more, or the host slept.",
            ["direction"],
            registry=registry,
        )
        for direction in ("back", "forward"):
            self._jumps.labels(direction)
        self._failures = Counter(
            "fleetpulse_housekeeping_failures_total",
            "Housekeeping jobs that failed.",
            ["job"],
            registry=registry,
        )
        self._schedule = schedule.Scheduler()
        for job in jobs:
            self._failures.labels(job.name)
        self._plan()
        super().__init__("housekeeping", self.look, _LOOK, first_delay=_LOOK)

    def look(self) -> None:
        """Runs what is due. After a jump of the clock every job is due anew, an interval later.

        Otherwise a clock set back by a year would stop the jobs for a year, and one set forward by
        a year would have all samples deleted before anybody could set it right.
        """
        _, jump = self._clock.look()
        if jump:
            direction = "forward" if jump > 0 else "back"
            self._jumps.labels(direction).inc()
            log.warning("the clock went %s by %.0f s; jobs are planned anew", direction, abs(jump))
            self._plan()
        self._schedule.run_pending()

    def _plan(self) -> None:
        self._schedule.clear()
        for job in self._jobs:
            self._schedule.every(job.every).seconds.do(self._fenced(job))

    def run_all(self) -> None:
        """Every job now, due or not."""
        self._schedule.run_all()

    def _fenced(self, job: Job) -> Callable[[], None]:
        def run() -> None:
            try:
                job.run()
            except Exception:  # the other jobs go on
                log.exception("%s failed; it is tried again in %d s", job.name, job.every)
                self._failures.labels(job.name).inc()

        return run
