"""A query's text cut into tokens, and the bounds of what is taken for a query."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fleetpulse.errors import QueryError

MAX_LENGTH = 100_000  # characters
MAX_NESTING = 64  # open brackets of any kind
MAX_OPERATORS = 500
MAX_RIGHT = 50  # powers and signs in a row: each is one deeper than the one before

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
    |(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`[^`]*`)
    |(?P<number>(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][+-]?\d+)?\w*)
    |(?P<name>[A-Za-z_][\w:]*|:(?!\d)[\w:]+)
    |(?P<op>==|!=|=~|!~|<=|>=|</|>/|.)""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_OPERATORS = frozenset(["+", "-", "*", "/", "%", "^", "==", "!=", "<", ">", "<=", ">="])
_WORD_OPERATORS = frozenset(["and", "or", "unless", "atan2"])


@dataclass(frozen=True, slots=True)
class Token:
    kind: str  # string, number, name, op; or end, after the last
    text: str
    at: int  # index of the first character

    @property
    def word(self) -> str:
        """The text of an operator, or of a name in lower case; keywords are written either way."""
        return self.text.lower() if self.kind == "name" else self.text


_NOTHING = Token("op", "", 0)


def tokenize(text: str) -> Iterator[Token]:
    """Tokens without space and comments. Any text can be cut; faults are the parser's to tell."""
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind != "space":
            yield Token(kind, match[0], match.start())


def scan(text: str) -> list[Token]:
    """The tokens of a query, then one of kind "end".

    QueryError("bad_data") where the query is too long, too deep or has too many operators: what
    reads and evaluates it recurses.
    """
    if len(text) > MAX_LENGTH:
        message = f"query is {len(text)} characters long; at most {MAX_LENGTH} are taken"
        raise QueryError("bad_data", message)
    tokens = list(tokenize(text))
    _check_bounds(text, tokens)
    return [*tokens, Token("end", "", len(text))]


def position(text: str, at: int) -> str:
    """`line:column` of a character, counted from 1."""
    line = text.count("\n", 0, at) + 1
    return f"{line}:{at - (text.rfind(chr(10), 0, at) + 1) + 1}"


def parse_error(text: str, at: int, message: str) -> QueryError:
    """A fault of the query at a character, in Prometheus' words: `1:4: parse error: …`."""
    return QueryError("bad_data", f"{position(text, at)}: parse error: {message}")


def _check_bounds(text: str, tokens: Sequence[Token]) -> None:
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
                raise parse_error(text, token.at, f"more than {limit} {what}")


def _expects_operand(before: Token) -> bool:
    """Whether a plus or minus after this token is a sign."""
    return _is_operator(before) or before.text in ("(", ",", "", "bool")


def _is_operator(token: Token) -> bool:
    return token.text in _OPERATORS or token.word in _WORD_OPERATORS
