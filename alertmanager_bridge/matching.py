"""Alertmanager's way to write matchers, and a fast test of label sets against them."""

import re
from collections.abc import Mapping, Sequence
from typing import cast

from fleetpulse.matchers import Matcher, MatchOp

_CLASSIC = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|=|!=|!~)\s*(.*?)\s*", re.DOTALL)
_PIECE = re.compile(r'(?:[^,"\\]|\\.|\\$|"(?:[^"\\]|\\.)*"|")+', re.DOTALL)
_ESCAPE = re.compile(r"\\([n\"\\])", re.DOTALL)
# The newer syntax: names and values may be any text in quotes, or without reserved characters.
_WORD = r'("(?:[^"\\]|\\.)*"|[^\s{}!=~,\\"\'`]+)'
_UTF8 = re.compile(rf"\s*{_WORD}\s*(=~|=|!=|!~)\s*{_WORD}\s*", re.DOTALL)
_PLAIN = re.compile(r"[^\s{}!=~,\\\"'`]+")


def parse_matchers(text: str) -> list[Matcher]:
    """The matchers in `severity=~"warning|critical", job!=db`, braces around it allowed.

    Both of Alertmanager's syntaxes are read; where a text is good in both, the older one counts,
    as in Alertmanager itself. ValueError says what would be right.
    """
    inner = text.strip()
    if inner.startswith("{") != inner.endswith("}"):
        raise ValueError(f'{text!r}: a brace is missing; write for example {{severity="page"}}')
    if inner.startswith("{"):
        inner = inner[1:-1]
    pieces, position = [], 0
    while position < len(inner):
        piece = _PIECE.match(inner, position)
        pieces.append(piece[0] if piece else "")
        position = (piece.end() if piece else position) + 1
    if len(pieces) > 1 and not pieces[-1].strip():
        pieces.pop()
    return [parse_matcher(piece) for piece in pieces]


def parse_matcher(text: str) -> Matcher:
    """One matcher. ValueError where it is none, or its regular expression is broken."""
    classic = _CLASSIC.fullmatch(text)
    value = _classic_value(classic[3]) if classic else None
    if classic and value is not None:
        return Matcher(classic[1], cast(MatchOp, classic[2]), value)
    modern = _UTF8.fullmatch(text)
    if modern is None:
        raise ValueError(f'{text.strip()!r} is no matcher; write for example severity="page"')
    return Matcher(_unquote(modern[1]), cast(MatchOp, modern[2]), _unquote(modern[3]))


def _classic_value(raw: str) -> str | None:
    """The value without quotes and escapes; None where a double quote stands where none may."""
    quoted = raw.startswith('"')
    body = raw[1:] if quoted else raw
    closed = re.search(r'(?<!\\)(?:\\\\)*"', body)
    if quoted:
        if closed is None or closed.end() != len(body):
            return None
        body = body[:-1]
    elif closed is not None:
        return None
    return _unescape(body)


def _unquote(token: str) -> str:
    return _unescape(token[1:-1]) if token.startswith('"') else token


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], text)


class LabelFilter:
    """Matchers made ready: a test of many label sets. A label that is missing is empty."""

    def __init__(self, matchers: Sequence[Matcher]) -> None:
        self.matchers = tuple(matchers)
        self._tests = [(matcher.name, matcher.predicate()) for matcher in matchers]

    def __call__(self, labels: Mapping[str, str]) -> bool:
        return all(test(labels.get(name, "")) for name, test in self._tests)

    def __str__(self) -> str:
        return "{" + ",".join(matcher_text(matcher) for matcher in self.matchers) + "}"


def matcher_text(matcher: Matcher) -> str:
    """The matcher as Alertmanager prints it, so that group keys and files are the same."""
    value = matcher.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    name = matcher.name
    if not _PLAIN.fullmatch(name):
        name = '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f'{name}{matcher.op}"{value}"'
