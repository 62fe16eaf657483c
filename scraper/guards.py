"""How many series there may be: of a target, of all targets, and new ones in a minute.

Series that are there go on when a guard is up; those that would be too many are not taken. They are
asked about again at the next scrape.
"""

import time
from collections.abc import Callable, Sequence

from pydantic import Field

from fleetpulse.model import Labels, Layout
from fleetpulse.yamlconf import Section
from scraper.metrics import GuardMetrics

_MINUTE = 60.0


class GuardsConfig(Section):
    """0: no limit."""

    # Series of one target.
    series_per_target: int = Field(default=100_000, ge=0)
    # Series of all targets together, those of the moment.
    series: int = Field(default=10_000_000, ge=0)
    # Series a minute that a target did not have before. Its first page brings none that count.
    new_series_per_minute: int = Field(default=1_000_000, ge=0)


class Guards:
    """Counts the series of all targets. Of one thread, the page maker's.

    configure() may come from any other: it replaces one reference.
    """

    def __init__(
        self,
        config: GuardsConfig,
        metrics: GuardMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._metrics, self._clock = config, metrics, clock
        self._series = 0
        self._new, self._since = 0, clock()

    def configure(self, config: GuardsConfig) -> None:
        self._config = config

    def admit(self, job: str, held: int, new: int, *, first: bool) -> int:
        """How many of a target's new series are taken, where it goes on with so many held.

        What is not is counted under the guard that is in the way. The series count from now on
        until hold() says otherwise.
        """
        config = self._config
        left = {
            "target": config.series_per_target - held if config.series_per_target else new,
            "all": config.series - self._series if config.series else new,
            "new": new if first else self._left_this_minute(new),
        }
        guard = min(left, key=lambda name: left[name])
        taken = max(0, min(new, left[guard]))
        if taken < new:
            self._metrics.refused.labels(job, guard).inc(new - taken)
        if not first:
            self._new += taken
        self._metrics.new.inc(taken)
        return taken

    def hold(self, before: int, after: int) -> None:
        """A target has so many series now, and had so many."""
        self._series += after - before
        self._metrics.series.set(self._series)

    def _left_this_minute(self, new: int) -> int:
        now = self._clock()
        if now - self._since >= _MINUTE:
            self._new, self._since = 0, now
        limit = self._config.new_series_per_minute
        return limit - self._new if limit else new


class Quota:
    """One target's share of the guards: which series it has, and which it is not let have."""

    __slots__ = ("_count", "_first", "_guards", "_held", "_layout", "refused")

    def __init__(self, guards: Guards) -> None:
        self._guards = guards
        self._layout: Layout | None = None  # of the last page; its first lines are the series
        self._count = 0
        self.refused: frozenset[Labels] = frozenset()
        self._held = 0
        self._first = True

    def take(self, job: str, layout: Layout, count: int) -> None:
        """The first count lines of a page's layout; refused are then those not taken."""
        if not self.refused and layout is self._layout and count == self._count:
            return
        lines = layout.lines[:count]
        before = self._layout.lines[: self._count] if self._layout is not None else ()
        known = set(before) - self.refused
        wanted = [line for line in lines if line not in known]
        held = len(lines) - len(wanted)
        # What is gone makes room before what is new asks for it.
        self._guards.hold(self._held, held)
        taken = self._guards.admit(job, held, len(wanted), first=self._first)
        self._held = held + taken
        self._guards.hold(held, self._held)
        self.refused = frozenset(wanted[taken:])
        self._layout, self._count, self._first = layout, count, False

    def places(self, lines: Sequence[Labels]) -> frozenset[int]:
        """Which of the lines are refused."""
        if not self.refused:
            return frozenset()
        return frozenset(place for place, line in enumerate(lines) if line in self.refused)

    def start_over(self) -> None:
        """The next page's lines come out otherwise, as the target is configured anew."""
        self._first = True

    def give_back(self) -> None:
        """The target is gone."""
        self._guards.hold(self._held, 0)
        self._layout, self._count = None, 0
        self.refused, self._held, self._first = frozenset(), 0, True
