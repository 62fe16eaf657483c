"""PromQL text → a tree of plain, frozen nodes: the door to reading queries."""

from functools import lru_cache

from fleetpulse.errors import QueryError
from fleetpulse.promql.checks import check
from fleetpulse.promql.parser import Parser
from fleetpulse.promql.tokens import scan
from fleetpulse.promql.tree import (
    Aggregate,
    At,
    Binary,
    Call,
    Cardinality,
    Expr,
    Matching,
    MatrixSelector,
    Node,
    Number,
    Paren,
    Selector,
    Subquery,
    Text,
    Unary,
    ValueType,
    children,
    unwrap,
    value_type,
    walk,
)

__all__ = [
    "Aggregate",
    "At",
    "Binary",
    "Call",
    "Cardinality",
    "Expr",
    "Matching",
    "MatrixSelector",
    "Node",
    "Number",
    "Paren",
    "Selector",
    "Subquery",
    "Text",
    "Unary",
    "ValueType",
    "children",
    "parse",
    "unwrap",
    "value_type",
    "walk",
]

# Rules and dashboards ask the same again and again; longer ones would fill the memory.
_REMEMBERED, _REMEMBERED_LENGTH = 512, 2_000


def parse(text: str, *, experimental: bool = True) -> Expr:
    """The tree of a query. QueryError("bad_data") says where, as line:column, and what is wrong.

    experimental: whether functions that Prometheus calls experimental are allowed.
    """
    if len(text) <= _REMEMBERED_LENGTH:
        return _remembered(text, experimental)
    return _parse(text, experimental)


def _parse(text: str, experimental: bool) -> Expr:
    try:
        tree = Parser(text, scan(text)).parse()
        check(text, tree, experimental=experimental)
    except RecursionError:
        raise QueryError("bad_data", "parse error: nested too deeply") from None
    return tree


_remembered = lru_cache(_REMEMBERED)(_parse)
