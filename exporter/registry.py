"""Runs the collectors for a page and turns their failures into metrics."""

import gc
import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial

from exporter.absent import Absent
from exporter.block import Block, Dropped
from exporter.collectors.base import Collector, NoDataError
from exporter.deadline import Outcome, OverdueError, Runner
from exporter.families import Family, Found, Rows, counter, gauge
from exporter.page import Part

log = logging.getLogger(__name__)

_DURATION = gauge(
    "node_scrape_collector_duration_seconds", "How long the collector took.", "collector"
)
_SUCCESS = gauge(
    "node_scrape_collector_success", "Whether the collector did its work (1) or not (0).",
    "collector",
)  # fmt: skip
_INVALID = counter(
    "fleetpulse_exporter_invalid_values_total",
    "Values dropped because they cannot be true, by what is wrong with them.",
    "collector",
    "reason",
)


# Seconds in which a collector that goes on failing, each time in other words, is logged once.
_QUIET = 60.0


class ClosedError(Exception):
    """The registry was closed before it could gather; another may have taken its place."""


_Judged = tuple[Part, list[Dropped], Block]
_Flight = Future[list[Part]]
_NOT_ASKED: Outcome[_Judged] = Outcome(None, NoDataError("there was nothing a little ago"), 0.0)


class Registry:
    """gather() may be called by any thread; those that come while one is at it share its page.

    A collector with `guest = True` tells what others made up: a name that any other collector
    has, or that is reserved for what stands on the page besides, is not its own.
    """

    def __init__(
        self,
        collectors: Sequence[Collector],
        timeout: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._collectors = {collector.name: collector for collector in collectors}
        self.names = tuple(self._collectors)
        self._guests = {name for name, one in self._collectors.items() if _is_guest(one)}
        self._owners: dict[str, str] = {}  # by name of a family: whose it is
        self._blocks = {name: self._new_block(name) for name in self._collectors}
        # Guests come last, so that they hardly ever find a name free that is another's.
        order = sorted(self._collectors, key=lambda name: (name in self._guests, name))
        self._jobs = {name: partial(self._collect, name) for name in order}
        self._about = Block()
        self._clock, self._absent = clock, Absent()
        self._runner = Runner[_Judged]("collect", timeout, clock=clock)
        self._one_at_a_time = threading.Lock()  # guards the runner and what follows
        self._complaints: dict[str, str] = {}  # by collector: what was logged last
        self._complained: dict[str, float] = {}  # when that was
        self._excuses: dict[str, str] = {}  # by collector: why it had no data, as logged last
        self._invalid = Counter[tuple[str, ...]]()  # by collector and reason
        self._flights: dict[frozenset[str], _Flight] = {}
        self._flights_lock = threading.Lock()  # guards these two
        self._closed = False
        self.joined = 0  # how many gather() calls shared another's run
        self.reserve((_DURATION, _SUCCESS, _INVALID))

    @property
    def failing(self) -> list[str]:
        """Names of the collectors that failed when last run, those without data left out."""
        return sorted(self._complaints)

    def gather(self, names: Collection[str] | None = None) -> list[Part]:
        """Parts of the collectors named, of all by default, in the order of their names.

        Never raises for a collector, and leaves out a name that there is not; ClosedError after
        close().
        """
        with self._flights_lock:
            if self._closed:
                raise ClosedError
            wanted = frozenset(self.names if names is None else names)
            under_way = self._flights.get(wanted)
            flight = self._flights.setdefault(wanted, _Flight())
            self.joined += under_way is not None
        return under_way.result() if under_way else self._lead(flight, wanted)

    def reserve(self, families: Iterable[Family]) -> None:
        """Their names are nobody's to tell, from the next gather() on."""
        with self._one_at_a_time:
            for name in (name for family in families for name in family.names):
                owner = self._owners.get(name, "")
                self._owners[name] = ""
                if owner in self._guests:
                    self._blocks[owner] = self._new_block(owner)  # it is to ask again

    def close(self, *, at_once: bool = False) -> None:
        """Lets collectors go that hold something, as processes of their own.

        With the last gather() that is under way, which shall not find them gone; unless at once.
        """
        with self._flights_lock:
            self._closed = True
            idle = not self._flights
        self._runner.close()
        if idle or at_once:
            self._release()

    def _release(self) -> None:
        for collector in list(self._collectors.values()):
            close = getattr(collector, "close", None)
            if close is not None:
                close()
        self._collectors.clear()
        self._blocks.clear()
        # Some refer to themselves. The files that they keep open are to make room now for those
        # of others, and not when it so happens that they are found.
        gc.collect()

    def _lead(self, flight: _Flight, wanted: frozenset[str]) -> list[Part]:
        try:
            with self._one_at_a_time:
                parts = self._gather(wanted)
        except BaseException as err:
            flight.set_exception(err)
            raise
        else:
            flight.set_result(parts)
            return parts
        finally:
            with self._flights_lock:
                del self._flights[wanted]
                last = self._closed and not self._flights
            if last:
                self._release()

    def _gather(self, wanted: frozenset[str]) -> list[Part]:
        outcomes = self._run(wanted)
        parts: list[Part] = []
        for name, outcome in outcomes.items():
            if outcome is _NOT_ASKED:
                continue
            if outcome.error is not None or name in self._complaints:
                self._tell(name, outcome.error)
            if outcome.value is not None:
                parts += self._judge(name, *outcome.value)
        about, _ = self._about.take(self._told(outcomes))
        return [*parts, about]

    def _run(self, wanted: frozenset[str]) -> dict[str, Outcome[_Judged]]:
        """An outcome for each, those included that found nothing a little ago."""
        now = self._clock()
        asked = wanted - self._absent.resting(wanted, now)
        told = self._runner.run({name: self._jobs[name] for name in self._jobs if name in asked})
        self._absent.found_nothing(
            [name for name, outcome in told.items() if isinstance(outcome.error, NoDataError)], now
        )
        return {name: told.get(name, _NOT_ASKED) for name in self._jobs if name in wanted}

    def _collect(self, name: str) -> _Judged:
        block = self._blocks[name]
        return *block.take(self._collectors[name].collect()), block

    def _new_block(self, name: str) -> Block:
        return Block(partial(self._owns, name))

    def _owns(self, collector: str, family: str) -> bool:
        owner = self._owners.setdefault(family, collector)
        if owner in self._guests and collector not in self._guests:
            # The guest was alone on earlier pages, or faster than one that hung.
            self._owners[family] = collector
            self._blocks[owner] = self._new_block(owner)  # it is to ask again
            return True
        return owner == collector

    def _judge(self, name: str, part: Part, dropped: Sequence[Dropped], block: Block) -> list[Part]:
        if block is not self._blocks.get(name):
            return []  # it told, before it lost a name to another; its next turn will be without
        for one in dropped:
            if not self._invalid[name, one.reason]:
                log.warning("collector %s: dropped %s", name, one)
            self._invalid[name, one.reason] += 1
        return [part]

    def _tell(self, name: str, error: Exception | None) -> None:
        """Logs a failure when it is new, and its end."""
        if isinstance(error, NoDataError):
            self._excuse(name, error)
        text = "" if error is None or isinstance(error, NoDataError) else _reason(error)
        if text == self._complaints.get(name, ""):
            return
        if not text:
            del self._complaints[name], self._complained[name]
            log.info("collector %s works again", name)
            return
        self._complaints[name] = text
        now = self._clock()
        if now - self._complained.get(name, -math.inf) < _QUIET:
            return  # a fault whose words change with each page would fill the log
        self._complained[name] = now
        # What a host refuses is told in a line; anything else is a fault of ours.
        trace = None if isinstance(error, (OSError, OverdueError)) else error
        log.warning("collector %s failed: %s", name, text, exc_info=trace)

    def _excuse(self, name: str, error: NoDataError) -> None:
        """What this host lacks is as it should be; rights that are lacking, a person can give."""
        text = str(error)
        if self._excuses.get(name) == text:
            return
        self._excuses[name] = text
        refused = isinstance(error.__cause__, PermissionError)
        level = logging.INFO if refused else logging.DEBUG
        log.log(level, "collector %s has no data: %s", name, text)

    def _told(self, outcomes: dict[str, Outcome[_Judged]]) -> Iterator[Found]:
        yield _DURATION, {(name,): outcome.seconds for name, outcome in outcomes.items()}
        yield _SUCCESS, {(name,): int(outcome.error is None) for name, outcome in outcomes.items()}
        invalid: Rows = dict(self._invalid)
        yield _INVALID, invalid


def _is_guest(collector: Collector) -> bool:
    return bool(getattr(collector, "guest", False))


def _reason(error: Exception) -> str:
    if isinstance(error, OverdueError):
        return "it is stuck and left out until it comes back"
    return f"{type(error).__name__}: {error}"
