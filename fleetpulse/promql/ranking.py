"""Aggregations that look at the order of a group's values: topk, limitk, quantile and the like."""

from collections.abc import Callable, Mapping

import numpy as np

from fleetpulse.errors import QueryError
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.frames import Floats, Frame, Mask
from fleetpulse.promql.gofloat import format_g
from fleetpulse.promql.groups import Groups, Index
from fleetpulse.promql.labelhash import labels_hash
from fleetpulse.promql.summation import Counts

Picker = Callable[[EvalContext, Groups, Frame, Floats], Frame]

_AT_ONCE = 1 << 20  # rows × steps ordered by one call
# What Prometheus compares k with: the limits of int64 that a float64 can hold.
_MIN_K, _MAX_K = -9223372036854775808.0, 9223372036854774784.0


def _topk(ctx: EvalContext, groups: Groups, frame: Frame, k: Floats) -> Frame:
    return _best(ctx, groups, frame, k, np.negative)


def _bottomk(ctx: EvalContext, groups: Groups, frame: Frame, k: Floats) -> Frame:
    return _best(ctx, groups, frame, k, np.positive)


def _best(
    ctx: EvalContext, groups: Groups, frame: Frame, k: Floats, key: Callable[[Floats], Floats]
) -> Frame:
    """The k rows of each group with the smallest keys, NaN last; of equals, the earlier rows.

    At a single step they come in that order, group by group, as an instant query shows them. Some
    steps at a time, as ordering them takes several times the memory that they do.
    """
    limits = _limits(k, frame)
    kept = np.zeros_like(frame.present)
    ranked = []
    for rows in groups.members():
        at_once = max(1, _AT_ONCE // len(rows))
        for begin in range(0, frame.steps, at_once):
            ctx.check_deadline()
            part = slice(begin, begin + at_once)
            present = frame.present[rows, part]
            # lexsort sorts by the last key first: absent cells come behind all others.
            order = np.lexsort((key(frame.values[rows, part]), ~present), axis=0)
            rank = np.empty_like(order)
            np.put_along_axis(rank, order, np.arange(len(rows))[:, None], axis=0)
            kept[rows, part] = present & (rank < limits[part])
        ranked.append(rows[order[:, 0]] if frame.steps == 1 else rows)
    result = Frame(frame.labels, frame.values, kept, frame.drop_name)
    if frame.steps == 1 and ranked:
        result = result.take(np.concatenate(ranked))
    return result.compact()


def _limitk(_: EvalContext, groups: Groups, frame: Frame, k: Floats) -> Frame:
    """The first k rows of each group."""
    limits = _limits(k, frame)
    kept = np.zeros_like(frame.present)
    for rows in groups.members():
        kept[rows] = frame.present[rows] & (np.cumsum(frame.present[rows], axis=0) <= limits)
    return Frame(frame.labels, frame.values, kept, frame.drop_name).compact()


def _limits(k: Floats, frame: Frame) -> Index:
    """(steps,): how many rows of a group to keep; QueryError where k is no number for that."""
    # As in Prometheus, where no k asks for anything, none is looked at closely.
    if len(k) and np.max(k) < 1:
        return np.zeros(len(k), dtype=np.intp)
    if np.isnan(k).any():
        raise QueryError("execution", "Parameter value is NaN")
    if (k <= _MIN_K).any():
        raise QueryError("execution", f"Scalar value {format_g(float(k.min()))} underflows int64")
    if (k >= _MAX_K).any():
        raise QueryError("execution", f"Scalar value {format_g(float(k.max()))} overflows int64")
    return np.clip(np.trunc(k), 0, frame.rows).astype(np.intp)


def _limit_ratio(ctx: EvalContext, _: Groups, frame: Frame, ratio: Floats) -> Frame:
    """A share of the rows, chosen by the hash of their labels: always the same ones.

    A ratio r < 0 chooses what 1 + r leaves out.
    """
    if np.isnan(ratio).any():
        raise QueryError("execution", "Ratio value is NaN")
    highest, lowest = (float(ratio.max()), float(ratio.min())) if len(ratio) else (0.0, 0.0)
    _warn_of_ratio(ctx, highest, 1.0, capped=highest > 1)
    _warn_of_ratio(ctx, lowest, -1.0, capped=lowest < -1)
    limits = np.clip(ratio, -1.0, 1.0)
    hashes = np.zeros(frame.rows)
    for row, labels in enumerate(frame.labels):
        ctx.check_deadline()
        hashes[row] = labels_hash(labels)
    offsets = (hashes / float(2**64))[:, None]
    # A ratio of 0 keeps nothing, and no hash is below 0.
    kept = np.where(limits >= 0, offsets < limits, offsets >= 1.0 + limits)
    return Frame(frame.labels, frame.values, frame.present & kept, frame.drop_name).compact()


def _warn_of_ratio(ctx: EvalContext, ratio: float, limit: float, *, capped: bool) -> None:
    if capped:
        ctx.warn(
            f"ratio value should be between -1 and 1, got {format_g(ratio)}, "
            f"capping to {format_g(limit)}"
        )


PICKERS: Mapping[str, Picker] = {
    "topk": _topk,
    "bottomk": _bottomk,
    "limitk": _limitk,
    "limit_ratio": _limit_ratio,
}


def quantiles(
    wanted: Floats, groups: Groups, values: Floats, present: Mask, counts: Counts
) -> Floats:
    """(groups, steps): the wanted quantile of each group, interpolated between two values.

    wanted: (steps,). NaN counts as the smallest value. Below 0 it is -Inf, above 1 +Inf.
    """
    result = np.full((groups.count, values.shape[1]), np.nan)
    for group, rows in zip(groups.filled.tolist(), groups.members(), strict=True):
        result[group] = quantile(wanted, values[rows], present[rows], counts[group])
    return result


def quantile(wanted: Floats, values: Floats, present: Mask, counts: Counts) -> Floats:
    """(steps,): as quantiles(), of one group's (rows, steps)."""
    missing = present & np.isnan(values)
    # What is absent goes to the end, where it is not looked at; NaN to the front.
    keys = np.where(present, np.where(missing, -np.inf, values), np.inf)
    ordered = np.sort(keys, axis=0)
    nans = missing.sum(axis=0)
    rank = np.where((wanted >= 0) & (wanted <= 1), wanted, 0.0) * (counts - 1)
    lower = np.floor(rank)
    upper = np.minimum(counts - 1, lower + 1)
    weight = rank - lower
    below, above = _at(ordered, nans, lower), _at(ordered, nans, upper)
    # Prometheus weighs both even where one is met exactly: an infinity times 0 makes NaN.
    found = below * (1 - weight) + above * weight
    found = np.where(wanted < 0, -np.inf, np.where(wanted > 1, np.inf, found))
    return np.where(np.isnan(wanted), np.nan, found)


def _at(ordered: Floats, nans: Index, place: Floats) -> Floats:
    index = place.astype(np.intp)
    value: Floats = np.take_along_axis(ordered, index[None, :], axis=0)[0]
    return np.where(index < nans, np.nan, value)
