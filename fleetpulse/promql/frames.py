"""The value that every step of an evaluation takes and gives: series × steps, with a mask."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleetpulse.model import METRIC_NAME, Labels

# What goes when a metric's name does: its type and unit too, where they are labels.
METADATA = (METRIC_NAME, "__type__", "__unit__")
_LAST = max(METADATA)

# A row weighs as much as so many samples on top of its own: labels, and objects around arrays.
ROW = 16

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Frame:
    """An instant vector at each of the query's steps.

    labels: one per row, distinct among rows that are present at the same step.
    values: float64 (rows, steps); what it holds where present is False means nothing.
    present: bool (rows, steps).
    drop_name: bool (rows,): the row's metric name is to be dropped: by the evaluator, right after
    the operation, or with delayed removal at the very end (promql-delayed-name-removal).
    Nothing in a Frame is ever written to after it is built: arrays may be shared.
    """

    labels: Sequence[Labels]
    values: Floats
    present: Mask
    drop_name: Mask

    @classmethod
    def empty(cls, steps: int) -> "Frame":
        nothing = np.zeros((0, steps))
        return cls((), nothing, nothing.astype(bool), np.zeros(0, dtype=bool))

    @property
    def rows(self) -> int:
        return len(self.values)

    @property
    def steps(self) -> int:
        return int(self.values.shape[1])

    @property
    def weight(self) -> int:
        """What it counts as against a query's limit of samples."""
        return self.rows * (self.steps + ROW)

    def take(self, rows: NDArray[np.intp] | Mask) -> "Frame":
        """The frame of some rows, given by index or by mask."""
        index = np.flatnonzero(rows) if rows.dtype == bool else rows
        return Frame(
            [self.labels[i] for i in index],
            self.values[index],
            self.present[index],
            self.drop_name[index],
        )

    def with_values(self, values: Floats, *, drop_name: bool) -> "Frame":
        """The same rows with other values; drop_name marks all their names as to be dropped."""
        dropped = np.ones(self.rows, dtype=bool) if drop_name else self.drop_name
        return Frame(self.labels, values, self.present, dropped)

    def compact(self) -> "Frame":
        """Without the rows that are present at no step."""
        alive: Mask = np.any(self.present, axis=1)
        return self if alive.all() else self.take(alive)

    def shown_labels(self, row: int) -> Labels:
        """The labels as an answer shows them, the name dropped where it is to be."""
        labels = self.labels[row]
        return nameless(labels) if self.drop_name[row] else labels

    def without_names(self) -> "Frame":
        """The frame with the names dropped that were marked for it; rows may be alike then."""
        marked = zip(self.labels, self.drop_name.tolist(), strict=True)
        labels = [nameless(labels) if dropped else labels for labels, dropped in marked]
        return Frame(labels, self.values, self.present, np.zeros(self.rows, dtype=bool))


def nameless(labels: Labels) -> Labels:
    """Without name, type and unit; quick where the name comes first, or where there is none."""
    if not labels or labels[0][0] > _LAST:
        return labels
    if labels[0][0] == METRIC_NAME and (len(labels) == 1 or labels[1][0] > _LAST):
        return Labels(labels[1:])
    return labels.without(*METADATA)


@dataclass(frozen=True, slots=True)
class ScalarFrame:
    """A scalar at each step: float64 (steps,)."""

    values: Floats

    @property
    def weight(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class StringFrame:
    text: str

    @property
    def weight(self) -> int:
        return 0


Value = Frame | ScalarFrame | StringFrame
