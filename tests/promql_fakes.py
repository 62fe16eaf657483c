"""A store of series in memory, for tests of the engine."""

import random
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from fleetpulse.matchers import Matcher, all_match
from fleetpulse.model import STALE_NAN, Labels, Metadata, Series
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


def fleet(start_ms: int = 0, *, ending: bool = True) -> list[Series]:
    """Half an hour of counters with falls and gaps, gauges, a histogram, an info metric.

    ending: whether the gauges are ended by staleness markers now and then.
    """
    rng = random.Random(3)
    held = []
    steady = [(at, 1.0) for at in range(0, 1_800_000, 60_000)]
    for host in "abc":
        for mode in ("idle", "user"):
            value, samples = 0.0, []
            for at in range(0, 1_800_000, 15_000):
                value = 0.0 if rng.random() < 0.02 else value + rng.random() * 15
                if rng.random() < 0.9:
                    samples.append((at + rng.randint(1, 5), value))
            held.append(series(Labels.of(__name__="cpu_total", host=host, mode=mode), samples))
        gauge = [
            (at, STALE_NAN if rng.random() < 0.1 and ending else rng.gauss(50, 20))
            for at in range(0, 1_800_000, 60_000)
        ]
        held.append(series(Labels.of(__name__="load", host=host), gauge))
        held.append(series(Labels.of(__name__="info", host=host, rack=host * 2), steady))
        for le, share in (("0.1", 1), ("1", 3), ("+Inf", 4)):
            labels = Labels.of(__name__="took_bucket", host=host, le=le)
            held.append(series(labels, [(at * 30_000, at * share * 1.0) for at in range(60)]))
    return [Series(one.labels, one.times_ms + start_ms, one.values) for one in held]


# What fleet() can answer; none depends on the bounds of the query.
QUERIES = [
    "cpu_total",
    "load > 50",
    "-load",
    "rate(cpu_total[2m])",
    "sum by(mode)(rate(cpu_total[1m]))",
    "topk(2, load)",
    "bottomk by(mode)(1, cpu_total)",
    "quantile(0.7, load)",
    'count_values("v", round(load, 50))',
    "load * on(host) group_left(rack) info",
    "cpu_total and on(host) (load > 40)",
    "load unless on(host) (load > 60)",
    "load > 60 or load < 30 or info",
    'cpu_total{mode="idle"} / ignoring(mode) sum without(mode)(cpu_total)',
    "load offset 3m - load",
    "load >bool 50",
    "absent(load > 70)",
    "max_over_time(load[10m:1m])",
    "avg_over_time(rate(cpu_total[2m])[10m:])",
    "quantile_over_time(scalar(info{host='a'}) / 2, load[10m])",
    "predict_linear(load[10m], time())",
    "stddev_over_time(cpu_total[7m])",
    "histogram_quantile(0.9, sum by(le)(rate(took_bucket[5m])))",
    "timestamp(load)",
    "hour(timestamp(load)) + on() group_left() minute()",
    "clamp_max(scalar(sum(load)) - load, 80)",
    'label_replace(load, "rack", "r-$1", "host", "(.)") or info',
    "scalar(sum(load @ 1700000600)) + load",
    "sum(load @ 1700000600) + on() group_right() load",
    "changes(load[10m]) + on(host) group_right() resets(cpu_total[10m] offset 1m)",
    "last_over_time(load[3m]) == load",
]
