"""fill(), fill_left() and fill_right(): a value for the side of an operator that has no series."""

import numpy as np

from fleetpulse.model import Labels
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Frame, Mask
from fleetpulse.promql.groups import Groups, Index, ensure_room, stack
from fleetpulse.promql.matching import Signatures, signatures
from fleetpulse.promql.tree import Matching


def filled(ctx: EvalContext, matching: Matching, left: Frame, right: Frame) -> tuple[Frame, Frame]:
    """Both sides, with a row for each match group that only the other side has, where it does.

    Such a row has the labels that the match goes by, and no others.
    """
    ids = Signatures.of(matching, left, right)
    on_left = Groups.of(ids.left, ids.count).any(left.present)
    on_right = Groups.of(ids.right, ids.count).any(right.present)
    ensure_room(ctx, ids.count, left.steps)
    labels = _labels(matching, ids, left, right)
    for_left, for_right = matching.fill_left, matching.fill_right
    if matching.card == "one-to-many":
        # Prometheus swaps the sides under group_right, and not the values for them.
        for_left, for_right = for_right, for_left
    more_left = _row_each(labels, for_left, on_right & ~on_left)
    more_right = _row_each(labels, for_right, on_left & ~on_right)
    return stack(left, more_left), stack(right, more_right)


def _labels(matching: Matching, ids: Signatures, left: Frame, right: Frame) -> list[Labels]:
    """The labels of each match group."""
    found = [Labels()] * ids.count
    sides: tuple[tuple[Index, Frame], ...] = (ids.left, left), (ids.right, right)
    for numbers, frame in sides:
        keys = signatures(matching, frame.labels)
        for number, key in zip(numbers.tolist(), keys, strict=True):
            found[number] = Labels(key)
    return found


def _row_each(labels: list[Labels], value: float | None, present: Mask) -> Frame:
    if value is None:
        return Frame.empty(present.shape[1])
    values = np.full(present.shape, value)
    return Frame(labels, values, present, np.zeros(len(labels), dtype=bool)).compact()
