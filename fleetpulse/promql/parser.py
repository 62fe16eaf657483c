"""PromQL text → the tree: descent by recursion, operators by how tightly they bind.

Read here and not by a library, for three reasons: an error names the place and the token; every
node knows its place, which annotations need; and no text can overflow a stack that is not
Python's. Messages are in Prometheus' words.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

from fleetpulse.matchers import Matcher, MatchOp
from fleetpulse.model import METRIC_NAME
from fleetpulse.promql import words
from fleetpulse.promql.gofloat import format_g
from fleetpulse.promql.literals import MAX_SECONDS, is_utf8, milliseconds, plain_number
from fleetpulse.promql.reader import SIGNS, Reader
from fleetpulse.promql.signatures import AGGREGATIONS, SIGNATURES
from fleetpulse.promql.tokens import Token
from fleetpulse.promql.tree import (
    Aggregate,
    At,
    Binary,
    Call,
    Cardinality,
    Expr,
    Matching,
    MatrixSelector,
    Number,
    Paren,
    Selector,
    Subquery,
    Text,
    Unary,
)

_BINDING = {
    "or": 1,
    **dict.fromkeys(("and", "unless"), 2),
    **dict.fromkeys(("==", "!=", "<", ">", "<=", ">=", "</", ">/"), 3),
    **dict.fromkeys("+-", 4),
    **dict.fromkeys(("*", "/", "%", "atan2"), 5),
    "^": 6,
}
_POWER = _BINDING["^"]
_MATCH_OPS: dict[str, MatchOp] = {"=": "=", "!=": "!=", "=~": "=~", "!~": "!~"}
_GROUPS: dict[str, Cardinality] = {"group_left": "many-to-one", "group_right": "one-to-many"}
_MAX_AT = 2**53  # seconds
_DURATION = "number, duration, step(), or range()"
_STEP = 'number, duration, step(), range(), or "]"'
_AFTER = "must be preceded by an instant vector selector or range vector selector or a subquery"


class Parser(Reader):
    """One reading of one text."""

    def parse(self) -> Expr:
        """The tree of the whole text; QueryError("bad_data") at the first fault of syntax."""
        if self.here.kind == "end":
            raise self.fault(self.here, "no expression found in input")
        expr = self._expression()
        if self.here.kind != "end":
            raise self.unexpected()
        return expr

    # Expressions.

    def _expression(self, least: int = 0) -> Expr:
        """Operands joined by operators that bind at least so tightly."""
        left = self._operand()
        while (power := _BINDING.get(self.here.word, -1)) >= least:
            operator = self.take()
            if operator.text in ("</", ">/"):
                raise self.unsupported(operator, f"operator {operator.text} (native histograms)")
            return_bool, matching = self._modifiers(operator.word)
            right = self._expression(power if power == _POWER else power + 1)
            at, op = operator.at, operator.word
            left = Binary(op, left, right, matching, return_bool, pos=left.pos, op_pos=at)
        return left

    def _operand(self) -> Expr:
        sign = SIGNS.get(self.here.text)
        if sign is None:
            return self._suffixes(self._primary())
        at = self.take().at
        # A sign binds as multiplication does: only a power goes first.
        inner = self._expression(_POWER)
        if isinstance(inner, Number):
            value = -inner.value if sign == "-" else inner.value
            return Number(value, duration=inner.duration, pos=at)
        return Unary(sign, inner, pos=at)

    def _primary(self) -> Expr:
        token = self.here
        match token.kind:
            case "number":
                duration = plain_number(token.text) is None
                return Number(self.number(), duration=duration, pos=token.at)
            case "string":
                return Text(self.string(), pos=token.at)
            case "name":
                return self._named()
        if token.text == "(":
            self.take()
            expr = self._expression()
            self.expect(")")
            return Paren(expr, pos=token.at)
        if token.text == "{":
            return self._selector(None, token.at)
        if token.text == ":":  # a name like any other, outside of brackets
            self.take()
            return self._selector(token.text, token.at)
        raise self.unexpected()

    def _named(self) -> Expr:
        """A number, an aggregation, a call or a metric; what comes next tells."""
        token = self.here
        following = self.following
        called = following.text == "("
        if token.word in words.NUMBERS:
            return Number(self.number(), pos=token.at)
        if token.word in AGGREGATIONS and (called or following.word in ("by", "without")):
            return self._aggregate()
        if token.word in words.NO_METRICS:
            raise self.unexpected()
        if called and token.word not in words.KEYWORDS and ":" not in token.text:
            return self._call()
        self.take()
        return self._selector(token.text, token.at)

    def _call(self) -> Expr:
        name = self.take()
        args = self._arguments()
        signature = SIGNATURES.get(name.text)
        if signature is None:
            raise self.fault(name, f'unknown function with name "{name.text}"')
        return Call(name.text, args, signature.returns, pos=name.at)

    def _aggregate(self) -> Expr:
        operator = self.take()
        around, self.context = self.context, "aggregation"
        grouped = self.here.word in ("by", "without")
        labels, without = self._grouping() if grouped else ((), False)
        args = self._arguments()
        if not grouped and self.here.word in ("by", "without"):
            labels, without = self._grouping()
        self.context = around
        wanted = 1 if AGGREGATIONS[operator.word] is None else 2
        if not args:
            raise self.fault(operator, "no arguments for aggregate expression provided")
        if len(args) != wanted:
            counts = f"expected {wanted}, got {len(args)}"
            what = "wrong number of arguments for aggregate expression provided"
            raise self.fault(operator, f"{what}, {counts}")
        param = args[0] if wanted == 2 else None
        return Aggregate(operator.word, args[-1], param, labels, without, pos=operator.at)

    def _grouping(self) -> tuple[tuple[str, ...], bool]:
        without = self.take().word == "without"
        return self._labels(), without

    def _arguments(self) -> tuple[Expr, ...]:
        self.expect("(")
        args: list[Expr] = []
        while self.here.text != ")":
            args.append(self._expression())
            comma = self.here
            if comma.text != ",":
                break
            self.take()
            if self.here.text == ")":
                raise self.fault(comma, "trailing commas not allowed in function call args")
        self.expect(")")
        return tuple(args)

    # What stands between an operator and its right operand.

    def _modifiers(self, operator: str) -> tuple[bool, Matching]:
        return_bool = self.here.word == "bool" and self.take() is not None
        default: Cardinality = "many-to-many" if operator in words.SET_OPERATORS else "one-to-one"
        matching = Matching(default)
        if self.here.word in ("on", "ignoring"):
            on = self.take().word == "on"
            matching = Matching(default, on, self._labels())
            if (card := _GROUPS.get(self.here.word)) is not None:
                self.take()
                include = self._labels() if self.here.text == "(" else ()
                matching = replace(matching, card=card, include=include)
        return return_bool, self._filled(matching)

    def _filled(self, matching: Matching) -> Matching:
        """`fill(0)`, or `fill_left(0)` and `fill_right(0)` in either order, once each."""
        while self.here.word in words.FILLS and self.following.text == "(":
            word = self.here.word
            known = {"fill_left": matching.fill_left, "fill_right": matching.fill_right}
            if known.get(word) is not None or (word == "fill" and matching.fills):
                raise self.unexpected()
            self.take()
            value = self._fill_value()
            if word != "fill_right":
                matching = replace(matching, fill_left=value)
            if word != "fill_left":
                matching = replace(matching, fill_right=value)
        return matching

    def _fill_value(self) -> float:
        self.expect("(")
        negative = self.sign()
        if not self.at_number():
            raise self.unexpected()
        value = self.number()
        self.expect(")")
        return -value if negative else value

    def _labels(self) -> tuple[str, ...]:
        """`(a, b)`: names, or strings for those that are no words."""
        if self.here.text != "(":
            raise self.unexpected("grouping opts", '"("')
        self.take()
        labels: list[str] = []
        while self.here.text != ")":
            token = self.here
            if token.kind not in ("name", "string") or token.word in words.NO_LABELS:
                raise self.unexpected("grouping opts", "label")
            name = self.string() if token.kind == "string" else self.take().text
            if not name or not is_utf8(name):
                raise self.fault(token, f'invalid label name for grouping: "{name}"')
            labels.append(name)
            if self.here.text == ",":
                self.take()
            elif self.here.text != ")":
                raise self.unexpected("grouping opts", '"," or ")"')
        self.take()
        return tuple(labels)

    # What stands behind an operand.

    def _suffixes(self, expr: Expr) -> Expr:
        while True:
            token = self.here
            if token.text == "[":
                expr = self._range(expr)
            elif token.text == "@":
                expr = self._at(expr)
            elif token.word == "offset":
                expr = self._offset(expr)
            elif token.word in words.EXTENDED:
                raise self.unsupported(token, token.word)
            else:
                return expr

    def _range(self, expr: Expr) -> Expr:
        bracket = self.take()
        range_ms = self._duration("subquery or range selector", _DURATION)
        if self.here.text == ":":
            self.take()
            step_ms = None
            if self.here.text != "]":
                step_ms = self._duration("subquery selector", _STEP)
            if self.here.text != "]":
                raise self.unexpected("subquery selector", '"]"')
            self.take()
            return Subquery(expr, range_ms, step_ms, pos=expr.pos)
        if self.here.text != "]":
            self._check_duration_operator()
            raise self.unexpected("subquery or range", '":" or "]"')
        self.take()
        if not isinstance(expr, Selector):
            raise self.fault(bracket, "ranges only allowed for vector selectors")
        if expr.offset_ms:
            raise self.fault(bracket, "no offset modifiers allowed before range")
        if expr.at is not None:
            raise self.fault(bracket, "no @ modifiers allowed before range")
        return MatrixSelector(expr, range_ms, pos=expr.pos)

    def _offset(self, expr: Expr) -> Expr:
        self.take()
        negative = self.sign()
        if self.here.text == "(" or self.here.word in words.DURATION_CALLS:
            raise self.unsupported(self.here, "duration expressions")
        if not self.at_number():
            raise self.unexpected("offset", _DURATION)
        offset_ms = milliseconds(self._bounded(self.here, self.number()))

        def shifted(node: Selector | Subquery) -> Selector | Subquery:
            if node.offset_ms:
                raise self.fault(node, "offset may not be set multiple times")
            return replace(node, offset_ms=-offset_ms if negative else offset_ms)

        return self._modified(expr, "offset", shifted)

    def _at(self, expr: Expr) -> Expr:
        self.take()
        at = self._time(expr)

        def fixed(node: Selector | Subquery) -> Selector | Subquery:
            if node.at is not None:
                raise self.fault(node, "@ <timestamp> may not be set multiple times")
            return replace(node, at=at)

        return self._modified(expr, "@", fixed)

    def _time(self, expr: Expr) -> At:
        if self.here.word in ("start", "end"):
            bound: Literal["start", "end"] = "start" if self.take().word == "start" else "end"
            for bracket in "()":
                if self.here.text != bracket:
                    raise self.unexpected("@", "timestamp")
                self.take()
            return bound
        negative = self.sign()
        if not self.at_number():
            raise self.unexpected("@", "timestamp")
        seconds = self.number()
        # NaN is not below the bound either.
        if not seconds < _MAX_AT:
            shown = format_g(-seconds if negative else seconds)
            raise self.fault(expr, f"timestamp out of bounds for @ modifier: {shown}")
        return round(-seconds * 1000 if negative else seconds * 1000)

    def _modified(
        self,
        expr: Expr,
        modifier: str,
        change: Callable[[Selector | Subquery], Selector | Subquery],
    ) -> Expr:
        """expr with the change made to the selector or subquery that a modifier belongs to."""
        if isinstance(expr, MatrixSelector):
            selector = change(expr.selector)
            assert isinstance(selector, Selector)
            return replace(expr, selector=selector)
        if isinstance(expr, Selector | Subquery):
            return change(expr)
        raise self.fault(expr, f"{modifier} modifier {_AFTER}")

    def _duration(self, context: str, expected: str) -> int:
        """Milliseconds of what stands in brackets."""
        self._check_duration_operator()
        if not self.at_number():
            raise self.unexpected(context, expected)
        token = self.here
        seconds = self._bounded(token, self.number())
        if seconds <= 0:
            raise self.fault(token, "duration must be greater than 0")
        return milliseconds(seconds)

    def _check_duration_operator(self) -> None:
        token = self.here
        if token.text == "-" and self.following.kind == "number":
            raise self.fault(token, "duration must be greater than 0")
        arithmetic = token.kind == "op" and token.text in "+-*/%^("
        if arithmetic or token.word.lstrip(":") in words.DURATION_CALLS:
            raise self.unsupported(token, "duration expressions")

    def _bounded(self, token: Token, seconds: float) -> float:
        if not seconds < MAX_SECONDS:
            raise self.fault(token, "duration out of range")
        return seconds

    # Selectors.

    def _selector(self, name: str | None, at: int) -> Selector:
        matchers = [] if name is None else [Matcher(METRIC_NAME, "=", name)]
        if self.here.text == "{":
            self.take()
            matchers += self._matchers()
        return Selector(name, tuple(matchers), pos=at)

    def _matchers(self) -> list[Matcher]:
        matchers: list[Matcher] = []
        while self.here.text != "}":
            matchers.append(self._matcher())
            if self.here.text == ",":
                self.take()
            elif self.here.text != "}":
                raise self.unexpected("label matching", '"," or "}"')
        self.take()
        return matchers

    def _matcher(self) -> Matcher:
        token = self.here
        if token.kind not in ("name", "string"):
            raise self.unexpected("label matching", 'identifier or "}"')
        if ":" in token.text and token.kind == "name":
            raise self.fault(token, "unexpected character inside braces: ':'")
        name = self.text_of_string() if token.kind == "string" else self.take().text
        op = _MATCH_OPS.get(self.here.text)
        if op is None:
            if token.kind == "string":
                return Matcher(METRIC_NAME, "=", name)
            raise self.unexpected("label matching", "label matching operator")
        self.take()
        if self.here.kind != "string":
            raise self.unexpected("label matching", "string")
        value = self.text_of_string()
        try:
            return Matcher(name, op, value)
        except ValueError as err:
            raise self.fault(token, str(err)) from None
