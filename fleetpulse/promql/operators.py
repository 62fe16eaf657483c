"""Unary and binary operators over scalars and frames (Prometheus' promql/engine.go)."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from fleetpulse.errors import QueryError
from fleetpulse.model import Labels
from fleetpulse.promql.context import EvalContext
from fleetpulse.promql.filling import filled
from fleetpulse.promql.frames import Floats, Frame, Mask, ScalarFrame, StringFrame, Value
from fleetpulse.promql.groups import Groups, stack, unite
from fleetpulse.promql.matching import Signatures, match
from fleetpulse.promql.syntax import Binary, Matching, Unary

# numpy follows C here, and C and Go agree on %: the sign is that of the left operand.
ARITHMETIC: Mapping[str, Callable[[Floats, Floats], Floats]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
    "atan2": np.arctan2,
}
COMPARISONS: Mapping[str, Callable[[Floats, Floats], Mask]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}


def unary(ctx: EvalContext, node: Unary, value: Value) -> Value:  # noqa: ARG001 - as binary()
    """+ changes nothing; - negates and drops the metric name."""
    if isinstance(value, StringFrame):
        raise QueryError("bad_data", "unary expression only allowed on expressions of type scalar")
    if node.op == "+":
        return value
    if isinstance(value, ScalarFrame):
        return ScalarFrame(-value.values)
    return value.with_values(-value.values, drop_name=True)


def binary(ctx: EvalContext, node: Binary, lhs: Value, rhs: Value) -> Value:
    """lhs op rhs. QueryError where the vectors cannot be matched."""
    with np.errstate(all="ignore"):
        if isinstance(lhs, ScalarFrame) and isinstance(rhs, ScalarFrame):
            return ScalarFrame(_scalars(node.op, lhs.values, rhs.values))
        if isinstance(lhs, Frame) and isinstance(rhs, ScalarFrame):
            return _with_scalar(node, lhs, lhs.values, rhs.values[None, :])
        if isinstance(lhs, ScalarFrame) and isinstance(rhs, Frame):
            return _with_scalar(node, rhs, lhs.values[None, :], rhs.values)
        if isinstance(lhs, Frame) and isinstance(rhs, Frame):
            if node.op in SET_OPERATORS:
                return SET_OPERATORS[node.op](node.matching, lhs, rhs)
            return _vectors(ctx, node, lhs, rhs)
    raise QueryError("bad_data", "binary expression must contain only scalar and instant vector")


def _scalars(op: str, left: Floats, right: Floats) -> Floats:
    if op in COMPARISONS:
        return COMPARISONS[op](left, right).astype(np.float64)
    return _arithmetic(op)(left, right)


def _with_scalar(node: Binary, vector: Frame, left: Floats, right: Floats) -> Frame:
    """left and right are the operands as written; one of them is vector's values."""
    if node.op not in COMPARISONS:
        return vector.with_values(_arithmetic(node.op)(left, right), drop_name=True)
    holds = COMPARISONS[node.op](left, right)
    if node.return_bool:
        return vector.with_values(holds.astype(np.float64), drop_name=True)
    # The vector's own value is kept, on whichever side it stands.
    kept = Frame(vector.labels, vector.values, vector.present & holds, vector.drop_name)
    return kept.compact()


def _vectors(ctx: EvalContext, node: Binary, lhs: Frame, rhs: Frame) -> Frame:
    compares = node.op in COMPARISONS
    keep_name = compares and (ctx.delayed_names or not node.return_bool)
    if node.matching.fills:
        lhs, rhs = filled(ctx, node.matching, lhs, rhs)
    found = match(ctx, node.matching, lhs, rhs, keep_name=keep_name)
    swapped = node.matching.card == "one-to-many"
    left, right = (found.one, found.many) if swapped else (found.many, found.one)
    if not compares:
        values = _arithmetic(node.op)(left, right)
        # The names are gone from the labels already, so none is left to be dropped.
        return _frame(found.labels, values, found.present, np.zeros(len(values), dtype=bool))
    holds = COMPARISONS[node.op](left, right)
    if node.return_bool:
        dropped = np.ones(len(holds), dtype=bool)
        return _frame(found.labels, holds.astype(np.float64), found.present, dropped)
    return _frame(found.labels, left, found.present & holds, found.drop_name)


def _frame(labels: Sequence[Labels], values: Floats, present: Mask, drop_name: Mask) -> Frame:
    return unite(Frame(labels, values, present, drop_name).compact())


def _and(matching: Matching, lhs: Frame, rhs: Frame) -> Frame:
    return _keep(lhs, lhs.present & _on_other_side(matching, lhs, rhs))


def _unless(matching: Matching, lhs: Frame, rhs: Frame) -> Frame:
    return _keep(lhs, lhs.present & ~_on_other_side(matching, lhs, rhs))


def _or(matching: Matching, lhs: Frame, rhs: Frame) -> Frame:
    added = _keep(rhs, rhs.present & ~_on_other_side(matching, rhs, lhs))
    return unite(stack(lhs, added))


def _on_other_side(matching: Matching, rows: Frame, other: Frame) -> Mask:
    """(rows, steps): whether other has a row of the same match group at that step."""
    ids = Signatures.of(matching, rows, other)
    return Groups.of(ids.right, ids.count).any(other.present)[ids.left]


def _keep(frame: Frame, present: Mask) -> Frame:
    return Frame(frame.labels, frame.values, present, frame.drop_name).compact()


SET_OPERATORS: Mapping[str, Callable[[Matching, Frame, Frame], Frame]] = {
    "and": _and,
    "or": _or,
    "unless": _unless,
}


def _arithmetic(op: str) -> Callable[[Floats, Floats], Floats]:
    if op not in ARITHMETIC:
        raise QueryError("bad_data", f"not supported: operator {op}")
    return ARITHMETIC[op]
