"""rate, increase, delta, irate, idelta, changes and resets.

Extrapolation follows extrapolatedRate in Prometheus' promql/functions.go.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Floats, Mask
from fleetpulse.promql.groups import Index
from fleetpulse.promql.windows import Windows, reduce_windows

Reduced = tuple[Floats, Mask]

_NONE: Index = np.zeros(0, dtype=np.intp)


def rate(windows: Windows, _scalars: Sequence[Floats], _ctx: EvalContext) -> Reduced:
    seconds = (windows.end_ms - windows.start_ms) / 1000
    return _changed(windows, seconds, counter=True), windows.having(2)


def increase(windows: Windows, _scalars: Sequence[Floats], _ctx: EvalContext) -> Reduced:
    return _changed(windows, 1.0, counter=True), windows.having(2)


def delta(windows: Windows, _scalars: Sequence[Floats], _ctx: EvalContext) -> Reduced:
    return _changed(windows, 1.0, counter=False), windows.having(2)


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
    apart = windows.times_at(last) - windows.times_at(earlier)
    seconds = np.where(apart > 0, apart, 1) / 1000
    return windows.values[:, earlier], windows.values[:, last], seconds


def _count_between(windows: Windows, happened: Mask) -> Floats:
    """How many of the marks lie inside each window; mark i stands between samples i and i+1."""
    marks = np.zeros(windows.values.shape, dtype=np.int64)
    np.cumsum(happened, axis=1, out=marks[:, 1:])
    first, last = windows.first_index(), windows.last_index()
    return (marks[:, last] - marks[:, first]).astype(float)


def _changed(windows: Windows, divisor: Floats | float, *, counter: bool) -> Floats:
    """The change over the whole window, guessed from the samples inside, by the divisor."""
    still = (windows.values == windows.values[:, :1]).all(axis=1)
    # Infinity less itself is none; else what never changes, as most of a host's, is quick to tell.
    still &= np.isfinite(windows.values[:, 0])
    if not still.any():
        return _extrapolated(windows, divisor, counter=counter)
    changed = np.zeros((windows.rows, len(windows.lo)))
    moving = np.flatnonzero(~still)
    if len(moving):
        changed[moving] = _extrapolated(windows.only(moving), divisor, counter=counter)
    return changed


def _extrapolated(windows: Windows, divisor: Floats | float, *, counter: bool) -> Floats:
    first, last = windows.first_index(), windows.last_index()
    start = windows.values[:, first]
    gained = windows.values[:, last]
    gained -= start
    if counter:
        _add_resets(windows, gained)
    span = _Span.of(windows)
    factor = windows.by_row(span.factor(span.to_start) / divisor)
    rows = _maybe_near_zero(windows, start, gained, span) if counter else _NONE
    if len(rows) == 0:
        gained *= factor
        return gained
    near = gained[rows]
    of_rows = span.of_rows(windows.only(rows))
    gained *= factor
    gained[rows] = near * (_near_zero(of_rows, start[rows], near) / divisor)
    return gained


def _add_resets(windows: Windows, gained: Floats) -> None:
    """To last minus first, what a counter had reached at each fall to a lower value."""
    before = windows.values[:, :-1]
    fell = windows.values[:, 1:] < before
    if not fell.any():
        return
    rows = np.flatnonzero(fell.any(axis=1))
    # Summed window by window: a difference of running totals would cancel badly where an
    # early reset was large, and an infinite one would spoil all that follow.
    reached = np.where(fell[rows], before[rows], 0.0)
    lo, hi = windows.first_index(), windows.last_index()
    again = reduce_windows(np.add, reached, lo, hi)
    gained[rows] += np.where(hi > lo, again, 0.0)


@dataclass(frozen=True, slots=True)
class _Span:
    """Seconds of each window, (steps,) or (targets, steps): from its first sample to its last, and
    how far to extrapolate to its bounds."""

    sampled: Floats
    to_start: Floats
    to_end: Floats

    @classmethod
    def of(cls, windows: Windows) -> "_Span":
        first = windows.target_times_at(windows.first_index())
        last = windows.target_times_at(windows.last_index())
        sampled = (last - first) / 1000
        between = sampled / np.maximum(windows.counts - 1, 1)
        return cls(
            sampled,
            _margin((first - windows.start_ms) / 1000, between),
            _margin((windows.end_ms - last) / 1000, between),
        )

    def of_rows(self, windows: Windows) -> "_Span":
        """The same, (steps,) or (rows, steps)."""
        told = (self.sampled, self.to_start, self.to_end)
        return _Span(*(windows.by_row(seconds) for seconds in told))

    def factor(self, to_start: Floats) -> Floats:
        """By what the samples' own change is to be multiplied."""
        some = self.sampled > 0
        whole = self.sampled + to_start + self.to_end
        return np.where(some, whole / np.where(some, self.sampled, 1.0), 1.0)


def _margin(seconds: Floats, between: Floats) -> Floats:
    """How far to extrapolate to a bound: half an interval where a sample seems to be missing."""
    return np.where(seconds >= between * 1.1, between / 2, seconds)


def _maybe_near_zero(windows: Windows, start: Floats, gained: Floats, span: _Span) -> Index:
    """Rows of which some window may begin so low that _near_zero() matters.

    By the lowest start and the highest gain of each: most counters are far from zero.
    """
    share = span.to_start / np.where(span.sampled > 0, span.sampled, np.inf)
    furthest = 1.01 * share.max(axis=-1)
    if windows.target is not None:
        furthest = furthest[windows.target]
    lowest = start.min(axis=1)
    far = (lowest >= gained.max(axis=1) * furthest) & (lowest >= 0)
    rows: Index = np.flatnonzero(~far)
    return rows


def _near_zero(span: _Span, start: Floats, gained: Floats) -> Floats:
    """The factor, but reaching no further back than where the counter would have been zero."""
    to_zero = span.sampled * (start / gained)
    nearer = (gained > 0) & (start >= 0) & (to_zero < span.to_start)
    return span.factor(np.where(nearer, to_zero, span.to_start))
