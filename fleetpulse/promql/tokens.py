"""A light look at a query's text before the parser sees it: bounds, positions, small rewrites.

The parser recurses once per operator and bracket and ends the process when its stack does, so
what goes to it is bounded here. It also tells no positions, takes no negative `@` time and
reads escapes in raw strings; this module makes up for that.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from fleetpulse.errors import QueryError
from fleetpulse.values import parse_duration

MAX_LENGTH = 100_000  # characters
MAX_NESTING = 64  # open brackets of any kind
MAX_OPERATORS = 500
MAX_SECONDS = 1e11  # in a range or an offset
MAX_RIGHT = 50  # powers and signs in a row: each is one deeper than the one before

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
    |(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`[^`]*`)
    |(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\w*)
    |(?P<name>[A-Za-z_][\w:]*|:(?!\d)[\w:]+)
    |(?P<op>==|!=|=~|!~|<=|>=|.)""",
    re.VERBOSE | re.DOTALL,
)
_BYTE_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|[0-7]{3})")
_ESCAPE = re.compile(
    r"""(?P<plain>[^\\]+)|\\(?:x(?P<hex>[0-9a-fA-F]{2})|(?P<octal>[0-7]{3})
    |u(?P<point>[0-9a-fA-F]{4})|(?P<simple>.))""",
    re.VERBOSE,
)
_SIMPLE_ESCAPES = dict(zip("abfnrtv\\\"'", "\a\b\f\n\r\t\v\\\"'", strict=True))
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_OPERATORS = frozenset(["+", "-", "*", "/", "%", "^", "==", "!=", "<", ">", "<=", ">="])
_WORD_OPERATORS = frozenset(["and", "or", "unless", "atan2"])
_LABEL_LISTS = frozenset(["by", "without", "on", "ignoring", "group_left", "group_right"])
_NUMBERS = frozenset(["inf", "nan"])
_KEYWORDS = _WORD_OPERATORS | _LABEL_LISTS | _NUMBERS | {"bool", "offset"}
# What newer Prometheus takes behind a feature flag and the parser does not know.
_UNSUPPORTED = frozenset(["anchored", "smoothed", "fill", "fill_left", "fill_right"])


@dataclass(frozen=True, slots=True)
class Token:
    kind: str  # string, number, name or op
    text: str
    at: int  # index of the first character


_NOTHING = Token("op", "", 0)


@dataclass(frozen=True, slots=True)
class Scanned:
    """text: for the parser; `@ 12.5` became `@ i`, where at_ms[i] is the time meant, in ms.

    starts: where each call, aggregation and selector begins, in the order of the text.
    """

    text: str
    at_ms: tuple[int, ...]
    starts: tuple[int, ...]


def scan(text: str) -> Scanned:
    """QueryError("bad_data") where the query is too long, too deep or has too many operators."""
    if len(text) > MAX_LENGTH:
        raise _bad(f"query is {len(text)} characters long; at most {MAX_LENGTH} are taken")
    tokens = list(tokenize(text))
    _check_bounds(text, tokens)
    _check_durations(text, tokens)
    rewritten, at_ms = _rewrite(text, tokens)
    return Scanned(rewritten, at_ms, tuple(_starts(tokens)))


def tokenize(text: str) -> Iterator[Token]:
    """Tokens without space and comments. Any text can be cut; faults are the parser's to tell."""
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind != "space":
            yield Token(kind, match[0], match.start())


def position(text: str, at: int) -> str:
    """`line:column` of a character, counted from 1."""
    line = text.count("\n", 0, at) + 1
    return f"{line}:{at - (text.rfind(chr(10), 0, at) + 1) + 1}"


def unsupported_word(text: str) -> str | None:
    """A modifier that the parser does not know, if the query has one."""
    words = (token.text for token in tokenize(text) if token.kind == "name")
    return next((word for word in words if word in _UNSUPPORTED), None)


def _seconds(number: str) -> float | None:
    """A token's value where it is a plain number, and not a duration such as 1m."""
    try:
        return None if "_" in number else float(number)
    except ValueError:
        return None


def _bad(message: str) -> QueryError:
    return QueryError("bad_data", message)


def _check_bounds(text: str, tokens: list[Token]) -> None:
    depth = operators = right = 0
    for before, token in pairwise([_NOTHING, *tokens]):
        if token.kind == "op" and token.text in _OPENING:
            depth += 1
        elif token.kind == "op" and token.text in _CLOSING:
            depth -= 1
        elif token.kind != "string" and _is_operator(token):
            operators += 1
            # Any other operator between two operands ends a run of those that bind to the right.
            right = right + 1 if token.text == "^" or _expects_operand(before) else 0
        for count, limit, what in (
            (depth, MAX_NESTING, "open brackets"),
            (operators, MAX_OPERATORS, "operators"),
            (right, MAX_RIGHT, "powers and signs"),
        ):
            if count > limit:
                where = position(text, token.at)
                raise _bad(f"{where}: parse error: more than {limit} {what}")


def _expects_operand(before: Token) -> bool:
    """Whether a plus or minus after this token is a sign."""
    return _is_operator(before) or before.text in ("(", ",", "", "bool")


