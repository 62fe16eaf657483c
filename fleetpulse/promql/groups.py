"""Rows of a frame put into groups by their labels, and arrays reduced group by group."""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fleetpulse.errors import QueryError
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import ROW, Floats, Frame, Mask

Index = NDArray[np.intp]
Pairs = tuple[tuple[str, str], ...]
Key = TypeVar("Key", bound=Hashable)

SAME_LABELSET = "vector cannot contain metrics with the same labelset"


class Numbering(dict[Key, int]):
    """Gives each new key the next number, from 0: `numbering[key]`."""

    def __missing__(self, key: Key) -> int:
        self[key] = number = len(self)
        return number


def number_keys(keys: Iterable[Key]) -> tuple[Index, list[Key]]:
    """The number of each key, in the order in which they first appear, and the distinct keys."""
    numbering: Numbering[Key] = Numbering()
    ids = np.fromiter((numbering[key] for key in keys), dtype=np.intp)
    return ids, list(numbering)


def keep_labels(rows: Iterable[Pairs], names: Iterable[str]) -> list[Pairs]:
    """Of each row's labels those with the names: plain tuples, which are quick to make."""
    wanted = frozenset(names)
    if len(wanted) == 1:
        return _keep_label(rows, *wanted)
    return [tuple([pair for pair in row if pair[0] in wanted]) for row in rows]


def _keep_label(rows: Iterable[Pairs], name: str) -> list[Pairs]:
    """One label: looked for where the row before had it, as those of one metric all have."""
    kept: list[Pairs] = []
    place = 0
    for row in rows:
        if place >= len(row) or row[place][0] != name:
            place = next((at for at, pair in enumerate(row) if pair[0] == name), len(row))
        kept.append((row[place],) if place < len(row) else ())
    return kept


def drop_labels(rows: Iterable[Pairs], names: Iterable[str]) -> list[Pairs]:
    """Of each row's labels those without the names."""
    unwanted = frozenset(names)
    return [tuple([pair for pair in row if pair[0] not in unwanted]) for row in rows]


@dataclass(frozen=True, slots=True)
class Groups:
    """Which rows make up each group.

    ids: intp (rows,), each row's group. order: the rows, group by group, each in its order.
    filled: the groups that have rows, rising. starts: where in order each of these begins.
    """

    ids: Index
    count: int
    order: Index
    filled: Index
    starts: Index

    @classmethod
    def of(cls, ids: Index, count: int) -> "Groups":
        order = np.argsort(ids, kind="stable")
        sizes = np.bincount(ids, minlength=count)
        filled = np.flatnonzero(sizes)
        starts = (np.cumsum(sizes) - sizes)[filled]
        return cls(ids, count, order, filled, starts)

    @property
    def sizes(self) -> Index:
        """Rows per group."""
        return np.bincount(self.ids, minlength=self.count)

    def members(self) -> list[Index]:
        """The rows of each filled group."""
        return np.split(self.order, self.starts[1:]) if len(self.filled) else []

    def by_size(self) -> Iterator[tuple[Index, Index]]:
        """Groups with as many rows as each other: (groups,), and their rows (groups, size)."""
        sizes = np.diff(np.append(self.starts, len(self.order)))
        for size in np.unique(sizes).tolist():
            alike = np.flatnonzero(sizes == size)
            yield self.filled[alike], self.order[self.starts[alike, None] + np.arange(size)]

    def any(self, cells: Mask) -> Mask:
        """(groups, steps): whether any row of the group is set."""
        out = np.zeros((self.count, cells.shape[1]), dtype=bool)
        if len(self.filled):
            out[self.filled] = np.logical_or.reduceat(cells[self.order], self.starts, axis=0)
        return out

    def tally(self, cells: Mask) -> NDArray[np.int64]:
        """(groups, steps): how many rows of the group are set."""
        out = np.zeros((self.count, cells.shape[1]), dtype=np.int64)
        if cells.all():
            out += self.sizes[:, None]
        elif len(self.filled):
            ordered = cells[self.order]
            out[self.filled] = np.add.reduceat(ordered, self.starts, axis=0, dtype=np.int64)
        return out

    def reduce(self, ufunc: np.ufunc, cells: Floats) -> Floats:
        """(groups, steps): ufunc over each group's rows; NaN where a group has none."""
        out = np.full((self.count, cells.shape[1]), np.nan)
        if len(self.filled):
            out[self.filled] = ufunc.reduceat(cells[self.order], self.starts, axis=0)
        return out

    def only_present(self, values: Floats, present: Mask) -> Floats:
        """(groups, steps): the value of the one row present; of the last where there are more."""
        out = np.zeros((self.count, values.shape[1]))
        if len(self.filled):
            row = np.where(present, np.arange(len(values))[:, None], 0)[self.order]
            last = np.maximum.reduceat(row, self.starts, axis=0)
            out[self.filled] = np.take_along_axis(values, last, axis=0)
        return out


def ensure_room(ctx: EvalContext, rows: int, steps: int) -> None:
    """QueryError where a frame of that size would pass the query's limit of samples.

    For results that may have more rows than what they are made of.
    """
    weight = rows * (steps + ROW)
    if weight > ctx.budget.left():
        ctx.budget.take(weight)


def unite(frame: Frame) -> Frame:
    """Makes one row of rows that bear the same labels at different steps.

    QueryError where two of them are present at the same step.
    """
    if len(set(frame.labels)) == frame.rows:
        return frame
    ids, distinct = number_keys(frame.labels)
    groups = Groups.of(ids, len(distinct))
    if (groups.tally(frame.present) > 1).any():
        raise QueryError("execution", SAME_LABELSET)
    # A name that is to be dropped in one row and kept in another makes two series in the end.
    ids, keys = number_keys(zip(frame.labels, frame.drop_name.tolist(), strict=True))
    groups = Groups.of(ids, len(keys))
    return Frame(
        [labels for labels, _ in keys],
        groups.only_present(frame.values, frame.present),
        groups.any(frame.present),
        np.fromiter((drop for _, drop in keys), dtype=bool, count=len(keys)),
    )


def check_distinct(frame: Frame) -> None:
    """QueryError where two rows bear the same labels, be it at different steps."""
    if len(set(frame.labels)) < frame.rows:
        raise QueryError("execution", SAME_LABELSET)


def stack(first: Frame, second: Frame) -> Frame:
    """The rows of both."""
    return Frame(
        [*first.labels, *second.labels],
        np.concatenate([first.values, second.values]),
        np.concatenate([first.present, second.present]),
        np.concatenate([first.drop_name, second.drop_name]),
    )


def labels_text(labels: Sequence[tuple[str, str]]) -> str:
    """Labels as Prometheus' errors show them: the name is a label like any other."""
    return "{" + ", ".join(f"{name}={_quoted(value)}" for name, value in labels) + "}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r") + '"'
