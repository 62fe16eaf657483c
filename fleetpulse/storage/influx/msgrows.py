"""Rows in MessagePack, read by numpy.

A row has the same bytes as the one before it, but for the digits of its numbers: so the first is
taken apart, and all after it that have its shape are read at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetpulse.storage.influx.answer import AnswerError, CutError, Floats, Source, Texts, Times
from fleetpulse.storage.influx.msgvalues import NUMBERS, length_of_list, value

_AT_ONCE = 1 << 20  # bytes of rows looked at together
_ROW = 512  # bytes; few rows have more
# Where so few rows had the same shape, so many after them are read the slow way.
_FEWEST, _SLOWLY = 16, 64

# Times, and each of the other columns.
Rows = tuple[Times, list[Floats]]


class RowReader:
    """Reads the rows of one series after the other. Remembers the shape of the last."""

    def __init__(self, source: Source, texts: Texts) -> None:
        self._source, self._texts = source, texts
        self._shape: _Shape | None = None

    def read(self, count: int) -> Rows:
        """The next so many rows."""
        parts: list[Rows] = []
        while count:
            found = self._next(count)
            count -= len(found[0])
            parts.append(found)
            if count and len(found[0]) < _FEWEST:
                slow = _one_by_one(self._source, min(count, _SLOWLY), self._texts)
                count -= len(slow[0])
                parts.append(slow)
        return _together(parts)

    def _next(self, count: int) -> Rows:
        """Those that have one shape, one at least."""
        found = None if self._shape is None else self._shape.rows(self._source, count)
        if found is None:
            self._shape = _Shape.of(self._source, self._texts)
            found = self._shape.rows(self._source, count)
            assert found is not None
        return found


def _together(parts: Sequence[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return np.zeros(0, np.int64), []
    if any(len(cells) != len(parts[0][1]) for _, cells in parts):
        raise AnswerError("rows of a series differ in length")
    columns = zip(*(cells for _, cells in parts), strict=True)
    return np.concatenate([times for times, _ in parts]), [np.concatenate(one) for one in columns]


def _one_by_one(source: Source, count: int, texts: Texts) -> Rows:
    """The same for rows that have little in common."""
    times, rows = [], []
    for _ in range(count):
        row = value(source)
        at, *others = row if isinstance(row, list) and row else [None]
        if type(at) is not int or not -(1 << 63) <= at < 1 << 63:
            raise AnswerError("a row without a time")
        times.append(at)
        rows.append([one if type(one) is float else _cell(one, texts) for one in others])
    if any(len(row) != len(rows[0]) for row in rows):
        raise AnswerError("rows of a series differ in length")
    cells = np.array(rows, np.float64).reshape(count, len(rows[0]))
    return np.array(times, np.int64), list(np.ascontiguousarray(cells.T))


@dataclass(slots=True)
class _Shape:
    """One row's bytes. fixed: places of those that are the same in all rows of the shape; small: of
    numbers of one byte. cells: of each column where its digits are and how they are read, or what
    it always is.
    """

    size: int
    fixed: Sequence[int]
    head: NDArray[np.uint8]
    small: Sequence[int]
    cells: Sequence[tuple[int, str] | float]

    @classmethod
    def of(cls, source: Source, texts: Texts) -> "_Shape":
        """Of the row that comes next, which stays."""
        for most in (_ROW, _AT_ONCE):
            whole = source.hold(most)
            try:
                return cls._of(source.held[source.at : source.at + most], texts)
            except CutError:
                if not whole:
                    raise
        raise AnswerError("a row is too long")

    @classmethod
    def _of(cls, held: bytes, texts: Texts) -> "_Shape":
        ahead = Source([])
        ahead.held = held
        cells: list[tuple[int, str] | float] = []
        small: list[int] = []
        columns = length_of_list(ahead)
        fixed = list(range(ahead.at))
        for _ in range(columns):
            at, kind = ahead.at, ahead.look()
            if kind in NUMBERS:
                how = NUMBERS[kind]
                fixed.append(at)
                cells.append((at + 1, how))
                ahead.take(1 + int(how[2]))
            elif kind < 0x80 or kind >= 0xE0:
                small.append(at)
                cells.append((at, ">i1"))
                ahead.take(1)
            else:
                cells.append(_cell(value(ahead), texts))
                fixed += range(at, ahead.at)
        if not cells or not isinstance(cells[0], tuple) or "f" in cells[0][1]:
            raise AnswerError("a row without a time")
        head = np.frombuffer(held, np.uint8, ahead.at)[fixed]
        return cls(ahead.at, fixed, head, small, cells)

    def rows(self, source: Source, most: int) -> Rows | None:
        """Those that come next and have this shape; None where not even the first has."""
        most = min(most, max(1, _AT_ONCE // self.size))
        if not source.hold(most * self.size):
            most = (len(source.held) - source.at) // self.size
        rows = np.frombuffer(source.held, np.uint8, most * self.size, source.at)
        rows = rows.reshape(most, self.size)
        same = (rows[:, self.fixed] == self.head).all(axis=1)
        for at in self.small:
            same &= (rows[:, at] < 0x80) | (rows[:, at] >= 0xE0)
        if not same.all():
            rows = rows[: int(same.argmin())]
        if not len(rows):
            return None
        source.at += rows.size
        times = _numbers(rows, self.cells[0]).astype(np.int64)
        with np.errstate(invalid="ignore"):  # NaN is nothing, of whichever kind
            return times, [_numbers(rows, cell).astype(np.float64) for cell in self.cells[1:]]


def _numbers(rows: NDArray[np.uint8], cell: tuple[int, str] | float) -> NDArray[Any]:
    if not isinstance(cell, tuple):
        return np.full(len(rows), cell)
    at, how = cell
    return np.ascontiguousarray(rows[:, at : at + int(how[2])]).view(how)[:, 0]


def _cell(found: object, texts: Texts) -> float:
    if found is None:
        return np.nan
    if isinstance(found, str):
        return texts(found)
    if isinstance(found, (bool, int, float)):
        return float(found)
    raise AnswerError("a row holds something that is no number, text or yes or no")
