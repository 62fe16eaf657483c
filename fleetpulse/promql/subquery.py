"""Subqueries: an expression evaluated at steps of its own, then taken as a range vector."""

import numpy as np
from numpy.typing import NDArray

from fleetpulse.errors import QueryError
from fleetpulse.model import Labels, Series
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Frame
from fleetpulse.promql.selectors import RangeVector, evaluation_times, group
from fleetpulse.promql.syntax import Subquery

DEFAULT_STEP_MS = 60_000  # Prometheus' default evaluation interval


def inner_context(node: Subquery, ctx: EvalContext) -> EvalContext:
    """The inner steps: multiples of the subquery's step that lie in any of the outer windows.

    As in Prometheus they are absolute multiples, wherever the query itself begins.
    """
    step = node.step_ms or DEFAULT_STEP_MS
    ends = evaluation_times(ctx, node.at) - node.offset_ms
    first, last = int(ends.min()) - node.range_ms, int(ends.max())
    begin = (first // step + 1) * step
    count = max(0, (last - begin) // step + 1)
    # The steps themselves, which a subquery inside has more of.
    ctx.budget.take(count)
    steps = begin + step * np.arange(count, dtype=np.int64)
    return ctx.at_steps(steps, step)


def as_range(node: Subquery, frame: Frame, inner: EvalContext, ctx: EvalContext) -> RangeVector:
    """The inner frame as series, with the window of each outer step."""
    merged = merge_rows(frame)
    series = as_series(merged, inner)
    ends = evaluation_times(ctx, node.at) - node.offset_ms
    starts = ends - node.range_ms
    return RangeVector(merged.labels, merged.drop_name, group(series), starts, ends)


def as_series(frame: Frame, ctx: EvalContext) -> list[Series]:
    """One series a row, with a sample at each step where the row is present.

    Rows that are present at the same steps share one array of times.
    """
    full = np.all(frame.present, axis=1).tolist()
    known: dict[bytes, NDArray[np.int64]] = {}
    series = []
    for row, labels in enumerate(frame.labels):
        times, values = ctx.steps_ms, frame.values[row]
        if not full[row]:
            here = frame.present[row]
            key = here.tobytes()
            if key not in known:
                known[key] = ctx.steps_ms[here]
            times, values = known[key], values[here]
        series.append(Series(labels, times, values))
    return series


def merge_rows(frame: Frame) -> Frame:
    """Rows of the same labels, which are present at different steps, become one.

    QueryError("execution") where two are present at the same step.
    """
    places: dict[Labels, list[int]] = {}
    for row, labels in enumerate(frame.labels):
        places.setdefault(labels, []).append(row)
    if len(places) == frame.rows:
        return frame
    values, present = frame.values.copy(), frame.present.copy()
    for first, *others in places.values():
        for row in others:
            if (present[first] & frame.present[row]).any():
                raise QueryError(
                    "execution", "vector cannot contain metrics with the same labelset"
                )
            values[first] = np.where(frame.present[row], frame.values[row], values[first])
            present[first] |= frame.present[row]
    kept = np.array([rows[0] for rows in places.values()], dtype=np.intp)
    return Frame(list(places), values[kept], present[kept], frame.drop_name[kept])
