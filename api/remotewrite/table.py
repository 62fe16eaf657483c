"""The series that remote writers send, numbered, so that a request's samples are numbers in arrays.

A series is known by the bytes that its labels came as. It is a line of a target, and the lines of
a target stand on sheets: layouts of at most 1,024 lines that stay the same from request to
request, however the sender cuts its samples into requests. Targets of the same shape share them.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from fleetpulse.model import METRIC_NAME, Labels, Layout

_SHEET_LINES = 1024
_FIRST_ROOM = 1024
# Seconds without a sample after which a series is forgotten, and how often that is looked for.
_FORGOTTEN_AFTER, _SWEEP_EVERY = 900.0, 300.0

Ids = NDArray[np.int64]


class SeriesRefusedError(ValueError):
    """Labels that no series may have; reason is the label of the metric that counts them."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LabelLimits:
    """0: no limit."""

    count: int = 0
    name_length: int = 0
    value_length: int = 0


@dataclass(slots=True)
class Sheet:
    """Some lines of one target: ids of the series by column, the layout made of them."""

    number: int
    target: Labels
    ids: list[int] = field(default_factory=list)
    layout: Layout = field(default_factory=lambda: Layout(()))


@dataclass(slots=True, eq=False)
class _Target:
    labels: Labels
    ids: dict[Labels, int] = field(default_factory=dict)
    sheets: list[Sheet] = field(default_factory=list)
    unplaced: list[int] = field(default_factory=list)


class SeriesTable:
    """To be used by one thread at a time.

    keys, keys2: ids by the bytes that the two versions send labels as, for their hot paths. All
    else that is about a series stands at its id in arrays.
    """

    def __init__(
        self, target_labels: Sequence[str], max_series: int, limits: LabelLimits = LabelLimits()
    ) -> None:
        self.keys: dict[bytes, int] = {}
        self.keys2: dict[bytes, int] = {}
        self._target_labels, self._most, self._limits = frozenset(target_labels), max_series, limits
        self._targets: dict[Labels, _Target] = {}
        self._line: list[Labels] = []
        self._target: list[_Target | None] = []
        self._lines: dict[Labels, Labels] = {}
        self._layouts: WeakValueDictionary[bytes, Layout] = WeakValueDictionary()
        self._sheets: dict[int, Sheet] = {}
        self._next_sheet = 0
        self._free: list[int] = []
        self._sheet_of = np.zeros(_FIRST_ROOM, np.int64)
        self._column_of = np.zeros(_FIRST_ROOM, np.int64)
        self._seen = np.zeros(_FIRST_ROOM)
        self._growing: list[_Target] = []
        self._swept = 0.0

    def __len__(self) -> int:
        """How many series there are."""
        return len(self._line) - len(self._free)

    def learn(self, pairs: Sequence[tuple[str, str]], now: float) -> int:
        """The id of a series, new or known by other bytes. SeriesRefusedError."""
        labels = _checked(pairs, self._limits)
        names = self._target_labels
        of_target = Labels(pair for pair in labels if pair[0] in names)
        line = Labels(pair for pair in labels if pair[0] not in names)
        target = self._targets.get(of_target)
        series = None if target is None else target.ids.get(line)
        if series is None:
            series = self._add(of_target, line)
        self._seen[series] = now
        return series

    def _add(self, of_target: Labels, line: Labels) -> int:
        if len(self) >= self._most:
            raise SeriesRefusedError(
                "max_series", f"{line}: api.remote_write.max_series ({self._most}) is reached"
            )
        target = self._targets.get(of_target)
        if target is None:
            target = self._targets[of_target] = _Target(of_target)
        line = self._lines.setdefault(line, line)
        if self._free:
            series = self._free.pop()
            self._line[series], self._target[series] = line, target
        else:
            series = len(self._line)
            self._line.append(line)
            self._target.append(target)
            self._make_room(series)
        target.ids[line] = series
        if not target.unplaced:
            self._growing.append(target)
        target.unplaced.append(series)
        return series

    def _make_room(self, series: int) -> None:
        if series >= len(self._seen):
            self._sheet_of = np.concatenate([self._sheet_of, np.zeros_like(self._sheet_of)])
            self._column_of = np.concatenate([self._column_of, np.zeros_like(self._column_of)])
            self._seen = np.concatenate([self._seen, np.zeros_like(self._seen)])

    def place(self, series: Ids, now: float) -> tuple[Ids, Ids]:
        """Sheet numbers and columns of some series, which had samples now."""
        self._grow()
        self._seen[series] = now
        return self._sheet_of[series], self._column_of[series]

    def _grow(self) -> None:
        for target in self._growing:
            self._extend(target)
        self._growing.clear()

    def sheet(self, number: int) -> Sheet:
        return self._sheets[number]

    def name(self, series: int) -> str:
        """The metric name."""
        return self._line[series].name

    def labels(self, series: int) -> Labels:
        target = self._target[series]
        assert target is not None
        return target.labels.merged(self._line[series])

    def values(self, name: str, series: Ids) -> set[str]:
        """Values of a label that some series have; empty where one has none."""
        numbers = np.unique(series).tolist()
        if name not in self._target_labels:
            return {self._line[one].get(name) for one in numbers}
        targets = set(map(self._target.__getitem__, numbers))
        return {target.labels.get(name) for target in targets if target is not None}

    def _extend(self, target: _Target) -> None:
        """Puts the target's new lines on its last sheet, while there is room, and on new ones."""
        new, target.unplaced = target.unplaced, []
        while new:
            last = target.sheets[-1] if target.sheets else None
            if last is None or len(last.ids) >= _SHEET_LINES:
                last = Sheet(self._next_sheet, target.labels)
                self._next_sheet += 1
                target.sheets.append(last)
                self._sheets[last.number] = last
            room = _SHEET_LINES - len(last.ids)
            self._write(last, [*last.ids, *new[:room]])
            new = new[room:]

    def _write(self, sheet: Sheet, ids: Sequence[int]) -> None:
        # In the order of the labels: then two targets of one shape have one layout, whoever came
        # first of their series.
        sheet.ids = sorted(ids, key=self._line.__getitem__)
        layout = Layout(tuple(map(self._line.__getitem__, sheet.ids)))
        sheet.layout = self._layouts.setdefault(layout.digest, layout)
        self._sheet_of[sheet.ids] = sheet.number
        self._column_of[sheet.ids] = np.arange(len(sheet.ids))

    def sweep(self, now: float) -> None:
        """Forgets series without a sample for 15 minutes; looks for them every five."""
        if now - self._swept < _SWEEP_EVERY:
            return
        self._swept = now
        self._grow()
        known = len(self._line)
        gone = self._seen[:known] < now - _FORGOTTEN_AFTER
        gone[self._free] = False
        if not gone.any():
            return
        self.keys = {key: series for key, series in self.keys.items() if not gone[series]}
        self.keys2 = {key: series for key, series in self.keys2.items() if not gone[series]}
        for number in set(self._sheet_of[:known][gone].tolist()):
            self._shorten(self._sheets[number], gone)
        self._give_up(np.flatnonzero(gone).tolist())

    def _shorten(self, sheet: Sheet, gone: NDArray[np.bool_]) -> None:
        target = self._targets[sheet.target]
        for series in sheet.ids:
            if gone[series]:
                del target.ids[self._line[series]]
        left = [series for series in sheet.ids if not gone[series]]
        if left:
            self._write(sheet, left)
            return
        target.sheets.remove(sheet)
        del self._sheets[sheet.number]
        if not target.sheets:
            del self._targets[sheet.target]

    def _give_up(self, ids: Sequence[int]) -> None:
        for series in ids:
            self._target[series], self._line[series] = None, Labels()
        self._free.extend(ids)
        self._lines = {line: line for line in self._line if line}


