"""What the answers to one selection bring, by series."""

from collections.abc import Sequence
from threading import Lock

from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Series
from fleetpulse.storage.base import Folded, Hints
from fleetpulse.storage.embedded import tiers
from fleetpulse.storage.embedded.limits import Budget, check_series
from fleetpulse.storage.embedded.runs import Run
from fleetpulse.storage.influx.answer import Part, Times
from fleetpulse.storage.influx.series import Samples, add_windows, joined, labels_of, samples_of

_ROWS_A_WINDOW = 6  # numbers, each as large as a sample


class Found:
    """Series that the matchers do not want are left out, and count against no limit.

    add() and add_windows() are safe from several threads: what is read at the same time carries
    its place in the order of times.
    """

    def __init__(self, matchers: Sequence[Matcher], hints: Hints) -> None:
        self._asked = [(one.name, one.predicate()) for one in matchers]
        self._max_series = hints.max_series
        self._budget = Budget(hints.max_samples, hints.check)
        self._lock = Lock()  # guards all below and the budget
        self._series: dict[Labels, int | None] = {}
        self._wanted = 0
        self._samples: dict[int, list[tuple[int, Samples]]] = {}
        self._windows = tiers.TierParts()
        self._times: dict[bytes, Times] = {}

    def add(self, part: Part, order: int = 0) -> None:
        samples = samples_of(part)
        if samples is None:
            return
        with self._lock:
            if (series := self._number(part)) is not None:
                self._budget.take_samples(len(samples.times_ms))
                shared = Samples(self._shared(samples.times_ms), samples.values)
                self._samples.setdefault(series, []).append((order, shared))

    def add_windows(self, part: Part) -> None:
        with self._lock:
            if (series := self._number(part)) is not None:
                self._budget.take_samples(len(part.times_ms) * _ROWS_A_WINDOW)
                add_windows(self._windows, series, part)

    def series(self) -> list[Series]:
        """In the order of their labels."""
        found = []
        for labels, series in self._known():
            if parts := self._parts(series):
                whole = joined(parts)
                times_ms = whole.times_ms if len(parts) == 1 else self._shared(whole.times_ms)
                found.append(Series(labels, times_ms, whole.values))
        return found

    def with_newest(self, bounds: tuple[int, int]) -> list[Series]:
        """Each window's last value, at its end, as if it were a sample."""
        runs: dict[tuple[int, int], list[Run]] = {}
        tiers.add_newest(self._windows, bounds, self._budget, runs)
        for (_, series), (run,) in runs.items():
            earlier = Samples(run.times, run.values)
            self._samples.setdefault(series, []).append((-1, earlier))
        return self.series()

    def folded(self, plan: "tiers.Plan", start_ms: int, end_ms: int) -> list[Folded]:
        folding = tiers.Folding(plan, start_ms, end_ms, self._windows)
        found = []
        for labels, series in self._known():
            runs = [Run(one.times_ms, one.values) for one in self._parts(series)]
            folded = folding.series(labels, [(0, series)], runs)
            if folded is not None:
                found.append(folded)
        return found

    def _parts(self, series: int) -> list[Samples]:
        """In the order of times; of one order as they came."""
        parts = self._samples.get(series, [])
        return [samples for _, samples in sorted(parts, key=lambda part: part[0])]

    def _shared(self, times_ms: Times) -> Times:
        """Series of a target were sampled together: one array of times does for all."""
        return self._times.setdefault(times_ms.tobytes(), times_ms)

    def _known(self) -> list[tuple[Labels, int]]:
        known = self._series.items()
        return sorted((labels, series) for labels, series in known if series is not None)

    def _number(self, part: Part) -> int | None:
        labels = labels_of(part.name, part.tags.items())
        if labels not in self._series:
            wanted = all(passes(labels.get(name)) for name, passes in self._asked)
            self._series[labels] = self._wanted if wanted else None
            self._wanted += wanted
            check_series(self._wanted, self._max_series)
        return self._series[labels]
