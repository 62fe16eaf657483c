"""Reads InfluxDB's answers in MessagePack: columns of numbers, without a Python object a point.

A row has the same bytes as the one before it, but for the digits of its numbers: so the first is
taken apart, and all after it that have its shape are read by numpy at once. This is the hot path of
every read, and benchmarks/influx_formats.py measures it beside JSON and CSV.
Format: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]
Floats = NDArray[np.float64]

_AT_ONCE = 1 << 20  # bytes of rows looked at together
_ROW = 512  # bytes; few rows have more
# Where so few rows had the same shape, so many after them are read the slow way.
_FEWEST, _SLOWLY = 16, 64
_MOST_NESTED = 16
_LONGEST_TEXT = 1 << 24
# By first byte: how many bytes follow, and how they are read.
_KINDS: Mapping[int, tuple[int, str]] = {
    0xCA: (4, ">f4"), 0xCB: (8, ">f8"),
    0xCC: (1, ">u1"), 0xCD: (2, ">u2"), 0xCE: (4, ">u4"), 0xCF: (8, ">u8"),
    0xD0: (1, ">i1"), 0xD1: (2, ">i2"), 0xD2: (4, ">i4"), 0xD3: (8, ">i8"),
}  # fmt: skip
_NUMBERS: Mapping[int, tuple[int, str]] = {
    first: (size, struct_kind)
    for (first, (size, _)), struct_kind in zip(
        _KINDS.items(), (">f", ">d", ">B", ">H", ">I", ">Q", ">b", ">h", ">i", ">q"), strict=True
    )
}
_CONSTANTS: Mapping[int, bool | None] = {0xC0: None, 0xC2: False, 0xC3: True}
# By first byte: how many bytes hold the length. Text and bytes; lists; mappings.
_TEXTS = {0xD9: 1, 0xDA: 2, 0xDB: 4, 0xC4: 1, 0xC5: 2, 0xC6: 4}
_LISTS, _MAPS = {0xDC: 2, 0xDD: 4}, {0xDE: 2, 0xDF: 4}


class MsgpackError(ValueError):
    """What came is no answer of the kind, or not all of it."""


class _CutError(MsgpackError):
    def __init__(self) -> None:
        super().__init__("the answer was cut off")


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of one series. times_ms: the first column; columns: the others by name, float64.

    NaN is nothing. What is no number is what texts made of it.
    """

    name: str
    tags: Mapping[str, str]
    times_ms: Times
    columns: Mapping[str, Floats]


