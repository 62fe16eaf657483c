"""The tree as JSON, in the form of Prometheus' parse_query (web/api/v1/translate_ast.go)."""

from collections.abc import Sequence
from typing import Any, assert_never

from fleetpulse.matchers import Matcher
from fleetpulse.promql.gofloat import format_f
from fleetpulse.promql.signatures import ENDLESS, SIGNATURES
from fleetpulse.promql.tree import (
    Aggregate,
    At,
    Binary,
    Call,
    Expr,
    MatrixSelector,
    Number,
    Paren,
    Selector,
    Subquery,
    Text,
    Unary,
    value_type,
)

Json = dict[str, Any]


def tree_json(expr: Expr) -> Json:
    """The tree in dictionaries and lists. Numbers are texts, times and durations milliseconds."""
    match expr:
        case Number():
            return {"type": "numberLiteral", "val": format_f(expr.value)}
        case Text():
            return {"type": "stringLiteral", "val": expr.value}
        case Selector():
            return {"type": "vectorSelector", **_selector(expr)}
        case MatrixSelector():
            window = {"range": expr.range_ms, "rangeExpr": None}
            return {"type": "matrixSelector", **_selector(expr.selector), **window}
        case Subquery():
            return _subquery(expr)
        case Paren():
            return {"type": "parenExpr", "expr": tree_json(expr.expr)}
        case Unary():
            return {"type": "unaryExpr", "op": expr.op, "expr": tree_json(expr.expr)}
        case Binary():
            return _binary(expr)
        case Aggregate():
            return _aggregate(expr)
        case Call():
            return _call(expr)
    assert_never(expr)


def _selector(expr: Selector) -> Json:
    matchers: Sequence[Matcher] = expr.matchers
    if expr.name is not None:  # whose matcher Prometheus puts last
        matchers = [*matchers[1:], matchers[0]]
    return {
        "name": expr.name or "",
        "matchers": [{"name": one.name, "value": one.value, "type": one.op} for one in matchers],
        **_time(expr.at, expr.offset_ms),
        "anchored": False,
        "smoothed": False,
    }


def _time(at: At, offset_ms: int) -> Json:
    bound = at if isinstance(at, str) else None
    return {
        "offset": offset_ms,
        "offsetExpr": None,
        "timestamp": None if bound else at,
        "startOrEnd": bound,
    }


def _subquery(expr: Subquery) -> Json:
    return {
        "type": "subquery",
        "expr": tree_json(expr.expr),
        "range": expr.range_ms,
        "rangeExpr": None,
        "step": expr.step_ms or 0,
        "stepExpr": None,
        **_time(expr.at, expr.offset_ms),
    }


def _binary(expr: Binary) -> Json:
    """Down a chain of left operands in a loop, so that a long one needs no deep stack."""
    chain = []
    left: Expr = expr
    while isinstance(left, Binary):
        chain.append(left)
        left = left.lhs
    found = tree_json(left)
    for node in reversed(chain):
        found = {
            "type": "binaryExpr",
            "op": node.op,
            "lhs": found,
            "rhs": tree_json(node.rhs),
            "matching": _matching(node),
            "bool": node.return_bool,
        }
    return found


def _matching(expr: Binary) -> Json | None:
    if not value_type(expr.lhs) == value_type(expr.rhs) == "vector":
        return None
    matching = expr.matching
    return {
        "card": matching.card,
        "labels": list(matching.labels),
        "on": matching.on,
        "include": list(matching.include),
        "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
    }


def _aggregate(expr: Aggregate) -> Json:
    return {
        "type": "aggregation",
        "op": expr.op,
        "expr": tree_json(expr.expr),
        "param": None if expr.param is None else tree_json(expr.param),
        "grouping": list(expr.grouping),
        "without": expr.without,
    }


def _call(expr: Call) -> Json:
    signature = SIGNATURES[expr.func]
    return {
        "type": "call",
        "func": {
            "name": expr.func,
            "argTypes": list(signature.args),
            "variadic": _variadic(signature.args, signature.least, signature.most),
            "returnType": signature.returns,
        },
        "args": [tree_json(arg) for arg in expr.args],
    }


def _variadic(args: Sequence[str], least: int, most: int) -> int:
    """How many arguments more than all types but the last; -1: any number, 0: just the types."""
    if least == most:
        return 0
    return -1 if most == ENDLESS else most - (len(args) - 1)
