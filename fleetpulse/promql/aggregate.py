"""Aggregations over a frame's rows, at each step (Prometheus' promql/engine.go)."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from fleetpulse.errors import QueryError
from fleetpulse.model import METRIC_NAME, Labels
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.countvalues import count_values
from fleetpulse.promql.frames import Floats, Frame, Mask, ScalarFrame, StringFrame, Value
from fleetpulse.promql.gofloat import format_g
from fleetpulse.promql.groups import Groups, drop_labels, keep_labels, number_keys
from fleetpulse.promql.ranking import PICKERS, quantiles
from fleetpulse.promql.summation import Counts, group_means, group_sums, group_variances
from fleetpulse.promql.syntax import Aggregate, unwrap

_AT_ONCE = 1 << 20  # rows × steps reduced by one call

Reduction = Callable[[Groups, Floats, Mask, Counts], Floats]


def aggregate(ctx: EvalContext, node: Aggregate, frame: Frame, param: Value | None) -> Frame:
    """node's aggregation of frame. param: k, the ratio, the quantile or the label's name."""
    with np.errstate(all="ignore"):
        if node.op in REDUCTIONS:
            return _reduce(ctx, node, frame, lambda _: REDUCTIONS[node.op])
        if node.op in PICKERS:
            groups, _ = group_rows(node, frame.labels)
            return PICKERS[node.op](_at_param(ctx, node), groups, frame, _number(node, param))
        if node.op == "quantile":
            wanted = _number(node, param)
            _warn_of_quantiles(_at_param(ctx, node), wanted)
            return _reduce(ctx, node, frame, lambda part: partial(quantiles, wanted[part]))
        if node.op == "count_values":
            return count_values(ctx, node, frame, _text(node, param))
    raise QueryError("bad_data", f"not supported: {node.op}")


def group_rows(node: Aggregate, rows: Sequence[Labels]) -> tuple[Groups, list[Labels]]:
    """The rows' groups and the labels of each group, in the order of their first rows."""
    if node.without:
        keys = drop_labels(rows, (METRIC_NAME, *node.grouping))
    else:
        keys = keep_labels(rows, node.grouping)
    ids, distinct = number_keys(keys)
    return Groups.of(ids, len(distinct)), [Labels(key) for key in distinct]


def _reduce(
    ctx: EvalContext, node: Aggregate, frame: Frame, reduction_at: Callable[[slice], Reduction]
) -> Frame:
    """One row for each group. Its name goes where any of its rows' is to be dropped.

    reduction_at: of some steps. They are gone through a part at a time: what a reduction makes on
    the way would else take several times the memory of the frame.
    """
    frame = frame.compact()
    groups, labels = group_rows(node, frame.labels)
    values = np.zeros((groups.count, frame.steps))
    present = np.zeros(values.shape, dtype=bool)
    at_once = max(1, _AT_ONCE // max(1, frame.rows))
    for begin in range(0, frame.steps, at_once):
        ctx.check_deadline()
        part = slice(begin, begin + at_once)
        cells, here = frame.values[:, part], frame.present[:, part]
        counts = groups.tally(here)
        present[:, part] = counts > 0
        divisors = np.maximum(counts, 1).astype(np.float64)
        values[:, part] = reduction_at(part)(groups, cells, here, divisors)
    drop_name = groups.any(frame.drop_name[:, None])[:, 0]
    return Frame(labels, values, present, drop_name)


def _max(groups: Groups, values: Floats, present: Mask, _: Counts) -> Floats:
    # fmax prefers anything to NaN, as Prometheus does; what is absent is made NaN.
    return groups.reduce(np.fmax, np.where(present, values, np.nan))


def _min(groups: Groups, values: Floats, present: Mask, _: Counts) -> Floats:
    return groups.reduce(np.fmin, np.where(present, values, np.nan))


REDUCTIONS: Mapping[str, Reduction] = {
    "sum": lambda groups, values, present, _: group_sums(groups, values, present),
    "avg": group_means,
    "min": _min,
    "max": _max,
    "count": lambda _groups, _values, _present, counts: counts,
    "group": lambda _groups, _values, _present, counts: np.ones_like(counts),
    "stdvar": group_variances,
    "stddev": lambda *group: np.sqrt(group_variances(*group)),
}


def _at_param(ctx: EvalContext, node: Aggregate) -> EvalContext:
    return ctx if node.param is None else ctx.at_node(unwrap(node.param).pos)


def _warn_of_quantiles(ctx: EvalContext, wanted: Floats) -> None:
    highest, lowest = (np.max(wanted), np.min(wanted)) if len(wanted) else (0.0, 0.0)
    # A NaN among them is both the highest and the lowest, and passes no comparison.
    faults = [np.nan] if np.isnan(highest) else []
    faults += [highest] if highest > 1 else []
    faults += [lowest] if lowest < 0 else []
    for fault in faults:
        ctx.warn(f"quantile value should be between 0 and 1, got {format_g(float(fault))}")


def _number(node: Aggregate, param: Value | None) -> Floats:
    if not isinstance(param, ScalarFrame):
        raise QueryError("bad_data", f"{node.op}: the first argument has to be a scalar")
    return param.values


def _text(node: Aggregate, param: Value | None) -> str:
    if not isinstance(param, StringFrame):
        raise QueryError("bad_data", f"{node.op}: the first argument has to be a string")
    return param.text
