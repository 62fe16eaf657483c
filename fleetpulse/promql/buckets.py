"""Quantiles and fractions of the cumulative buckets of one classic histogram.

Throughout: bounds float64 (buckets,), rising and distinct; counts (buckets, steps), cumulative;
results (steps,). Formulas and special cases are those of Prometheus' promql/quantile.go.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from fleetpulse.promql.frames import Floats, Mask
from fleetpulse.promql.gofloat import format_g

# Counts that differ by less, relative to their sum, are taken for equal (almost.Equal).
_TOLERANCE = 1e-12
_MIN_NORMAL = 2.2250738585072014e-308
_MAX_FLOAT = 1.7976931348623157e308


@dataclass(slots=True)
class Repairs:
    """What was found where a bucket had fewer observations than a smaller one."""

    samples: int = 0
    lowest_bound: float = np.inf
    highest_bound: float = -np.inf
    largest_drop: float = 0.0
    first_ms: int = 0
    last_ms: int = 0

    def add(self, bounds: Floats, drops: Floats, times_ms: NDArray[np.int64]) -> None:
        """drops: (buckets, steps), by how much each bucket was raised; 0 for those that fit."""
        steps, buckets = (drops > 0).any(axis=0), (drops > 0).any(axis=1)
        if not steps.any():
            return
        times = times_ms[steps]
        self.first_ms = int(min(times[0], self.first_ms)) if self.samples else int(times[0])
        self.last_ms = int(max(times[-1], self.last_ms)) if self.samples else int(times[-1])
        self.samples += int(steps.sum())
        self.lowest_bound = min(self.lowest_bound, float(bounds[buckets][0]))
        self.highest_bound = max(self.highest_bound, float(bounds[buckets][-1]))
        self.largest_drop = max(self.largest_drop, float(drops.max()))

    def text(self) -> str:
        return (
            f"from buckets {format_g(self.lowest_bound)} to {format_g(self.highest_bound)}, "
            f"with a max diff of {self.largest_drop:.2g}, over {self.samples} samples "
            f"from {_rfc3339(self.first_ms)} to {_rfc3339(self.last_ms)}"
        )


def bucket_quantile(
    wanted: Floats,
    bounds: Floats,
    counts: Floats,
    times_ms: NDArray[np.int64],
    repairs: Repairs,
) -> Floats:
    """The wanted quantile, values spread evenly inside each bucket; wanted: (steps,)."""
    valid = (wanted >= 0) & (wanted <= 1)
    found = np.full(len(wanted), np.nan)
    if np.isposinf(bounds[-1]):
        counts, drops = _made_monotonic(counts)
        repairs.add(bounds, np.where(valid, drops, 0.0), times_ms)
        if len(bounds) > 1:
            found = _interpolated(wanted, bounds, counts)
    found = np.where(wanted < 0, -np.inf, np.where(wanted > 1, np.inf, found))
    return np.where(np.isnan(wanted), np.nan, found)


def _interpolated(wanted: Floats, bounds: Floats, counts: Floats) -> Floats:
    last = len(bounds) - 1
    rank = wanted * counts[-1]
    reached = counts[:-1] >= rank
    bucket = np.where(reached.any(axis=0), reached.argmax(axis=0), last)
    step = np.arange(counts.shape[1])
    below = np.maximum(bucket - 1, 0)
    start = np.where(bucket > 0, bounds[below], 0.0)
    count_below = np.where(bucket > 0, counts[below, step], 0.0)
    share = (rank - count_below) / (counts[bucket, step] - count_below)
    found = start + (bounds[bucket] - start) * share
    if bounds[0] <= 0:
        # There is nothing to spread the values of the lowest bucket over.
        found = np.where(bucket == 0, bounds[0], found)
    found = np.where(bucket == last, bounds[-2], found)
    return np.where(counts[-1] == 0, np.nan, found)


def _made_monotonic(counts: Floats) -> tuple[Floats, Floats]:
    """Counts of which none is below the one before it, and by how much each was raised.

    Differences that are but rounding errors, either way, are evened out without a word.
    """
    fixed, drops = counts.copy(), np.zeros_like(counts)
    before = counts[0]
    for bucket in range(1, len(counts)):
        here = counts[bucket]
        same = _almost_equal(before, here)
        drops[bucket] = np.where(~same & (here < before), before - here, 0.0)
        before = np.where(same | (here < before), before, here)
        fixed[bucket] = before
    return fixed, drops


def _almost_equal(left: Floats, right: Floats) -> Mask:
    total = np.abs(left) + np.abs(right)
    tiny = (left == 0) | (right == 0) | (total < _MIN_NORMAL)
    scale = np.where(tiny, _MIN_NORMAL, np.minimum(total, _MAX_FLOAT))
    # Equal infinities have a difference of NaN.
    equal: Mask = (left == right) | (np.abs(left - right) < _TOLERANCE * scale)
    return equal


def bucket_fraction(lower: Floats, upper: Floats, bounds: Floats, counts: Floats) -> Floats:
    """The share of observations between lower and upper, each (steps,)."""
    total = counts[-1]
    if not np.isposinf(bounds[-1]):
        return np.full(len(total), np.nan)
    fraction = (_rank(upper, bounds, counts) - _rank(lower, bounds, counts)) / total
    fraction = np.where(lower >= upper, 0.0, fraction)
    unknown = (total == 0) | np.isnan(lower) | np.isnan(upper)
    return np.where(unknown, np.nan, fraction)


def _rank(values: Floats, bounds: Floats, counts: Floats) -> Floats:
    """How many observations are below each of values, at most all."""
    bucket = np.minimum(np.searchsorted(bounds, values, side="right"), len(bounds) - 1)
    step = np.arange(counts.shape[1])
    below = np.maximum(bucket - 1, 0)
    first_start = -np.inf if bounds[0] <= 0 else 0.0
    start = np.where(bucket > 0, bounds[below], first_start)
    count_below = np.where(bucket > 0, counts[below, step], 0.0)
    here = counts[bucket, step]
    within = count_below + (here - count_below) * (values - start) / (bounds[bucket] - start)
    # Nothing can be spread over a bucket without a lower end: all of it counts.
    rank = np.where(np.isneginf(start), here, within)
    rank = np.where(start >= values, count_below, rank)
    rank = np.where(np.isposinf(values), counts[-1], rank)
    at_most: Floats = np.minimum(rank, counts[-1])
    return at_most


def _rfc3339(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