class Source:
    """Bytes as they come in. MsgpackError where they end too early."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._held, self._at = b"", 0
        self.shape: _Shape | None = None  # of the last row: the next series' are mostly alike

    def take(self, count: int) -> bytes:
        at, end = self._at, self._at + count
        if end <= len(self._held):  # as nearly always
            self._at = end
            return self._held[at:end]
        found = self.peek(count)
        if len(found) < count:
            raise _CutError
        self._at += count
        return found

    def peek(self, count: int) -> bytes:
        """The next bytes, which stay; fewer only at the end."""
        missing = count - (len(self._held) - self._at)
        if missing > 0:
            # Pieces may be small, and adding each to the last would copy them over and over.
            parts = [self._held[self._at :]]
            while missing > 0 and (piece := next(self._pieces, b"")):
                parts.append(piece)
                missing -= len(piece)
            self._held, self._at = b"".join(parts), 0
        return self._held[self._at : self._at + count]

    @property
    def place(self) -> int:
        """How many bytes were taken, of a source of a single piece."""
        return self._at

    def skip(self, count: int) -> None:
        self._at += count


def read_answer(pieces: Iterable[bytes], texts: Callable[[str], float]) -> Iterator[Part | str]:
    """The series of all documents in the order they come; a str is an error of the server's.

    texts: the number that stands for a text in a row.
    """
    source = Source(pieces)
    if not source.peek(1):
        raise MsgpackError("it is empty")
    while source.peek(1):
        yield from _document(source, texts)


def _document(source: Source, texts: Callable[[str], float]) -> Iterator[Part | str]:
    for key in _keys(source):
        if key == "results":
            for _ in range(_length(source, "list")):
                yield from _result(source, texts)
        elif key == "error":
            yield str(_value(source))
        else:
            _value(source)


def _result(source: Source, texts: Callable[[str], float]) -> Iterator[Part | str]:
    for key in _keys(source):
        if key == "series":
            for _ in range(_length(source, "list")):
                yield _series(source, texts)
        elif key == "error":
            yield str(_value(source))
        else:
            _value(source)


def _series(source: Source, texts: Callable[[str], float]) -> Part:
    name, tags, columns = "", dict[str, str](), ["time"]
    times, cells = np.zeros(0, np.int64), np.zeros((0, 0))
    for key in _keys(source):
        if key == "values":
            times, cells = read_rows(source, _length(source, "list"), texts)
        elif key == "name":
            name = str(_value(source))
        elif key == "tags":
            tags = _tags(_value(source))
        elif key == "columns":
            columns = _columns(_value(source))
        else:
            _value(source)
    if not len(times):
        return Part(name, tags, times, {})
    if cells.shape[1] != len(columns) - 1:
        raise MsgpackError("a series' rows are not as long as its columns are many")
    found = {column: cells[:, place] for place, column in enumerate(columns[1:])}
    return Part(name, tags, times, found)


def _tags(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise MsgpackError("no mapping where tags should be")
    _check_texts(value.values())
    return value


def _columns(value: Any) -> list[str]:
    if not isinstance(value, list) or not value:
        raise MsgpackError("no list where the names of columns should be")
    _check_texts(value)
    return value


def _check_texts(found: Iterable[object]) -> None:
    if not all(isinstance(one, str) for one in found):
        raise MsgpackError("something else where a text should be")


def read_rows(source: Source, count: int, texts: Callable[[str], float]) -> tuple[Times, Floats]:
    """count rows: their first column, and (rows, columns - 1) of all others."""
    times: list[Times] = []
    cells: list[Floats] = []
    together = _FEWEST
    while count:
        if together < _FEWEST:
            found = _one_by_one(source, min(count, _SLOWLY), texts)
            together = _FEWEST
        else:
            shape = source.shape or _Shape.of(source, texts)
            together = min(count, max(1, _AT_ONCE // shape.size))
            found = shape.rows(source.peek(together * shape.size))
            source.shape = shape if found.taken else None
            if not found.taken:
                continue
            source.skip(found.taken * shape.size)
            together = _FEWEST if found.taken == together else found.taken
        count -= found.taken
        times.append(found.times)
        cells.append(found.cells)
    if not times:
        return np.zeros(0, np.int64), np.zeros((0, 0))
    if any(part.shape[1] != cells[0].shape[1] for part in cells):
        raise MsgpackError("rows of a series differ in length")
    return np.concatenate(times), np.concatenate(cells)


def _one_by_one(source: Source, count: int, texts: Callable[[str], float]) -> "_Rows":
    """The same for rows that have little in common."""
    times, rows = [], []
    for _ in range(count):
        row = _value(source)
        at, *others = row if isinstance(row, list) and row else [None]
        if type(at) is not int or not -(1 << 63) <= at < 1 << 63:
            raise MsgpackError("a row without a time")
        times.append(at)
        rows.append([one if type(one) is float else _number(one, texts) for one in others])
    if any(len(row) != len(rows[0]) for row in rows):
        raise MsgpackError("rows of a series differ in length")
    cells = np.array(rows, np.float64).reshape(count, len(rows[0]))
    return _Rows(count, np.array(times, np.int64), cells)


@dataclass(frozen=True, slots=True)
class _Rows:
    taken: int
    times: Times
    cells: Floats


@dataclass(slots=True)
class _Shape:
    """One row's bytes. fixed: which stay the same in all rows of the shape. cells: of each column
    where its digits are and how they are read, or what it always is.
    """

    head: bytes
    fixed: NDArray[np.bool_]
    small: list[int] = field(default_factory=list)  # places of numbers of one byte
    cells: list[tuple[int, str] | float] = field(default_factory=list)

    @property
    def size(self) -> int:
        return len(self.head)

    @classmethod
    def of(cls, source: Source, texts: Callable[[str], float]) -> "_Shape":
        """Of the row that comes next, which stays."""
        for most in (_ROW, _AT_ONCE):
            ahead = source.peek(most)
            try:
                return cls._of(ahead, texts)
            except _CutError:
                if len(ahead) < most:
                    raise
        raise MsgpackError("a row is too long")

    @classmethod
    def _of(cls, held: bytes, texts: Callable[[str], float]) -> "_Shape":
        ahead = Source([held])
        cells: list[tuple[int, str] | float] = []
        small: list[int] = []
        digits: list[slice] = []
        for _ in range(_length(ahead, "list")):
            at, first = ahead.place, (ahead.peek(1) or b"\xc1")[0]
            if first in _KINDS:
                size, kind = _KINDS[first]
                cells.append((at + 1, kind))
                digits.append(slice(at + 1, at + 1 + size))
                ahead.take(1 + size)
            elif first < 0x80 or first >= 0xE0:
                cells.append((at, ">i1"))
                small.append(at)
                digits.append(slice(at, at + 1))
                ahead.take(1)
            else:
                cells.append(_constant(_value(ahead), texts))
        if not cells or not isinstance(cells[0], tuple) or "f" in cells[0][1]:
            raise MsgpackError("a row without a time")
        fixed = np.ones(ahead.place, bool)
        for part in digits:
            fixed[part] = False
        return cls(held[: ahead.place], fixed, small, cells)

    def rows(self, held: bytes) -> _Rows:
        """Those at the start of what is held that have this shape: one at least."""
        count = len(held) // self.size
        rows = np.frombuffer(held, np.uint8, count * self.size).reshape(count, self.size)
        same = (rows[:, self.fixed] == np.frombuffer(self.head, np.uint8)[self.fixed]).all(axis=1)
        for at in self.small:
            same &= (rows[:, at] < 0x80) | (rows[:, at] >= 0xE0)
        taken = count if same.all() else int(same.argmin())
        rows = rows[:taken]
        times = self._numbers(rows, self.cells[0]).astype(np.int64)
        with np.errstate(invalid="ignore"):  # NaN is nothing, of whichever kind
            others = [self._numbers(rows, cell).astype(np.float64) for cell in self.cells[1:]]
        cells = np.stack(others, axis=1) if others else np.zeros((taken, 0))
        return _Rows(taken, times, cells)

    def _numbers(self, rows: NDArray[np.uint8], cell: tuple[int, str] | float) -> NDArray[Any]:
        if not isinstance(cell, tuple):
            return np.full(len(rows), cell)
        at, kind = cell
        size = np.dtype(kind).itemsize
        return np.ascontiguousarray(rows[:, at : at + size]).view(kind)[:, 0]


def _number(value: object, texts: Callable[[str], float]) -> float:
    return float(value) if isinstance(value, int) else _constant(value, texts)


def _constant(value: object, texts: Callable[[str], float]) -> float:
    if value is None:
        return np.nan
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        return texts(value)
    raise MsgpackError("a row holds something that is no number, text or yes or no")


def _keys(source: Source) -> Iterator[str]:
    """Of a mapping; whoever gets a key reads its value."""
    for _ in range(_length(source, "map")):
        yield str(_value(source))


def _length(source: Source, what: str) -> int:
    first = source.take(1)[0]
    fixed, sized = (0x80, _MAPS) if what == "map" else (0x90, _LISTS)
    if first & 0xF0 == fixed:
        return first & 0x0F
    if first in sized:
        return int.from_bytes(source.take(sized[first]), "big")
    raise MsgpackError(f"no {what} where one should be")


def _value(source: Source, nested: int = 0) -> Any:
    """Any value, as a Python object."""
    if nested > _MOST_NESTED:
        raise MsgpackError("nested too deeply")
    kind = source.take(1)[0]
    if kind & 0xE0 == 0xA0:
        return source.take(kind & 0x1F).decode("utf-8", "replace")
    if kind in _NUMBERS:
        size, how = _NUMBERS[kind]
        return struct.unpack(how, source.take(size))[0]
    source.skip(-1)
    if kind & 0xF0 == 0x80 or kind in _MAPS:
        count = _length(source, "map")
        return {str(_value(source, nested + 1)): _value(source, nested + 1) for _ in range(count)}
    if kind & 0xF0 == 0x90 or kind in _LISTS:
        return [_value(source, nested + 1) for _ in range(_length(source, "list"))]
    source.skip(1)
    if kind in _CONSTANTS:
        return _CONSTANTS[kind]
    if kind in _TEXTS:
        size = int.from_bytes(source.take(_TEXTS[kind]), "big")
        if size > _LONGEST_TEXT:
            raise MsgpackError("a text that is too long")
        return source.take(size).decode("utf-8", "replace")
    if kind < 0x80 or kind >= 0xE0:
        return struct.unpack("b", bytes([kind]))[0]
    raise MsgpackError(f"a value of kind 0x{kind:02x}, which is not known here")
