"""Range windows over series that share their sample times, and the tools to reduce them.

A window holds the samples in (start, end]: left-open, as Prometheus 3 has it. All arrays are
(rows, samples) on the way in and (rows, steps) on the way out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fleetpulse.promql.frames import Floats, Mask

Ints = NDArray[np.int64]
Number = TypeVar("Number", np.int64, np.float64)

# At most this many values are laid out at once where windows are copied side by side.
_CHUNK = 1 << 20
# Windows of many blocks of so many samples share the blocks' results, from so many windows on.
_BLOCK, _SHARED = 64, 8


@dataclass(frozen=True, slots=True)
class Windows:
    """times int64 (samples,), values float64 (rows, samples), at least one sample.

    Series of several targets may be together, where their windows are the same samples by number:
    times are then (targets, samples), and target (rows,) says of each row whose they are.

    Window i is samples lo[i]:hi[i], those in (start_ms[i], end_ms[i]]; steps_ms[i] is the time of
    the evaluation, which differs from end_ms with offset and @.
    """

    times: Ints
    values: Floats
    lo: Ints
    hi: Ints
    start_ms: Ints
    end_ms: Ints
    steps_ms: Ints
    target: NDArray[np.intp] | None = None

    @classmethod
    def cut(
        cls, times: Ints, values: Floats, start_ms: Ints, end_ms: Ints, steps_ms: Ints
    ) -> "Windows":
        lo = np.searchsorted(times, start_ms, side="right")
        hi = np.maximum(lo, np.searchsorted(times, end_ms, side="right"))
        return cls(times, values, lo, hi, start_ms, end_ms, steps_ms)

    @classmethod
    def together(cls, parts: "Sequence[Windows]") -> "Windows":
        """One of all parts, whose windows are the same samples by number."""
        one = parts[0]
        if len(parts) == 1:
            return one
        return cls(
            np.stack([part.times for part in parts]),
            np.concatenate([part.values for part in parts]),
            one.lo,
            one.hi,
            one.start_ms,
            one.end_ms,
            one.steps_ms,
            np.repeat(np.arange(len(parts)), [part.rows for part in parts]),
        )

    @property
    def rows(self) -> int:
        return len(self.values)

    @property
    def counts(self) -> Ints:
        return self.hi - self.lo

    @property
    def longest(self) -> int:
        """The samples in the fullest window."""
        return int(self.counts.max(initial=0))

    @property
    def samples(self) -> int:
        return int(self.values.shape[1])

    def times_at(self, index: Ints) -> Ints:
        """Of samples by number, (steps,) or (rows, steps)."""
        return self.by_row(self.target_times_at(index))

    def target_times_at(self, index: Ints) -> Ints:
        """The same, (steps,) or (targets, steps): what is reckoned from them is so less often."""
        return self.times[..., index]

    def by_row(self, told: NDArray[Number]) -> NDArray[Number]:
        """What is told (steps,), of all alike, or (targets, steps): then (rows, steps)."""
        return told if self.target is None else told[self.target]

    def first_index(self) -> Ints:
        """Of each window; any valid index where the window is empty."""
        return np.minimum(self.lo, self.samples - 1)

    def last_index(self) -> Ints:
        return np.maximum(self.hi - 1, 0)

    def having(self, at_least: int) -> Mask:
        """(rows, steps): which windows hold that many samples."""
        return np.broadcast_to(self.counts >= at_least, (self.rows, len(self.lo)))

    def only(self, rows: NDArray[np.intp] | slice) -> "Windows":
        """The same windows over some of the series."""
        return replace(
            self,
            values=self.values[rows],
            target=None if self.target is None else self.target[rows],
        )


def reduce_windows(ufunc: np.ufunc, values: Floats, lo: Ints, hi: Ints) -> Floats:
    """ufunc (add, fmin or fmax) reduced over values[:, lo:hi] of each window.

    Empty windows hold anything. Long windows are put together from blocks that they share.
    """
    if len(lo) < _SHARED or int((hi - lo).max(initial=0)) < 4 * _BLOCK:
        return _reduce_slices(ufunc, values, lo, hi)
    first, last = -(-lo // _BLOCK), hi // _BLOCK  # whole blocks inside
    starts = np.arange(0, values.shape[1], _BLOCK)
    blocks: Floats = ufunc.reduceat(values, starts, axis=1)
    whole = first < last
    nothing = 0.0 if ufunc is np.add else np.nan
    inner = np.where(whole, _reduce_slices(ufunc, blocks, first, np.maximum(first, last)), nothing)
    head_end = np.where(whole, first * _BLOCK, hi)
    tail_start = np.where(whole, last * _BLOCK, hi)
    head = np.where(lo < head_end, _reduce_slices(ufunc, values, lo, head_end), nothing)
    tail = np.where(tail_start < hi, _reduce_slices(ufunc, values, tail_start, hi), nothing)
    together: Floats = ufunc(ufunc(head, inner), tail)
    return together


def _reduce_slices(ufunc: np.ufunc, values: Floats, lo: Ints, hi: Ints) -> Floats:
    rows, samples = values.shape
    # reduceat() takes no index past the end, so one more column stands there.
    padded = np.concatenate([values, np.zeros((rows, 1))], axis=1)
    bounds = np.empty(2 * len(lo), dtype=np.intp)
    bounds[0::2] = np.minimum(lo, samples)
    bounds[1::2] = np.minimum(hi, samples)
    reduced: Floats = ufunc.reduceat(padded, bounds, axis=1)[:, ::2]
    return reduced


def scan(windows: Windows, check: Callable[[], None]) -> Iterator[tuple[int, Mask, Ints, Floats]]:
    """All windows side by side, one sample a turn: (k, live, index, values).

    live (steps,): windows with a k-th sample. index (steps,): where in the series it is.
    values (rows, steps): the k-th samples; anything where not live. check is called each turn.
    """
    last = windows.samples - 1
    for k in range(windows.longest):
        check()
        index = windows.lo + k
        live = index < windows.hi
        index = np.minimum(index, last)
        yield k, live, index, windows.values[:, index]


def spread(windows: Windows, row: int) -> Iterator[tuple[slice, Floats]]:
    """One series' windows copied side by side: (which steps, values (steps, longest)).

    What is past a window's end is NaN. Given in pieces, to bound the memory.
    """
    longest = max(1, windows.longest)
    size = max(1, _CHUNK // longest)
    offsets = np.arange(longest)
    for begin in range(0, len(windows.lo), size):
        part = slice(begin, begin + size)
        index = windows.lo[part, None] + offsets
        inside = index < windows.hi[part, None]
        values = windows.values[row][np.minimum(index, windows.samples - 1)]
        yield part, np.where(inside, values, np.nan)
