"""A store of series in memory, for tests of the engine."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from fleetpulse.matchers import Matcher, all_match
from fleetpulse.model import Labels, Metadata, Series
from fleetpulse.storage.base import Hints, MatcherSets


def series(labels: Labels, samples: Iterable[tuple[int, float]]) -> Series:
    """A series of (ms, value) pairs."""
    pairs = sorted(samples)
    times = np.array([at for at, _ in pairs], dtype=np.int64)
    return Series(labels, times, np.array([value for _, value in pairs], dtype=np.float64))


class FakeReader:
    """A SeriesReader over given series; asked: every selection, with its bounds and hints."""

    def __init__(self, held: Iterable[Series] = ()) -> None:
        self.held = sorted(held, key=lambda one: one.labels)
        self.asked: list[tuple[Sequence[Matcher], int, int, Hints]] = []

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
    ) -> Sequence[Series]:
        self.asked.append((matchers, start_ms, end_ms, hints))
        found = []
        for one in self.held:
            inside = (one.times_ms >= start_ms) & (one.times_ms <= end_ms)
            if inside.any() and all_match(matchers, one.labels):
                found.append(Series(one.labels, one.times_ms[inside], one.values[inside]))
        return found

    def series(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[Labels]:
        return [one.labels for one in self.held]

    def labels(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        return sorted({name for one in self.held for name, _ in one.labels})

    def label_values(self, name: str, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        return sorted({one.labels.get(name) for one in self.held} - {""})

    def metadata(self) -> Mapping[str, Metadata]:
        return {}
