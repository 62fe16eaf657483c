"""Five-minute windows of a series' day: what is left of the samples once they are gone.

A window holds the samples in (start, end]: left-open, as PromQL's ranges are, so that a range
between two multiples of five minutes is a number of whole windows. No I/O.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from fleetpulse.model import STALE_BITS
from fleetpulse.storage.embedded.codec import Floats, Times

WINDOW_MS = 300_000
DAY_MS = 86_400_000
WINDOWS_A_DAY = DAY_MS // WINDOW_MS

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Windows:
    """Arrays of equal length, one entry a window that has samples or a staleness marker.

    at: int64, the window's place in its day, rising. ended: its last sample is a marker.
    Of the samples that are no markers: how many (samples), least, greatest, total and last. again:
    what a counter had reached at each fall, added up; a fall from the window right before counts
    here, unless started. started: first holds the first value; set where the window before has no
    samples or is not in the same row, so that an increase may begin here.
    """

    at: Times
    ended: Mask
    samples: Floats
    least: Floats
    greatest: Floats
    total: Floats
    last: Floats
    again: Floats
    started: Mask
    first: Floats

    def __len__(self) -> int:
        return len(self.at)

    def take(self, wanted: NDArray[np.intp] | Mask) -> "Windows":
        return Windows(*(getattr(self, field.name)[wanted] for field in fields(self)))


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the windows of some times begin and end: shared by the series sampled together."""

    at: Times
    starts: NDArray[np.intp]
    lasts: NDArray[np.intp]
    samples: Floats
    started: Mask

    @classmethod
    def of(cls, times: Times, day: int) -> "Cut":
        """times: at least one, rising, all of the day (its midnight excluded, the next in)."""
        places = (times - 1 - day * DAY_MS) // WINDOW_MS
        starts = np.flatnonzero(np.append(True, places[1:] != places[:-1]))
        at = places[starts]
        ends = np.append(starts[1:], len(times))
        started = np.append(True, np.diff(at) != 1)
        return cls(at, starts, ends - 1, (ends - starts).astype(float), started)


def is_marker(values: Floats) -> Mask:
    """Which values are staleness markers."""
    marks: Mask = np.ascontiguousarray(values).view(np.uint64) == STALE_BITS
    return marks


def aggregate(times: Times, values: Floats, day: int, cut: Cut | None = None) -> Windows:
    """The windows of a series' samples of a day; cut: of these times, where it is known."""
    marks = is_marker(values)
    if marks.any():
        return _with_markers(times, values, marks, day)
    cut = cut or Cut.of(times, day)
    nothing = np.zeros(len(cut.at), bool)
    # +Inf and -Inf in one window have the sum NaN, as PromQL has it; that is no event.
    with np.errstate(invalid="ignore", over="ignore"):
        return Windows(
            cut.at, nothing, cut.samples, np.fmin.reduceat(values, cut.starts),
            np.fmax.reduceat(values, cut.starts), np.add.reduceat(values, cut.starts),
            values[cut.lasts], _again(values, cut), cut.started, values[cut.starts],
        )  # fmt: skip


def aggregate_all(times: Times, values: Sequence[Floats], day: int, cut: Cut) -> Iterator[Windows]:
    """aggregate() of many series that were sampled together, in their order."""
    table = np.stack(values)
    marked = set(np.flatnonzero(is_marker(table).any(axis=1)).tolist())
    fell = set(np.flatnonzero((table[:, 1:] < table[:, :-1]).any(axis=1)).tolist())
    nothing, none = np.zeros(len(cut.at), bool), np.zeros(len(cut.at))
    with np.errstate(invalid="ignore", over="ignore"):
        least, greatest, total = (
            how.reduceat(table, cut.starts, axis=1) for how in (np.fmin, np.fmax, np.add)
        )
    last, first = table[:, cut.lasts], table[:, cut.starts]
    for row, series in enumerate(values):
        if row in marked:
            yield aggregate(times, series, day)
            continue
        again = _again(series, cut) if row in fell else none
        yield Windows(
            cut.at, nothing, cut.samples, least[row], greatest[row], total[row], last[row], again,
            cut.started, first[row],
        )  # fmt: skip


def _again(values: Floats, cut: Cut) -> Floats:
    before = values[:-1]
    fell = values[1:] < before
    if not fell.any():
        return np.zeros(len(cut.at))
    reached = np.append(0.0, np.where(fell, before, 0.0))
    reached[cut.starts[cut.started]] = 0.0
    again: Floats = np.add.reduceat(reached, cut.starts)
    return again


def _with_markers(times: Times, values: Floats, marks: Mask, day: int) -> Windows:
    whole = Cut.of(times, day)
    ended = marks[whole.lasts]
    if marks.all():
        return _markers_only(whole.at)
    live = aggregate(times[~marks], values[~marks], day)
    bare = _markers_only(np.setdiff1d(whole.at, live.at))
    joined = concatenate([live, bare])
    ordered = joined.take(np.argsort(joined.at))
    return Windows(
        ordered.at, ended, *(getattr(ordered, field.name) for field in fields(ordered)[2:])
    )


def _markers_only(at: Times) -> Windows:
    none, no = np.zeros(len(at)), np.zeros(len(at), bool)
    return Windows(at, ~no, none, none, none, none, none, none, no, none)


def concatenate(parts: Sequence[Windows]) -> Windows:
    return Windows(
        *(
            np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Windows)
        )
    )


def remade(old: Windows, new: Windows, seen: Floats) -> Windows:
    """What is told of a day once more of its samples came.

    new: of the samples there are now; seen: how many they are by window, markers included. Where
    they are fewer than the old window counted, the old ones have expired: then the new are added
    to it. (A sample that it knew already counts twice.)
    """
    _, in_old, in_new = np.intersect1d(old.at, new.at, return_indices=True)
    gone = seen[in_new] < old.samples[in_old]
    added = _added(old.take(in_old[gone]), new.take(in_new[gone]))
    kept_old = np.delete(np.arange(len(old)), in_old)
    kept_new = np.delete(np.arange(len(new)), in_new[gone])
    joined = concatenate([old.take(kept_old), new.take(kept_new), added])
    return joined.take(np.argsort(joined.at))


def _added(old: Windows, new: Windows) -> Windows:
    some = new.samples > 0
    return Windows(
        old.at, old.ended, old.samples + new.samples,
        np.where(some, np.fmin(old.least, new.least), old.least),
        np.where(some, np.fmax(old.greatest, new.greatest), old.greatest),
        np.where(some, old.total + new.total, old.total),
        old.last, old.again, old.started, old.first,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Increases:
    """Of each window: by how much a counter rose, and the part from before a gap ahead of it."""

    rose: Floats
    crossing: Floats


def increases(windows: Windows, ends_ms: Times) -> Increases:
    """windows: those with samples, in the order of ends_ms (across days too)."""
    before = np.append(np.nan, windows.last[:-1])
    base = np.where(windows.started, windows.first, before)
    rose = windows.last - base + windows.again
    fell = windows.first < before
    crossed = np.where(fell, windows.first, windows.first - before)
    crossed = np.where(windows.started, crossed, 0.0)
    if len(crossed):
        crossed[0] = 0.0
    apart = np.append(True, np.diff(ends_ms) != WINDOW_MS)
    return Increases(rose + crossed, np.where(apart, crossed, 0.0))
