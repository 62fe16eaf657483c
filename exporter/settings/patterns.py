"""Regular expressions as node_exporter takes them (Go's RE2 syntax), made Python's.

Syntax: https://github.com/google/re2/wiki/Syntax. As there, a pattern is looked for anywhere in a
name: who means the whole of it writes ^ and $.
"""

import re
from collections.abc import Callable

# ASCII: \d, \w, \s and \b are that in Go.
_FLAGS = re.ASCII

_TOKEN = re.compile(
    r"""(?sx)
      \\Q (?P<quoted>.*?) (?:\\E|\Z)
    | \\x\{ (?P<code>[0-9A-Fa-f]+) \}
    | (?P<escape> \\ (?: [pP](?:\{[^}]*\}|.)? | . ) )
    | (?P<set> \[ \^? \]? (?: \[:\^?\w+:\] | \\. | [^\]\\] )* \] )
    | \(\? (?P<flags> [a-zA-Z-]+ ) \)
    | \(\?< (?P<name> \w+ ) >
    | (?P<open> \( (?: \?[^)<:=!P]*: )? )
    | (?P<bar> \| )
    | (?P<close> \) )
    | (?P<other> . )
    """
)
_ATOM = r"\[:\^?\w+:\]|\\x\{\w+\}|\\.|."
_MEMBER = re.compile(rf"(?s)(?P<first>{_ATOM})(?:-(?P<last>{_ATOM}))?")
_POSIX = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7f", "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f", "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~",
    "punct": r"!-/:-@\[-`{-~", "space": r"\t\n\v\f\r ", "upper": "A-Z", "word": r"0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}  # fmt: skip


def pattern(value: object) -> re.Pattern[str]:
    """Compiled. ValueError says what Python does not take."""
    if isinstance(value, re.Pattern):
        return value
    if not isinstance(value, str):
        raise ValueError(f'{value!r} is no regular expression; write it in quotes: "{value}"')
    try:
        return re.compile(in_python(value), _FLAGS)
    except (re.error, OverflowError, RecursionError) as err:
        raise ValueError(f"{value!r} is no regular expression: {err}") from err
    except ValueError as err:
        raise ValueError(f"{value!r}: {err}") from err


def pattern_or_none(value: object) -> re.Pattern[str] | None:
    """As pattern(); nothing, or an empty text, is no pattern at all."""
    return None if value is None or value == "" else pattern(value)


def never_or(value: object) -> re.Pattern[str]:
    """As pattern(), of what is left out; an empty text leaves out nothing."""
    return pattern(value or "^$")


def whole_name(value: object) -> re.Pattern[str]:
    """As pattern(), but for all of a name, as node_exporter has it for systemd's units."""
    if isinstance(value, str):
        pattern(value)  # so that a fault shows what was written
        return pattern(f"^(?:{value})$")
    return pattern(value)


def in_python(go: str) -> str:
    """The same expression in Python's syntax; ValueError where there is none."""
    made, open_flags = [], [[]]  # type: tuple[list[str], list[list[str]]]
    for token in _TOKEN.finditer(go):
        kind = token.lastgroup or ""
        if kind == "flags":
            open_flags[-1].append(_flags(token["flags"]))
            made.append(open_flags[-1][-1])
        elif kind == "bar":  # Go's flags last to the end of the group, past its bars
            made.append(")" * len(open_flags[-1]) + "|" + "".join(open_flags[-1]))
        elif kind == "close" and len(open_flags) > 1:
            made.append(")" * len(open_flags.pop()) + ")")
        else:
            if kind in ("open", "name"):
                open_flags.append([])
            made.append(_WRITE[kind](token[kind]))
    return "".join(made) + ")" * len(open_flags[0])


def _flags(letters: str) -> str:
    """`(?i)` from here on becomes a group `(?i:`, since Python has it at the beginning only."""
    if "U" in letters:
        raise ValueError("(?U) is not known here; write *? for the shortest match")
    return f"(?{letters}:"


def _escape(text: str) -> str:
    if text[:2] in (r"\p", r"\P"):
        raise ValueError(rf"{text} is not known here; write the characters, as in [A-Za-z]")
    if text == r"\C":
        raise ValueError(r"\C is not known here; write . for one character")
    return r"\Z" if text == r"\z" else text


def _set(text: str) -> str:
    start = 2 if text[1] == "^" else 1
    members = _MEMBER.finditer(text[start:-1])
    inner = "".join("-".join(_atom(atom) for atom in one.groups() if atom) for one in members)
    return f"{text[:start]}{inner}]"


def _atom(text: str) -> str:
    """One character or class of a set."""
    if text.startswith("[:"):
        if text[2:-2] not in _POSIX:
            raise ValueError(f"{text} is not known here; write the characters")
        return _POSIX[text[2:-2]]
    if text.startswith("\\x{"):
        return _code(text[3:-1])
    if text.startswith("\\"):
        return _escape(text)
    # Python would close the set with ], and warns of what may mean more one day: [, &&, --.
    return f"\\{text}" if text in "[]&~|-" else text


def _other(text: str) -> str:
    if text == "[":
        raise ValueError("a set is not closed; write ], or \\[ for the character itself")
    return text


def _code(digits: str) -> str:
    try:
        return re.escape(chr(int(digits, 16)))
    except (ValueError, OverflowError) as err:
        raise ValueError(rf"\x{{{digits}}} is no character") from err


_WRITE: dict[str, Callable[[str], str]] = {
    "quoted": re.escape,
    "code": _code,
    "escape": _escape,
    "set": _set,
    "name": lambda name: f"(?P<{name}>",
    "open": str,
    "close": str,
    "other": _other,
}
