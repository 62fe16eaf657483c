"""PromQL text → a tree of plain, frozen nodes. The only door to the promql_parser library."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

import promql_parser as parser

from fleetpulse.errors import QueryError
from fleetpulse.matchers import Matcher, MatchOp
from fleetpulse.model import METRIC_NAME
from fleetpulse.promql.tokens import Scanned, position, scan, tokenize, unsupported_word

ValueType = Literal["scalar", "vector", "matrix", "string"]
At = int | Literal["start", "end"] | None
Cardinality = Literal["one-to-one", "many-to-one", "one-to-many", "many-to-many"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """pos: index of the node's first character in the query, -1 where it is not known."""

    pos: int = field(default=-1, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Number(Node):
    value: float


@dataclass(frozen=True, slots=True)
class Text(Node):
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
    """on: labels are those of on(…); else those of ignoring(…). include: of group_left/right."""

    card: Cardinality = "one-to-one"
    on: bool = False
    labels: tuple[str, ...] = ()
    include: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Binary(Node):
    """op: + - * / % ^ atan2 == != > < >= <= and or unless."""

    op: str
    lhs: "Expr"
    rhs: "Expr"
    matching: Matching = Matching()
    return_bool: bool = False


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


def parse(text: str) -> Expr:
    """The tree of a query. QueryError("bad_data") says where and what is wrong."""
    scanned = scan(text)
    try:
        tree = parser.parse(scanned.text)
        return _Converter(scanned).convert_all(tree)
    except (ValueError, OverflowError) as err:
        raise _syntax_error(text, str(err)) from None
    except RecursionError:
        raise QueryError("bad_data", "parse error: nested too deeply") from None
    except BaseException as err:
        # A panic of the parser derives from BaseException alone, and would end the thread.
        if type(err).__name__ != "PanicException":
            raise
        raise QueryError("bad_data", f"parse error: {err}") from None


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
            both = value_type(expr.lhs) == value_type(expr.rhs) == "scalar"
            return "scalar" if both else "vector"
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


def _syntax_error(text: str, message: str) -> QueryError:
    word = unsupported_word(text)
    if word is not None and message.startswith(("invalid promql", "unexpected", "unknown")):
        return QueryError("bad_data", f"not supported: {word}")
    if message.startswith("invalid promql query"):
        message = "unexpected end of input or unexpected word or operator"
    at = _find_fault(text, message)
    where = f"{position(text, at)}: " if at >= 0 else ""
    return QueryError("bad_data", f"{where}parse error: {message}")


def _find_fault(text: str, message: str) -> int:
    """Where the word stands that the parser's message quotes last, or -1."""
    quoted = message.split("'")
    if len(quoted) < 3:
        return -1
    found = [token.at for token in tokenize(text) if token.text == quoted[-2]]
    return found[0] if len(found) == 1 else -1


# The library's enumerations cannot be hashed, so their names are the keys.
_MATCH_OPS: dict[str, MatchOp] = {
    "MatchOp.Equal": "=",
    "MatchOp.NotEqual": "!=",
    "MatchOp.Re": "=~",
    "MatchOp.NotRe": "!~",
}
_CARDINALITIES: dict[str, Cardinality] = {
    "VectorMatchCardinality.OneToOne": "one-to-one",
    "VectorMatchCardinality.ManyToOne": "many-to-one",
    "VectorMatchCardinality.OneToMany": "one-to-many",
    "VectorMatchCardinality.ManyToMany": "many-to-many",
}
_TYPES: dict[str, ValueType] = {
    "ValueType.Scalar": "scalar",
    "ValueType.Vector": "vector",
    "ValueType.Matrix": "matrix",
    "ValueType.String": "string",
}
_SET_OPERATORS = ("and", "or", "unless")


class _Converter:
    """The library's tree → ours. Nodes with a place in the text are met in the text's order."""

    def __init__(self, scanned: Scanned) -> None:
        self._at_ms = scanned.at_ms
        self._starts = iter(scanned.starts)
        self._left = len(scanned.starts)

    def convert_all(self, tree: Any) -> Expr:
        expr = self.convert(tree)
        # A miscount would put every later position wrong: then none is better.
        return expr if self._left == 0 else _without_positions(expr)

    def convert(self, node: Any) -> Expr:
        rule: Callable[[Any], Expr] | None = getattr(self, f"_{type(node).__name__}", None)
        if rule is None:
            raise QueryError("bad_data", f"not supported: {type(node).__name__}")
        return rule(node)

    def _next_start(self) -> int:
        self._left -= 1
        return next(self._starts, -1)

    def _NumberLiteral(self, node: Any) -> Expr:  # noqa: N802 - named for the library's class
        return Number(node.val, pos=self._next_start())

    def _StringLiteral(self, node: Any) -> Expr:  # noqa: N802
        return Text(node.val)

    def _VectorSelector(self, node: Any) -> Selector:  # noqa: N802
        if node.matchers.or_matchers:
            raise QueryError("bad_data", "not supported: or between label matchers")
        matchers = [Matcher(m.name, _MATCH_OPS[str(m.op)], m.value) for m in node.matchers.matchers]
        if node.name is not None:
            matchers.insert(0, Matcher(METRIC_NAME, "=", node.name))
        start = self._next_start()
        at = self._at(node.at)
        return Selector(node.name, tuple(matchers), _ms(node.offset), at, pos=start)

    def _MatrixSelector(self, node: Any) -> Expr:  # noqa: N802
        selector = self._VectorSelector(node.vector_selector)
        return MatrixSelector(selector, _ms(node.range), pos=selector.pos)

    def _SubqueryExpr(self, node: Any) -> Expr:  # noqa: N802
        expr = self.convert(node.expr)
        step = _ms(node.step) or None
        offset, at = _ms(node.offset), self._at(node.at)
        return Subquery(expr, _ms(node.range), step, offset, at, pos=expr.pos)

    def _ParenExpr(self, node: Any) -> Expr:  # noqa: N802
        expr = self.convert(node.expr)
        return Paren(expr, pos=max(-1, expr.pos - 1))

    def _UnaryExpr(self, node: Any) -> Expr:  # noqa: N802
        expr = self.convert(node.expr)
        return Unary("-", expr, pos=max(-1, expr.pos - 1))

    def _BinaryExpr(self, node: Any) -> Expr:  # noqa: N802
        """Walks down a chain of left operands in a loop: a long `a or b or …` is not deep."""
        chain = []
        while isinstance(node, parser.BinaryExpr):
            chain.append(node)
            node = node.lhs
        expr = self.convert(node)
        for link in reversed(chain):
            op = str(link.op)
            matching = _matching(link.modifier, op)
            return_bool = link.modifier is not None and link.modifier.return_bool
            rhs = self.convert(link.rhs)
            expr = Binary(op, expr, rhs, matching, return_bool, pos=expr.pos)
        return expr

    def _AggregateExpr(self, node: Any) -> Expr:  # noqa: N802
        start = self._next_start()
        param = None if node.param is None else self.convert(node.param)
        expr = self.convert(node.expr)
        labels = () if node.modifier is None else tuple(node.modifier.labels)
        without = node.modifier is not None and node.modifier.type == parser.AggModifierType.Without
        return Aggregate(str(node.op), expr, param, labels, without, pos=start)

    def _Call(self, node: Any) -> Expr:  # noqa: N802
        start = self._next_start()
        args = tuple(self.convert(arg) for arg in node.args)
        return Call(node.func.name, args, _TYPES[str(node.func.return_type)], pos=start)

    def _at(self, modifier: Any) -> At:
        if modifier is None:
            return None
        if modifier.type == parser.AtModifierType.At:
            # The text given to the parser has the number of the time there, see tokens.scan().
            return self._at_ms[int(modifier.at.timestamp())]
        return "start" if modifier.type == parser.AtModifierType.Start else "end"


def _matching(modifier: Any, op: str) -> Matching:
    if modifier is None:
        return Matching("many-to-many" if op in _SET_OPERATORS else "one-to-one")
    if modifier.fill_values is not None and (
        modifier.fill_values.lhs is not None or modifier.fill_values.rhs is not None
    ):
        raise QueryError("bad_data", "not supported: fill")
    labels = modifier.matching
    return Matching(
        _CARDINALITIES[str(modifier.card)],
        on=labels is not None and labels.type == parser.LabelModifierType.Include,
        labels=() if labels is None else tuple(labels.labels),
        include=tuple(modifier.group_labels or ()),
    )


def _ms(delta: timedelta | None) -> int:
    return 0 if delta is None else round(delta / timedelta(milliseconds=1))


def _without_positions(expr: Expr) -> Expr:
    for node in walk(expr):
        object.__setattr__(node, "pos", -1)
    return expr