def _check_durations(text: str, tokens: list[Token]) -> None:
    """Ranges and offsets in seconds that are too long; the parser breaks down at them."""
    inside = 0
    for place, token in enumerate(tokens):
        inside += token.kind == "op" and token.text == "["
        inside -= token.kind == "op" and token.text == "]"
        duration = inside > 0 or _modifier(tokens[max(0, place - 2) : place]) == "offset"
        if duration and _is_number(token) and not _is_bounded(token.text):
            where = position(text, token.at)
            raise _bad(f"{where}: parse error: duration out of range: {token.text}")


def _is_bounded(number: str) -> bool:
    """Whether seconds are fewer than about 3,000 years; those with units the parser checks."""
    seconds = _seconds(number)
    return seconds is None or seconds < MAX_SECONDS


def _is_operator(token: Token) -> bool:
    return token.text in _OPERATORS or token.text.lower() in _WORD_OPERATORS


def _rewrite(text: str, tokens: list[Token]) -> tuple[str, tuple[int, ...]]:
    parts: list[str] = []
    times: list[int] = []
    done = 0
    skip_sign = False
    for before, token in pairwise([_NOTHING, *tokens]):
        after_at = before.text == "@" and before.kind == "op"
        if after_at and token.text in ("-", "+"):
            skip_sign = True
            parts.append(text[done : token.at])
            done = token.at + 1
        elif token.kind == "number" and (after_at or skip_sign):
            times.append(_at_time(token, negative=skip_sign and before.text == "-"))
            parts += [text[done : token.at], str(len(times) - 1)]
            done, skip_sign = token.at + len(token.text), False
        elif token.kind == "string" and (token.text[0] == "`" or _BYTE_ESCAPE.search(token.text)):
            parts += [text[done : token.at], json.dumps(_string(token), ensure_ascii=False)]
            done, skip_sign = token.at + len(token.text), False
        else:
            skip_sign = False
    return "".join([*parts, text[done:]]), tuple(times)


def _string(token: Token) -> str:
    """What a literal means, where the parser would misread it: raw, or with bytes as escapes."""
    inner = token.text[1:-1]
    if token.text[0] == "`":
        return inner
    try:
        return b"".join(_escaped(found) for found in _ESCAPE.finditer(inner)).decode()
    except UnicodeError:
        raise _bad(f"not supported: {token.text} is not UTF-8") from None


def _escaped(found: "re.Match[str]") -> bytes:
    """A run of plain characters or one escape of Go's; \\x and octal ones stand for a byte."""
    if found["plain"]:
        return found["plain"].encode()
    if found["hex"] or found["octal"]:
        value = int(found["hex"] or found["octal"], 16 if found["hex"] else 8)
    elif found["point"]:
        return chr(int(found["point"], 16)).encode()
    elif found["simple"] in _SIMPLE_ESCAPES:
        return _SIMPLE_ESCAPES[found["simple"]].encode()
    else:
        raise _bad(f"parse error: unknown escape sequence '{found['simple']}'")
    return bytes([value & 0xFF])


def _at_time(token: Token, *, negative: bool) -> int:
    try:
        plain = _seconds(token.text)
        seconds = parse_duration(token.text) if plain is None else plain
    except ValueError:
        raise _bad(f"parse error: {token.text!r} is no time for the @ modifier") from None
    if seconds >= 2**53:
        raise _bad(f"parse error: timestamp out of bounds for @ modifier: {token.text}")
    return round(-seconds * 1000 if negative else seconds * 1000)


def _starts(tokens: list[Token]) -> Iterator[int]:
    """Beginnings of calls, aggregations, selectors and numbers; not of labels and ranges."""
    depth = 0  # of what is skipped
    for place, token in enumerate(tokens):
        before = tokens[place - 1] if place else _NOTHING
        bracket = token.text if token.kind == "op" else ""
        if depth:
            depth += bracket in _OPENING
            depth -= bracket in _CLOSING
        elif bracket in ("{", "["):
            depth = 1
            if bracket == "{" and not _is_name(before):
                yield token.at
        elif bracket == "(" and before.text.lower() in _LABEL_LISTS:
            depth = 1
        elif _is_number(token) and not _modifier(tokens[max(0, place - 2) : place]):
            yield _with_sign(tokens[max(0, place - 2) : place], token)
        elif _is_name(token) and before.text != "@":
            yield token.at


def _is_name(token: Token) -> bool:
    return token.kind == "name" and token.text.lower() not in _KEYWORDS


def _is_number(token: Token) -> bool:
    return token.kind == "number" or (token.kind == "name" and token.text.lower() in _NUMBERS)


def _modifier(before: list[Token]) -> str:
    """The `@` or `offset` that what comes next belongs to, or an empty string."""
    last = [token.text.lower() for token in before[-2:]]
    if last and last[-1] in ("+", "-"):
        last.pop()
    return last[-1] if last and last[-1] in ("@", "offset") else ""


def _with_sign(before: list[Token], number: Token) -> int:
    """Where a number begins, the sign that the parser makes part of it included."""
    signed = bool(before) and before[-1].text in ("+", "-")
    operand = len(before) > 1 and (before[-2].kind != "op" or before[-2].text in _CLOSING)
    return before[-1].at if signed and not operand else number.at
