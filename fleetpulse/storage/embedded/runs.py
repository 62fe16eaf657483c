"""Pieces of a series from different rows, and how they become one."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fleetpulse.storage.embedded.codec import Floats, Times

# Series that were sampled together share their arrays of times; joining them is done once.
Joined = dict[tuple[int, ...], tuple[list[int], Times | None]]

# By (target, line).
RunsOf = dict[tuple[int, int], list["Run"]]


@dataclass(slots=True)  # not frozen: that triples the time to make one, and there are many
class Run:
    """At least one sample of a series; times rise strictly.

    written: int64 per sample, the larger of two wins; None for what is older than every page.
    """

    times: Times
    values: Floats
    written: Times | None = None


def join(runs: Sequence[Run], joined: Joined) -> tuple[Times, Floats]:
    """One strictly rising series of all runs; of equal times the one last written stays.

    joined carries what was already done over to the next series; the caller keeps the runs alive
    as long as it uses the same joined.
    """
    if len(runs) == 1:
        return runs[0].times, runs[0].values
    key = tuple([id(run.times) for run in runs])
    known = joined.get(key)
    if known is None:
        known = joined[key] = _in_line(runs)
    order, times = known
    if times is None:
        return _interleave(runs)
    return times, np.concatenate([runs[at].values for at in order])


def _in_line(runs: Sequence[Run]) -> tuple[list[int], Times | None]:
    """The order in which one run's times follow on the other's, and all; None: they overlap."""
    order = sorted(range(len(runs)), key=lambda at: int(runs[at].times[0]))
    for before, after in pairwise(order):
        if runs[before].times[-1] >= runs[after].times[0]:
            return order, None
    return order, np.concatenate([runs[at].times for at in order])


def _interleave(runs: Sequence[Run]) -> tuple[Times, Floats]:
    times = np.concatenate([run.times for run in runs])
    values = np.concatenate([run.values for run in runs])
    written = np.concatenate(
        [np.full(len(run.times), -1) if run.written is None else run.written for run in runs]
    )
    order = np.lexsort((written, times))
    times = times[order]
    last = np.append(times[1:] != times[:-1], True)
    return times[last], values[order][last]
