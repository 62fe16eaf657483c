"""The tree of a PromQL expression: plain, frozen nodes, and their types."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from fleetpulse.matchers import Matcher

ValueType = Literal["scalar", "vector", "matrix", "string"]
At = int | Literal["start", "end"] | None
Cardinality = Literal["one-to-one", "many-to-one", "one-to-many", "many-to-many"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """pos: index of the node's first character in the query, -1 for a node that was not read."""

    pos: int = field(default=-1, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Number(Node):
    """duration: whether it was written as one, as in `1h`."""

    value: float
    duration: bool = field(default=False, compare=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Text(Node):
    """value: bytes that are not UTF-8 are lone surrogates in it (Python's surrogateescape)."""

    value: str


@dataclass(frozen=True, slots=True)
class Selector(Node):
    """matchers include the one on the metric name; name is that of `name{…}`, else None.

    at: fixes the time in ms, or to the query's start or end. offset_ms: how far back from there.
    """

    name: str | None
    matchers: tuple[Matcher, ...]
    offset_ms: int = 0
    at: At = None


@dataclass(frozen=True, slots=True)
class MatrixSelector(Node):
    selector: Selector
    range_ms: int


@dataclass(frozen=True, slots=True)
class Subquery(Node):
    """step_ms: None for the engine's default."""

    expr: "Expr"
    range_ms: int
    step_ms: int | None = None
    offset_ms: int = 0
    at: At = None


@dataclass(frozen=True, slots=True)
class Paren(Node):
    expr: "Expr"


@dataclass(frozen=True, slots=True)
class Unary(Node):
    op: Literal["+", "-"]
    expr: "Expr"


@dataclass(frozen=True, slots=True)
class Matching:
    """on: labels are those of on(…); else those of ignoring(…). include: of group_left/right.

    fill_left, fill_right: the value of a side that lacks what the other has; None: no result.
    """

    card: Cardinality = "one-to-one"
    on: bool = False
    labels: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    fill_left: float | None = None
    fill_right: float | None = None

    @property
    def fills(self) -> bool:
        return self.fill_left is not None or self.fill_right is not None


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """op: + - * / % ^ atan2 == != > < >= <= and or unless. op_pos: where it stands."""

    op: str
    lhs: "Expr"
    rhs: "Expr"
    matching: Matching = Matching()
    return_bool: bool = False
    op_pos: int = field(default=-1, compare=False, repr=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Aggregate(Node):
    """op: sum, avg, …, quantile, count_values; param: the first argument of those with two."""

    op: str
    expr: "Expr"
    param: "Expr | None" = None
    grouping: tuple[str, ...] = ()
    without: bool = False


@dataclass(frozen=True, slots=True)
class Call(Node):
    func: str
    args: tuple["Expr", ...]
    returns: ValueType = "vector"


Expr = (
    Number | Text | Selector | MatrixSelector | Subquery | Paren | Unary | Binary | Aggregate | Call
)


def value_type(expr: Expr) -> ValueType:
    match expr:
        case Number():
            return "scalar"
        case Text():
            return "string"
        case MatrixSelector() | Subquery():
            return "matrix"
        case Paren() | Unary():
            return value_type(expr.expr)
        case Binary():
            return _binary_type(expr)
        case Call():
            return expr.returns
        case _:
            return "vector"


def children(expr: Expr) -> tuple[Expr, ...]:
    """The sub-expressions, in the order of the text."""
    match expr:
        case MatrixSelector():
            return (expr.selector,)
        case Paren() | Unary() | Subquery():
            return (expr.expr,)
        case Binary():
            return (expr.lhs, expr.rhs)
        case Aggregate():
            return (expr.expr,) if expr.param is None else (expr.param, expr.expr)
        case Call():
            return expr.args
        case _:
            return ()


def walk(expr: Expr) -> Iterator[Expr]:
    """The node and all below it, in no particular order; takes trees of any depth."""
    waiting = [expr]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += children(node)


def unwrap(expr: Expr) -> Expr:
    """The expression inside any parentheses."""
    while isinstance(expr, Paren):
        expr = expr.expr
    return expr


def _binary_type(expr: Binary) -> ValueType:
    """Down a chain of left operands in a loop, so that a long one needs no deep stack."""
    left: Expr = expr
    while isinstance(left, Binary):
        if value_type(left.rhs) != "scalar":
            return "vector"
        left = left.lhs
    return "scalar" if value_type(left) == "scalar" else "vector"
