"""count_values: how many rows of a group have each value, with the value as a label."""

import numpy as np

from fleetpulse.errors import QueryError
from fleetpulse.model import METRIC_NAME, Labels
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Frame
from fleetpulse.promql.gofloat import format_f
from fleetpulse.promql.groups import Index, Numbering, ensure_room
from fleetpulse.promql.literals import is_utf8, shown
from fleetpulse.promql.syntax import Aggregate


def count_values(ctx: EvalContext, node: Aggregate, frame: Frame, label: str) -> Frame:
    """A row for each group and value; label is the one that takes the value's text."""
    if not label or not is_utf8(label):
        raise QueryError("execution", f'invalid label name "{shown(label)}"')
    numbering: Numbering[Labels] = Numbering()
    where: list[Index] = []
    for row, labels in enumerate(frame.labels):
        ctx.check_deadline()
        steps = np.flatnonzero(frame.present[row])
        # By their bits, so that -0 and 0 stay apart; NaNs of other bits have the same text.
        values, nth = np.unique(frame.values[row, steps].view(np.int64), return_inverse=True)
        texts = (format_f(value) for value in values.view(np.float64).tolist())
        ids = [numbering[_labels(node, labels, label, text)] for text in texts]
        ensure_room(ctx, len(numbering), frame.steps)
        where.append(np.array(ids, dtype=np.intp)[nth] * frame.steps + steps)
    cells = np.concatenate(where) if where else np.zeros(0, dtype=np.intp)
    counts = np.bincount(cells, minlength=len(numbering) * frame.steps)
    values = counts.reshape(len(numbering), frame.steps).astype(np.float64)
    return Frame(list(numbering), values, values > 0, np.zeros(len(values), dtype=bool))


def _labels(node: Aggregate, labels: Labels, label: str, text: str) -> Labels:
    marked = Labels.of({**dict(labels), label: text})
    if node.without:
        return marked.without(METRIC_NAME, *node.grouping)
    return marked.only(label, *node.grouping)
