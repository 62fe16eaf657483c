"""Runs the collectors for a page and turns their failures into metrics."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from exporter.collectors.base import Collector, NoDataError
from exporter.deadline import Outcome, OverdueError, Runner
from exporter.validate import Dropped, validated
from fleetpulse.model import MetricFamily, counter, gauge

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Found:
    families: list[MetricFamily]
    dropped: list[Dropped]


_Flight = Future[list[MetricFamily]]


class Registry:
    """gather() may be called by any thread; those that come while one is at it share its page."""

    def __init__(
        self,
        collectors: Sequence[Collector],
        timeout: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._collectors = {collector.name: collector for collector in collectors}
        self._runner = Runner[_Found]("collect", timeout, clock=clock)
        self._one_at_a_time = threading.Lock()  # guards the runner and what follows
        self._complaints: dict[str, str] = {}  # by collector: what was logged last
        self._invalid = Counter[str]()
        self._flights: dict[frozenset[str], _Flight] = {}
        self._flights_lock = threading.Lock()
        self.joined = 0  # how many gather() calls shared another's run

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._collectors)

    @property
    def failing(self) -> list[str]:
        """Names of the collectors that failed when last run, those without data left out."""
        return sorted(self._complaints)

    def gather(self, names: Collection[str] | None = None) -> list[MetricFamily]:
        """Families of the collectors named, of all by default, in the order of their names.

        Never raises for a collector. KeyError for a name that is not among `names`.
        """
        wanted = frozenset(self._collectors if names is None else names)
        with self._flights_lock:
            under_way = self._flights.get(wanted)
            flight = self._flights.setdefault(wanted, _Flight())
            self.joined += under_way is not None
        return under_way.result() if under_way else self._lead(flight, wanted)

    def _lead(self, flight: _Flight, wanted: frozenset[str]) -> list[MetricFamily]:
        try:
            with self._one_at_a_time:
                families = self._gather(wanted)
        except BaseException as err:
            flight.set_exception(err)
            raise
        else:
            flight.set_result(families)
            return families
        finally:
            with self._flights_lock:
                del self._flights[wanted]

    def _gather(self, wanted: frozenset[str]) -> list[MetricFamily]:
        chosen = [self._collectors[name] for name in sorted(wanted)]
        outcomes = self._runner.run({one.name: partial(_collect, one) for one in chosen})
        families = [family for name in outcomes for family in self._judge(name, outcomes[name])]
        return sorted([*families, *_about(outcomes), self._invalid_values()], key=_by_name)

    def _judge(self, name: str, outcome: Outcome[_Found]) -> list[MetricFamily]:
        self._tell(name, outcome.error)
        if outcome.value is None:
            return []
        if outcome.value.dropped:
            if not self._invalid[name]:
                log.warning("collector %s: dropped %s", name, outcome.value.dropped[0])
            self._invalid[name] += len(outcome.value.dropped)
        return outcome.value.families

    def _tell(self, name: str, error: Exception | None) -> None:
        """Logs a failure when it is new, and its end."""
        text = "" if error is None or isinstance(error, NoDataError) else _reason(error)
        if text == self._complaints.get(name, ""):
            return
        if not text:
            del self._complaints[name]
            log.info("collector %s works again", name)
            return
        self._complaints[name] = text
        # What a host refuses is told in a line; anything else is a fault of ours.
        trace = None if isinstance(error, (OSError, OverdueError)) else error
        log.warning("collector %s failed: %s", name, text, exc_info=trace)

    def _invalid_values(self) -> MetricFamily:
        family = counter(
            "fleetpulse_exporter_invalid_values_total",
            "Values dropped because they cannot be true: not finite, negative, above the whole.",
        )
        for name in self._collectors:
            family.add(self._invalid[name], collector=name)
        return family


def _collect(collector: Collector) -> _Found:
    return _Found(*validated(collector.collect()))


def _reason(error: Exception) -> str:
    if isinstance(error, OverdueError):
        return "it is stuck and left out until it comes back"
    return f"{type(error).__name__}: {error}"


def _about(outcomes: dict[str, Outcome[_Found]]) -> list[MetricFamily]:
    duration = gauge("node_scrape_collector_duration_seconds", "Duration of a collector's run.")
    success = gauge("node_scrape_collector_success", "Whether a collector succeeded.")
    for name, outcome in outcomes.items():
        duration.add(outcome.seconds, collector=name)
        success.add(outcome.error is None, collector=name)
    return [duration, success]


def _by_name(family: MetricFamily) -> str:
    return family.name
