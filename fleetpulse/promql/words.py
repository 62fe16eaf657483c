"""The words of PromQL, and how an error names a token, as Prometheus does."""

from collections.abc import Sequence

from fleetpulse.promql.literals import is_number, plain_number
from fleetpulse.promql.signatures import AGGREGATIONS
from fleetpulse.promql.tokens import Token

NUMBERS = frozenset(["inf", "nan"])
SET_OPERATORS = frozenset(["and", "or", "unless"])
# What only the newest Prometheus takes, behind flags of its own.
FILLS = frozenset(["fill", "fill_left", "fill_right"])
EXTENDED = frozenset(["anchored", "smoothed"])
DURATION_CALLS = frozenset(["step", "range", "max_of", "min_of"])
# Words that cannot be the name of a metric …
NO_METRICS = frozenset(["on", "ignoring", "group_left", "group_right", "bool", "atan2"])
# … and those that can, but not that of a function.
KEYWORDS = frozenset(["by", "without", "offset"]) | SET_OPERATORS | FILLS | EXTENDED | NO_METRICS

_OPERATORS = frozenset("+-*/%^@<>") | {"==", "!=", "<=", ">=", "=~", "!~"}
# What cannot be a label's name but in quotes.
NO_LABELS = NUMBERS | {"without"}

_KNOWN = _OPERATORS | frozenset("(){}[],=:")
_IN_BRACES = frozenset(["{", "}", ",", "=", "==", "!=", "=~", "!~", '"', "'", "`"])
_LONG = 10


def described(token: Token, *, inside: bool = False) -> str:
    """`identifier "foo"`, `<op:+>`, `end of input`. inside: braces, where no word is special."""
    if token.kind == "end":
        return "end of input"
    if token.kind == "name":
        return f"identifier {quoted(token.text)}" if inside else _described_name(token)
    if token.kind == "number":
        what = "duration" if plain_number(token.text) is None else "number"
        return f"{what} {_shortened(token.text)}"
    if token.kind == "string":
        return f"string {_shortened(token.text)}"
    return f"<op:{token.text}>" if token.text in _OPERATORS else quoted(token.text)


def _described_name(token: Token) -> str:
    if token.word in NUMBERS:
        return f"number {quoted(token.text)}"
    if token.word in SET_OPERATORS or token.word == "atan2":
        return f"<op:{token.text}>"
    if token.word in AGGREGATIONS:
        return f"<aggr:{token.text}>"
    if token.word in KEYWORDS:
        return f"<{token.text}>"
    kind = "metric identifier" if ":" in token.text else "identifier"
    return f"{kind} {quoted(token.text)}"


def broken(token: Token, upto: Sequence[Token]) -> str | None:
    """What is wrong with a token that fits nowhere; None where it is only not expected here.

    upto: all tokens up to this one.
    """
    inside = _depth(upto, "{}") > 0
    if token.kind == "end":
        return _unclosed(upto)
    if token.text == "{" and inside and _depth(upto, "{}") > 1:
        return "unexpected left brace '{'"
    if inside and token.kind in ("op", "number") and token.text not in _IN_BRACES:
        return f"unexpected character inside braces: '{token.text[0]}'"
    if token.kind == "number" and not is_number(token.text):
        return f"bad number or duration syntax: {quoted(token.text)}"
    if token.kind != "op":
        return None
    if token.text in "\"'":
        return "unterminated quoted string"
    if token.text == "`":
        return "unterminated raw string"
    for opening, closing, what in ("()", ")", "parenthesis"), ("[]", "]", "bracket"):
        if token.text == closing and _depth(upto, opening) < 0:
            return f"unexpected right {what} '{closing}'"
    if token.text in ("!~", "=~") and not inside:
        return f"unexpected character after '{token.text[0]}': '~'"
    if token.text in _KNOWN and not (token.text == "}" and _depth(upto, "{}") < 0):
        return None
    return f"unexpected character: '{token.text}'"


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _unclosed(upto: Sequence[Token]) -> str | None:
    if _depth(upto, "{}") > 0:
        return "unexpected end of input inside braces"
    if _depth(upto, "[]") > 0:
        return "unexpected end of input in duration expression"
    return "unclosed left parenthesis" if _depth(upto, "()") > 0 else None


def _depth(tokens: Sequence[Token], pair: str) -> int:
    """How many of a pair of brackets are open after the tokens; below 0: too many closed."""
    texts = [token.text for token in tokens if token.kind == "op"]
    return texts.count(pair[0]) - texts.count(pair[1])


def _shortened(text: str) -> str:
    return quoted(text) if len(text) <= _LONG else f"{quoted(text[:_LONG])}..."
