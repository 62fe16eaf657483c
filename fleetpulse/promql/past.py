"""Range functions over windows that stand for samples which a store has no more, or need not read.

Where a query's windows are whole numbers of the store's, all but rate and increase come out the
same as from the samples. Else the nearest of the store's are taken, for rate and increase scaled
to the query's own length. Both of these count the rise from the last sample before the range to
the last one in it, and extrapolate nothing: for a counter sampled every d seconds they differ from
Prometheus' by no more than it rises in the interval before the range and in 2.2 mean intervals
inside, which for a steady one is a share of d/range.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fleetpulse.promql.frames import Floats, Mask
from fleetpulse.promql.windows import Ints, reduce_windows

if TYPE_CHECKING:
    from fleetpulse.promql.selectors import Block, Past


@dataclass(frozen=True, slots=True)
class Stretch:
    """values, samples and crossing (rows, windows), and which of them each step takes: lo:hi.

    seconds (steps,): the length of the step's range; covered: that of the windows taken.
    """

    values: Floats
    samples: Floats
    crossing: Floats
    lo: Ints
    hi: Ints
    seconds: Floats
    covered: Floats

    @classmethod
    def of(
        cls,
        block: "Block",
        samples: Floats,
        crossing: Floats,
        starts: Ints,
        ends: Ints,
        past: "Past",
    ) -> "Stretch":
        first, last = _nearest(starts, ends, past)
        lo = np.searchsorted(block.times, first, side="right")
        hi = np.maximum(lo, np.searchsorted(block.times, last, side="right"))
        seconds, covered = (ends - starts) / 1000, (last - first) / 1000
        return cls(block.values, samples, crossing, lo, hi, seconds, covered)

    def added(self, of: Floats) -> Floats:
        return np.where(self.hi > self.lo, reduce_windows(np.add, of, self.lo, self.hi), 0.0)


PastReduce = Callable[[Stretch], tuple[Floats, Mask]]


def _nearest(starts: Ints, ends: Ints, past: "Past") -> tuple[Ints, Ints]:
    """The bounds moved to those of windows, as far as there are windows; never to nothing."""
    width = past.width_ms
    first = (starts + width // 2) // width * width
    last = np.where(ends < past.until_ms, (ends + width // 2) // width * width, ends)
    return np.minimum(first, last - width), last


def least(stretch: Stretch) -> tuple[Floats, Mask]:
    return reduce_windows(np.fmin, stretch.values, stretch.lo, stretch.hi), _some(stretch)


def greatest(stretch: Stretch) -> tuple[Floats, Mask]:
    return reduce_windows(np.fmax, stretch.values, stretch.lo, stretch.hi), _some(stretch)


def total(stretch: Stretch) -> tuple[Floats, Mask]:
    return stretch.added(stretch.values), _some(stretch)


def average(stretch: Stretch) -> tuple[Floats, Mask]:
    counts = np.maximum(stretch.added(stretch.samples), 1.0)
    return stretch.added(stretch.values) / counts, _some(stretch)


def count(stretch: Stretch) -> tuple[Floats, Mask]:
    return stretch.added(stretch.samples), _some(stretch)


def present(stretch: Stretch) -> tuple[Floats, Mask]:
    return np.ones((len(stretch.values), len(stretch.lo))), _some(stretch)


def last(stretch: Stretch) -> tuple[Floats, Mask]:
    return stretch.values[:, np.maximum(stretch.hi - 1, 0)], _some(stretch)


def increase(stretch: Stretch) -> tuple[Floats, Mask]:
    begin = np.minimum(stretch.lo, stretch.values.shape[1] - 1)
    rose = stretch.added(stretch.values) - stretch.crossing[:, begin]
    return rose * (stretch.seconds / stretch.covered), stretch.added(stretch.samples) >= 2


def rate(stretch: Stretch) -> tuple[Floats, Mask]:
    rose, there = increase(stretch)
    return rose / stretch.seconds, there


def _some(stretch: Stretch) -> Mask:
    return np.broadcast_to(stretch.hi > stretch.lo, (len(stretch.values), len(stretch.lo)))