def _checked(pairs: Sequence[tuple[str, str]], limits: LabelLimits) -> Labels:
    """The labels of a series: sorted, without empty values. SeriesRefusedError."""
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise _bad(pairs, f"label {_short(twice)} comes twice")
    if "" in names:
        raise _bad(pairs, "a label has no name")
    labels = Labels.from_pairs(pairs)
    if not labels.get(METRIC_NAME):
        raise _bad(pairs, "no __name__")
    if limits.count and len(labels) > limits.count:
        raise _over(labels, f"{len(labels)} labels, label_limit is {limits.count}")
    for name, value in labels:
        if limits.name_length and len(name.encode()) > limits.name_length:
            raise _over(labels, f"label {_short(name)}: over label_name_length_limit")
        if limits.value_length and len(value.encode()) > limits.value_length:
            raise _over(labels, f"the value of label {_short(name)}: over label_value_length_limit")
    return labels


def _bad(pairs: Sequence[tuple[str, str]], message: str) -> SeriesRefusedError:
    return SeriesRefusedError("labels", f"{_short(str(Labels(sorted(pairs))))}: {message}")


def _over(labels: Labels, message: str) -> SeriesRefusedError:
    return SeriesRefusedError("label_limit", f"{_short(str(labels))}: {message}")


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:199] + "…"


def floats(values: "NDArray[np.float64]") -> "array[float]":
    """As pages have them; bits of a NaN kept."""
    found = array("d")
    found.frombytes(values.tobytes())
    return found


def integers(values: Ids, code: Literal["i", "q"]) -> "array[int]":
    found = array(code)
    found.frombytes(values.astype(code).tobytes())
    return found
