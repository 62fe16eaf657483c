"""The tree as text: as Prometheus writes an expression, in a line or laid out over several.

What comes out reads back as the same tree. Laid out is what would be longer than a line; where it
is parted, and how far indented, is as in Prometheus (promql/parser/prettier.go, version 3).
"""

from collections.abc import Sequence
from typing import assert_never

from fleetpulse.matchers import Matcher
from fleetpulse.promql.gofloat import format_f, format_g
from fleetpulse.promql.literals import quote
from fleetpulse.promql.tree import (
    Aggregate,
    At,
    Binary,
    Call,
    Expr,
    Matching,
    MatrixSelector,
    Number,
    Paren,
    Selector,
    Subquery,
    Text,
    Unary,
    value_type,
)
from fleetpulse.values import format_duration, is_label_name

_LINE = 100  # bytes; what is longer is parted
_INDENT = "  "


def one_line(expr: Expr) -> str:
    """The expression without a line break."""
    match expr:
        case Number():
            return _number(expr)
        case Text():
            return quote(expr.value)
        case Selector():
            return _selector(expr) + _at(expr.at) + _offset(expr.offset_ms)
        case MatrixSelector():
            inner = expr.selector
            window = f"[{_duration(expr.range_ms)}]"
            return _selector(inner) + window + _at(inner.at) + _offset(inner.offset_ms)
        case Subquery():
            return one_line(expr.expr) + _window(expr)
        case Paren():
            return f"({one_line(expr.expr)})"
        case Unary():
            return expr.op + one_line(expr.expr)
        case Binary():
            return _binary(expr)
        case Aggregate():
            return f"{_aggregation(expr)}({_joined(_arguments(expr))})"
        case Call():
            return f"{expr.func}({_joined(expr.args)})"
    assert_never(expr)


def pretty(expr: Expr, level: int = 0) -> str:
    """The expression, each line indented so far; parted where it is longer than a line."""
    indent = _INDENT * level
    if isinstance(expr, Unary):
        return f"{indent}{expr.op}{pretty(expr.expr, level).strip()}"
    if isinstance(expr, Subquery):
        # The indent of one that fits is left out, as Prometheus leaves it out.
        fits = _fits(expr)
        return one_line(expr) if fits else pretty(expr.expr, level) + _window(expr)
    if isinstance(expr, Number | Text | Selector | MatrixSelector) or _fits(expr):
        return indent + one_line(expr)
    match expr:
        case Paren():
            return f"{indent}(\n{pretty(expr.expr, level + 1)}\n{indent})"
        case Call():
            return f"{indent}{expr.func}(\n{_below(expr.args, level)}\n{indent})"
        case Aggregate():
            inner = _below(_arguments(expr), level)
            return f"{indent}{_aggregation(expr)}(\n{inner}\n{indent})"
        case Binary():
            return _pretty_binary(expr, level)
    assert_never(expr)


def _fits(expr: Expr) -> bool:
    return len(one_line(expr).encode(errors="surrogateescape")) <= _LINE


def _below(parts: Sequence[Expr], level: int) -> str:
    return ",\n".join(pretty(part, level + 1) for part in parts)


def _joined(parts: Sequence[Expr]) -> str:
    return ", ".join(map(one_line, parts))


# Operators. Down a chain of left operands in a loop, so that a long one needs no deep stack.


def _binary(expr: Binary) -> str:
    parts = []
    left: Expr = expr
    while isinstance(left, Binary):
        parts.append(f" {_operator(left)} {one_line(left.rhs)}")
        left = left.lhs
    return one_line(left) + "".join(reversed(parts))


def _pretty_binary(expr: Binary, level: int) -> str:
    parts: list[str] = []
    left: Expr = expr
    while isinstance(left, Binary) and not _fits(left):
        parts += [pretty(left.rhs, level + 1), _INDENT * level + _operator(left)]
        left, level = left.lhs, level + 1
    return "\n".join([pretty(left, level), *reversed(parts)])


def _operator(expr: Binary) -> str:
    """The operator with what stands between it and its right operand."""
    words = [expr.op, *(["bool"] if expr.return_bool else [])]
    # Prometheus passes over a lone on() beside a scalar.
    if value_type(expr.lhs) == value_type(expr.rhs) == "vector":
        words += _matching(expr.matching)
    return " ".join(words)


def _matching(matching: Matching) -> list[str]:
    words = []
    grouped = {"many-to-one": "group_left", "one-to-many": "group_right"}.get(matching.card)
    if matching.labels or matching.on or grouped:
        words.append(f"{'on' if matching.on else 'ignoring'} ({_labels(matching.labels)})")
    if grouped:
        words.append(f"{grouped} ({_labels(matching.include)})")
    left, right = matching.fill_left, matching.fill_right
    if left is not None and left == right:
        return [*words, f"fill ({_fill(left)})"]
    words += [f"fill_left ({_fill(left)})"] if left is not None else []
    return words + ([f"fill_right ({_fill(right)})"] if right is not None else [])


def _fill(value: float) -> str:
    """As Go's %v has it."""
    return format_f(value) if value == 0 or 1e-4 <= abs(value) < 1e21 else format_g(value)


# What is the same in a line and in several.


def _arguments(expr: Aggregate) -> tuple[Expr, ...]:
    return (expr.expr,) if expr.param is None else (expr.param, expr.expr)


def _aggregation(expr: Aggregate) -> str:
    if expr.without:
        return f"{expr.op} without ({_labels(expr.grouping)}) "
    return f"{expr.op} by ({_labels(expr.grouping)}) " if expr.grouping else expr.op


def _labels(names: Sequence[str]) -> str:
    return ", ".join(map(_label, names))


def _label(name: str) -> str:
    return name if is_label_name(name) else quote(name)


def _number(expr: Number) -> str:
    if not expr.duration:
        return format_f(expr.value)
    sign = "-" if expr.value < 0 else ""
    return f"{sign}{format_duration(abs(expr.value))}"


def _selector(expr: Selector) -> str:
    """Name and matchers, without time."""
    matchers = expr.matchers if expr.name is None else expr.matchers[1:]
    texts = sorted(map(_matcher, matchers), key=str.encode)
    inner = f"{{{','.join(texts)}}}" if texts else ""
    return f"{expr.name or ''}{inner}"


def _matcher(matcher: Matcher) -> str:
    return f"{_label(matcher.name)}{matcher.op}{quote(matcher.value)}"


def _window(expr: Subquery) -> str:
    step = "" if expr.step_ms is None else _duration(expr.step_ms)
    return f"[{_duration(expr.range_ms)}:{step}]{_at(expr.at)}{_offset(expr.offset_ms)}"


def _at(at: At) -> str:
    if at is None:
        return ""
    return f" @ {at}()" if isinstance(at, str) else f" @ {at / 1000:.3f}"


def _offset(offset_ms: int) -> str:
    if not offset_ms:
        return ""
    return f" offset {'-' if offset_ms < 0 else ''}{_duration(abs(offset_ms))}"


def _duration(milliseconds: int) -> str:
    return format_duration(milliseconds / 1000)
