"""Cuts Go template text into tokens, as text/template/parse/lex.go has them."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from fleetpulse.gotemplate.nodes import TemplateError

Kind = Literal["text", "open", "close", "word", "field", "variable", "constant", "dot", "mark"]

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_TRIM_CLOSE = re.compile(r"[ \t\r\n]-\}\}")
_SPACES = " \t\r\n"
_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+"
    r"|(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?)"
)
_TOKENS: tuple[tuple[str, "re.Pattern[str]"], ...] = (
    ("string", re.compile(r'"(?:[^"\\\n]|\\.)*"')),
    ("raw", re.compile(r"`[^`]*`")),
    ("char", re.compile(r"'(?:[^'\\\n]|\\.)+'")),
    ("number", _NUMBER),
    ("field", re.compile(r"\.[^\W\d]\w*")),
    ("variable", re.compile(r"\$\w*")),
    ("word", re.compile(r"[^\W\d]\w*")),
    ("dot", re.compile(r"\.")),
    ("mark", re.compile(r":=|[=|(),]")),
)
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|([0-7]{3})|U([0-9a-fA-F]{8})|([av'])|(.))", re.DOTALL)
_WORDS: dict[str, Any] = {"true": True, "false": False, "nil": None}


@dataclass(frozen=True, slots=True)
class Token:
    """value: a constant's value, else the text. spaced: white space stands before it."""

    kind: Kind
    value: Any
    line: int
    spaced: bool = False

    def is_mark(self, *marks: str) -> bool:
        return self.kind == "mark" and self.value in marks


def tokens(text: str) -> Iterator[Token]:
    """Text and actions in turn; an action is open, its tokens, close. Raises TemplateError."""
    at, line, trim = 0, 1, False
    while at < len(text):
        start = text.find("{{", at)
        end = len(text) if start < 0 else start
        piece = text[at:end]
        shown = piece.lstrip(_SPACES) if trim else piece
        trim_before = text.startswith("{{-", end) and text[end + 3 : end + 4] in tuple(_SPACES)
        if trim_before:
            shown = shown.rstrip(_SPACES)
        if shown:
            yield Token("text", shown, line)
        line += piece.count("\n")
        if start < 0:
            return
        inner, at, trim = _action(text, end + (3 if trim_before else 2), line)
        yield from inner
        line += text.count("\n", end, at)


def _action(text: str, at: int, line: int) -> tuple[list[Token], int, bool]:
    """The action's tokens (none for a comment), where it ends, and whether it trims after."""
    # A comment begins right behind the delimiter, or behind the blank that its trim mark needs.
    comment = _COMMENT.match(text, at + (text[at - 1] == "-"))
    if comment is not None:
        end, trim = _close(text, comment.end())
        if end < 0:
            raise TemplateError(line, "a comment must end with */}}")
        return [], end, trim
    found = [Token("open", "{{", line)]
    spaced = False
    while True:
        end, trim = _close(text, at)
        if end >= 0:
            found.append(Token("close", "}}", line))
            return found, end, trim
        if at >= len(text):
            raise TemplateError(found[0].line, "unclosed action; it ends with }}")
        if text[at] in _SPACES:
            line += text[at] == "\n"
            spaced, at = True, at + 1
            continue
        token, at = _token(text, at, line, spaced)
        line += text.count("\n", at - 1, at) if token.kind == "constant" else 0
        found.append(token)
        spaced = False


def _close(text: str, at: int) -> tuple[int, bool]:
    """Where the action ends if }} or ` -}}` stands here, else -1; and whether it trims."""
    if text.startswith("}}", at):
        return at + 2, False
    trimmed = _TRIM_CLOSE.match(text, at)
    return (trimmed.end(), True) if trimmed else (-1, False)


def _token(text: str, at: int, line: int, spaced: bool) -> tuple[Token, int]:
    for name, pattern in _TOKENS:
        match = pattern.match(text, at)
        if match is not None:
            return _made(name, match[0], line, spaced), match.end()
    if text[at] in "\"`'":
        raise TemplateError(line, "unterminated quoted string")
    if text.startswith("/*", at):
        raise TemplateError(line, "a comment begins right at {{/* and ends at */}}")
    raise TemplateError(line, f"unrecognized character in action: {text[at]!r}")


def _made(name: str, text: str, line: int, spaced: bool) -> Token:
    if name == "word":
        if text in _WORDS:
            return Token("constant", _WORDS[text], line, spaced)
        return Token("word", text, line, spaced)
    if name == "field":
        return Token("field", text[1:], line, spaced)
    if name == "variable":
        return Token("variable", text[1:], line, spaced)
    if name == "dot":
        return Token("dot", text, line, spaced)
    if name == "mark":
        return Token("mark", text, line, spaced)
    return Token("constant", _constant(name, text, line), line, spaced)


def _constant(name: str, text: str, line: int) -> Any:
    try:
        if name == "raw":
            return text[1:-1]
        if name == "number":
            return _number(text)
        if name == "string":
            return _unquote(text)
        return ord(_unquote(f'"{text[1:-1]}"'))
    except (ValueError, TypeError) as err:
        raise TemplateError(line, f"{text} is no valid constant") from err


def _number(text: str) -> int | float:
    plain = text.replace("_", "").lower()
    if "x" in plain or not any(mark in plain for mark in ".e"):
        return int(plain, 0) if plain.lstrip("+-")[:1] == "0" and len(plain) > 1 else int(plain)
    return float(plain)


def _unquote(text: str) -> str:
    """A Go string literal's value: JSON's escapes and Go's own."""
    value = json.loads(_ESCAPE.sub(_json_escape, text).replace("\t", "\\t"))
    return str(value)


def _json_escape(match: "re.Match[str]") -> str:
    hexadecimal, octal, wide, single, _ = match.groups()
    if single:
        return {"a": "\\u0007", "v": "\\u000b", "'": "'"}[single]
    code = int(hexadecimal or wide or "0", 16) if hexadecimal or wide else None
    if octal:
        code = int(octal, 8)
    return match[0] if code is None else json.dumps(chr(code))[1:-1]
