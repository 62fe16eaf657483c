"""The tree in the JSON of Prometheus' parse_query."""

from typing import Any

import pytest

from fleetpulse.promql.syntax import parse
from fleetpulse.promql.syntaxtree import tree_json

NO_TIME = {"offset": 0, "offsetExpr": None, "timestamp": None, "startOrEnd": None}
PLAIN = {"anchored": False, "smoothed": False}


def named(name: str, **more: Any) -> dict[str, Any]:
    matcher = {"name": "__name__", "value": name, "type": "="}
    selector = {"type": "vectorSelector", "name": name, "matchers": [matcher]}
    return {**selector, **NO_TIME, **PLAIN, **more}


def matching(**more: Any) -> dict[str, Any]:
    plain = {"card": "one-to-one", "labels": [], "on": False, "include": []}
    return {**plain, "fillValues": {"lhs": None, "rhs": None}, **more}


def number(text: str) -> dict[str, str]:
    return {"type": "numberLiteral", "val": text}


def binary(op: str, lhs: Any, rhs: Any, match: Any, *, wants_bool: bool = False) -> Any:
    sides = {"lhs": lhs, "rhs": rhs, "matching": match, "bool": wants_bool}
    return {"type": "binaryExpr", "op": op, **sides}


def call(name: str, types: list[str], variadic: int, *args: Any, returns: str = "vector") -> Any:
    func = {"name": name, "argTypes": types, "variadic": variadic, "returnType": returns}
    return {"type": "call", "func": func, "args": list(args)}


A, B = named("a"), named("b")
RANGE = {**A, "type": "matrixSelector", "range": 300_000, "rangeExpr": None}
SUBQUERY = {
    "type": "subquery",
    "expr": A,
    "range": 3_600_000,
    "rangeExpr": None,
    "step": 0,
    "stepExpr": None,
    **NO_TIME,
}
MATCHER = {"name": "x", "value": "y", "type": "!~"}
SUM = {"type": "aggregation", "op": "sum", "expr": A, "param": None, "grouping": []}

TREES = [
    pytest.param("a/b", binary("/", A, B, matching()), id="two vectors"),
    pytest.param(
        'a{x!~"y"}', named("a", matchers=[MATCHER, *A["matchers"]]), id="the name comes last"
    ),
    pytest.param(
        '{x!~"y",z="1"}',
        named("", matchers=[MATCHER, {"name": "z", "value": "1", "type": "="}]),
        id="no name",
    ),
    pytest.param("a offset -1m", named("a", offset=-60_000), id="an offset"),
    pytest.param("a @ 1.5", named("a", timestamp=1500), id="a time"),
    pytest.param("a @ end()", named("a", startOrEnd="end"), id="the end"),
    pytest.param("a[5m]", RANGE, id="a range"),
    pytest.param("a[1h:]", SUBQUERY, id="a subquery with the default step"),
    pytest.param("a[1h:15s]", {**SUBQUERY, "step": 15_000}, id="a subquery"),
    pytest.param("1e3", number("1000"), id="a number"),
    pytest.param("1m", number("60"), id="a duration is a number of seconds"),
    pytest.param("-Inf", number("-Inf"), id="infinity"),
    pytest.param("'x'", {"type": "stringLiteral", "val": "x"}, id="text"),
    pytest.param("(a)", {"type": "parenExpr", "expr": A}, id="brackets"),
    pytest.param("-a", {"type": "unaryExpr", "op": "-", "expr": A}, id="a sign"),
    pytest.param("1+a", binary("+", number("1"), A, None), id="no matching beside a number"),
    pytest.param("a>bool 1", binary(">", A, number("1"), None, wants_bool=True), id="bool"),
    pytest.param(
        "a and on(x) b",
        binary("and", A, B, matching(card="many-to-many", on=True, labels=["x"])),
        id="a set",
    ),
    pytest.param(
        "a*ignoring(x)group_left(y)b",
        binary("*", A, B, matching(card="many-to-one", labels=["x"], include=["y"])),
        id="groups",
    ),
    pytest.param(
        "a+fill_left(2)b",
        binary("+", A, B, matching(fillValues={"lhs": 2.0, "rhs": None})),
        id="what is filled in",
    ),
    pytest.param("sum(a)", {**SUM, "without": False}, id="an aggregation"),
    pytest.param(
        "topk without(x)(3,a)",
        {**SUM, "op": "topk", "param": number("3"), "grouping": ["x"], "without": True},
        id="an aggregation with all it can have",
    ),
    pytest.param("rate(a[5m])", call("rate", ["matrix"], 0, RANGE), id="a call"),
    pytest.param("time()", call("time", [], 0, returns="scalar"), id="no arguments"),
    pytest.param("round(a)", call("round", ["vector", "scalar"], 1, A), id="one may be missing"),
    pytest.param(
        "label_join(a,'x','y')",
        call(
            "label_join",
            ["vector", "string", "string", "string"],
            -1,
            A,
            {"type": "stringLiteral", "val": "x"},
            {"type": "stringLiteral", "val": "y"},
        ),
        id="any number of arguments",
    ),
]


@pytest.mark.parametrize(("text", "expected"), TREES)
def test_a_tree(text: str, expected: Any) -> None:
    assert tree_json(parse(text)) == expected


def test_a_long_chain_is_no_deep_stack() -> None:
    tree, depth = tree_json(parse("+".join(["a"] * 500))), 0
    while tree["type"] == "binaryExpr":
        tree, depth = tree["lhs"], depth + 1
    assert depth == 499
