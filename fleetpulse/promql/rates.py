"""rate, increase, delta, irate, idelta, changes and resets.

Extrapolation follows extrapolatedRate in Prometheus' promql/functions.go.
"""

from collections.abc import Sequence

import numpy as np

from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Floats, Mask
from fleetpulse.promql.windows import Windows, reduce_windows

Reduced = tuple[Floats, Mask]


def rate(windows: Windows, _scalars: Sequence[Floats], _ctx: EvalContext) -> Reduced:
    values, present = _extrapolated(windows, counter=True)
    seconds = (windows.end_ms - windows.start_ms) / 1000
    return values / seconds, present


def increase(windows: Windows, _scalars: Sequence[Floats], _ctx: EvalContext) -> Reduced:
    return _extrapolated(windows, counter=True)


def delta(windows: Windows, _scalars: Sequence[Floats], _ctx: EvalContext) -> Reduced:
    return _extrapolated(windows, counter=False)


def irate(windows: Windows, _scalars: Sequence[Floats], _ctx: EvalContext) -> Reduced:
    earlier, last, seconds = _last_two(windows)
    gained = np.where(last < earlier, last, last - earlier)
    return gained / seconds, windows.having(2)


def idelta(windows: Windows, _scalars: Sequence[Floats], _ctx: EvalContext) -> Reduced:
    earlier, last, _ = _last_two(windows)
    return last - earlier, windows.having(2)


def changes(windows: Windows, _scalars: Sequence[Floats], _ctx: EvalContext) -> Reduced:
    before, after = windows.values[:, :-1], windows.values[:, 1:]
    both_nan = np.isnan(before) & np.isnan(after)
    return _count_between(windows, (before != after) & ~both_nan), windows.having(1)


def resets(windows: Windows, _scalars: Sequence[Floats], _ctx: EvalContext) -> Reduced:
    fell = windows.values[:, 1:] < windows.values[:, :-1]
    return _count_between(windows, fell), windows.having(1)


def _last_two(windows: Windows) -> tuple[Floats, Floats, Floats]:
    last = windows.last_index()
    earlier = np.maximum(last - 1, 0)
    apart = windows.times[last] - windows.times[earlier]
    seconds = np.where(apart > 0, apart, 1) / 1000
    return windows.values[:, earlier], windows.values[:, last], seconds


def _count_between(windows: Windows, happened: Mask) -> Floats:
    """How many of the marks lie inside each window; mark i stands between samples i and i+1."""
    marks = np.zeros(windows.values.shape, dtype=np.int64)
    np.cumsum(happened, axis=1, out=marks[:, 1:])
    first, last = windows.first_index(), windows.last_index()
    return (marks[:, last] - marks[:, first]).astype(float)


def _gained(windows: Windows, *, counter: bool) -> Floats:
    """Last minus first; for a counter, plus what it had reached at each fall to a lower value."""
    gained = windows.values[:, windows.last_index()] - windows.values[:, windows.first_index()]
    if not counter or windows.values.shape[1] < 2:
        return gained
    before = windows.values[:, :-1]
    fell = windows.values[:, 1:] < before
    rows = np.flatnonzero(fell.any(axis=1))
    if len(rows):
        # Summed window by window: a difference of running totals would cancel badly where an
        # early reset was large, and an infinite one would spoil all that follow.
        reached = np.where(fell[rows], before[rows], 0.0)
        lo, hi = windows.first_index(), windows.last_index()
        again = reduce_windows(np.add, reached, lo, hi)
        gained[rows] += np.where(hi > lo, again, 0.0)
    return gained


def _extrapolated(windows: Windows, *, counter: bool) -> Reduced:
    """The change over the whole window, guessed from the samples inside."""
    gained = _gained(windows, counter=counter)
    first, last = windows.first_index(), windows.last_index()
    sampled = (windows.times[last] - windows.times[first]) / 1000
    present = windows.having(2)
    between = sampled / np.maximum(windows.counts - 1, 1)
    to_start = _margin((windows.times[first] - windows.start_ms) / 1000, between)
    to_end = _margin((windows.end_ms - windows.times[last]) / 1000, between)
    before: Floats = to_start
    if counter:
        before = _not_below_zero(windows.values[:, first], gained, sampled, to_start)
    factor = (sampled + before + to_end) / np.where(sampled > 0, sampled, 1.0)
    return gained * np.where(sampled > 0, factor, 1.0), present


def _margin(seconds: Floats, between: Floats) -> Floats:
    """How far to extrapolate to a bound: half an interval where a sample seems to be missing."""
    return np.where(seconds >= between * 1.1, between / 2, seconds)


def _not_below_zero(start: Floats, gained: Floats, sampled: Floats, to_start: Floats) -> Floats:
    """to_start, but no further back than where the counter would have been zero.

    (rows, steps), or as it was, (steps,), where that is so for none: what follows is then cheap.
    """
    to_zero = sampled * (start / gained)
    nearer = (gained > 0) & (start >= 0) & (to_zero < to_start)
    return np.where(nearer, to_zero, to_start) if nearer.any() else to_start
