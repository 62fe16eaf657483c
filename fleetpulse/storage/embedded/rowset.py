"""Rows of pages in memory, by columns; and how such columns become runs of series."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetpulse.storage.embedded.codec import Floats, Times
from fleetpulse.storage.embedded.labeltable import Ids
from fleetpulse.storage.embedded.runs import Run, RunsOf

Places = NDArray[np.intp]

_LEAST = 64


class Growing:
    """An array that others are appended to, in the mean at the cost of copying them once."""

    def __init__(self, dtype: type) -> None:
        self._buffer: NDArray[Any] = np.empty(_LEAST, dtype)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        return self._buffer.nbytes

    def extend(self, more: NDArray[Any]) -> None:
        count = self._count + len(more)
        if count > len(self._buffer):
            # Never in place: somebody may hold what first() gave.
            larger = np.empty(count + count // 4, self._buffer.dtype)
            larger[: self._count] = self._buffer[: self._count]
            self._buffer = larger
        self._buffer[self._count : count] = more
        self._count = count

    def first(self, count: int) -> NDArray[Any]:
        """Stays as it is whatever is appended later."""
        return self._buffer[:count]

    def keep(self, wanted: NDArray[np.bool_]) -> None:
        """wanted: of all, or of the first ones as many as this has."""
        kept = self._buffer[: self._count][wanted[: self._count]]
        self._buffer, self._count = kept, len(kept)


@dataclass(slots=True)
class RowSet:
    """The plain pages of one layout in the order of their ids; of its columns those asked for.

    A column may end before the rows do: what came since it was asked for is not in it yet.
    """

    ids: Growing = field(default_factory=lambda: Growing(np.int64))
    targets: Growing = field(default_factory=lambda: Growing(np.int64))
    at: Growing = field(default_factory=lambda: Growing(np.int64))
    columns: dict[int, Growing] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        heads = self.ids.nbytes + self.targets.nbytes + self.at.nbytes
        return heads + sum(column.nbytes for column in self.columns.values())

    def extend(self, ids: Ids, targets: Ids, at: Times) -> None:
        self.ids.extend(ids)
        self.targets.extend(targets)
        self.at.extend(at)

    def until(self, last_id: int) -> int:
        """How many rows there were when last_id was the last."""
        return int(self.ids.first(len(self.ids)).searchsorted(last_id, side="right"))

    def since(self, at_ms: int) -> None:
        """Forgets what is older."""
        wanted = self.at.first(len(self.at)) >= at_ms
        for part in (self.ids, self.targets, self.at, *self.columns.values()):
            part.keep(wanted)

    def filled(self, column: int) -> int:
        known = self.columns.get(column)
        return 0 if known is None else len(known)

    def fill(self, column: int, more: Floats) -> None:
        self.columns.setdefault(column, Growing(np.float64)).extend(more)


def arranged(targets: Ids, at: Times, written: Ids) -> Places:
    """The places in the order of target and time; of those equal in both the last written alone."""
    order = _in_order(targets, at, written)
    if order is None:
        order = np.lexsort((written, at, targets))
    target_of, times = targets[order], at[order]
    last = np.append((times[1:] != times[:-1]) | (target_of[1:] != target_of[:-1]), True)
    return order if last.all() else order[last]


def _in_order(targets: Ids, at: Times, written: Ids) -> Places | None:
    """The cheap way, where each target's rows were written one after the other; or None."""
    if not (written[1:] > written[:-1]).all():
        return None
    # Numbers of 16 bits are sorted by radix, ten times as fast.
    small = targets.astype(np.uint16) if int(targets.max()) < 1 << 16 else targets
    order = np.argsort(small, kind="stable")
    target_of, times = targets[order], at[order]
    back = (times[1:] < times[:-1]) & (target_of[1:] == target_of[:-1])
    return None if back.any() else order


def add_runs(
    runs: RunsOf, lines: Ids, targets: Ids, at: Times, written: Ids, values: NDArray[np.float64]
) -> None:
    """values: (lines, rows); the rows as arranged() has them."""
    found, starts = np.unique(targets, return_index=True)
    bounds = [*starts.tolist(), len(targets)]
    named = lines.tolist()
    for target, begin, end in zip(found.tolist(), bounds, bounds[1:], strict=False):
        shared, ids_of = at[begin:end], written[begin:end]
        for line, series in zip(named, values, strict=True):
            run = Run(shared, series[begin:end], ids_of)
            runs.setdefault((target, line), []).append(run)
