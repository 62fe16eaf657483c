"""The jobs that a store wants done now and then, on a schedule."""

import logging
from collections.abc import Callable, Sequence

import schedule
from prometheus_client import CollectorRegistry, Counter

from fleetpulse.backend import Job
from fleetpulse.service import Periodic

log = logging.getLogger(__name__)

_LOOK = 5.0  # seconds between two looks at what is due


class Housekeeping(Periodic):
    """Runs each job at its interval, one at a time. A failed one is logged and counted."""

    def __init__(self, jobs: Sequence[Job], registry: CollectorRegistry) -> None:
        self._failures = Counter(
            "fleetpulse_housekeeping_failures_total",
            "Housekeeping jobs that failed.",
            ["job"],
            registry=registry,
        )
        self._schedule = schedule.Scheduler()
        for job in jobs:
            self._failures.labels(job.name)
            self._schedule.every(job.every).seconds.do(self._fenced(job))
        super().__init__("housekeeping", self._schedule.run_pending, _LOOK, first_delay=_LOOK)

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
