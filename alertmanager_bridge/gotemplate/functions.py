"""The functions that templates may call: Go's own and Alertmanager's."""

import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote_plus

from alertmanager_bridge.gotemplate.values import KV, Pairs, Time
from fleetpulse.regex import compile_pattern, expand

_VERB = re.compile(r"%([-+ 0#]*)(\d*)(\.\d+)?([a-zA-Z%])")
_MAX_WIDTH = 1000


class SafeHtml(str):
    """Text that is HTML already and is not escaped again."""

    __slots__ = ()


def show(value: object) -> str:
    """A value as Go prints it."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (KV, Pairs, str)):
        return str(value)
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{show(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, Sequence):
        return "[" + " ".join(map(show, value)) + "]"
    return str(value)


def truth(value: object) -> bool:
    return True if isinstance(value, Time) else bool(value)


def _same_kind(a: Any, b: Any) -> None:
    number = (int, float)
    if isinstance(a, str) != isinstance(b, str) and not (a is None or b is None):
        raise ValueError("incompatible types for comparison")
    if isinstance(a, number) != isinstance(b, number) and not (a is None or b is None):
        raise ValueError("incompatible types for comparison")


def _eq(first: Any, *others: Any) -> bool:
    if not others:
        raise ValueError("eq needs something to compare with")
    for other in others:
        _same_kind(first, other)
    return first in others


def _less(a: Any, b: Any) -> bool:
    _same_kind(a, b)
    if not isinstance(a, (str, int, float)):
        raise ValueError("lt, le, gt and ge compare numbers or texts")
    return bool(a < b)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, KV):
            value = value.get(str(key), "")
        elif isinstance(value, (list, str)) and isinstance(key, int):
            if not 0 <= key < len(value):
                raise ValueError(f"index out of range: {key}")
            value = value[key]
        else:
            raise ValueError("index needs labels and a name, or a list and a number")
    return value


def _slice(value: Any, *bounds: int) -> Any:
    if not isinstance(value, (list, str)) or len(bounds) > 2:
        raise ValueError("slice needs a list or a text, and at most two numbers")
    start, *end = bounds or (0,)
    return value[start : end[0] if end else None]


def _length(value: Any) -> int:
    if not isinstance(value, (str, Sequence, Mapping)):
        raise ValueError("len needs a list, labels or a text")
    return len(value.encode()) if isinstance(value, str) else len(value)


def _printf(layout: str, *arguments: Any) -> str:
    left = list(arguments)

    def verb(found: re.Match[str]) -> str:
        flags, width, precision, letter = found.groups()
        if letter == "%":
            return "%"
        if not left:
            return f"%!{letter}(MISSING)"
        if int(width or 0) > _MAX_WIDTH or int((precision or ".0")[1:] or 0) > _MAX_WIDTH:
            raise ValueError("printf: the width is too large")
        return _verb(left.pop(0), f"%{flags}{width}{precision or ''}", letter)

    return _VERB.sub(verb, layout)


def _verb(value: Any, layout: str, letter: str) -> str:
    if letter in "sv":
        return f"{layout}s" % show(value)
    if letter == "q":
        return json.dumps(show(value), ensure_ascii=False)
    if letter == "t" and isinstance(value, bool):
        return show(value)
    if letter in "dxXo" and isinstance(value, int):
        return f"{layout}{letter}" % value
    if letter in "feEgG" and isinstance(value, (int, float)):
        return f"{layout}{letter}" % value
    return f"%!{letter}({show(value)})"


def _join(separator: str, parts: Sequence[str]) -> str:
    if isinstance(parts, str):
        raise ValueError("join needs a list")
    return separator.join(map(show, parts))


def _replace(pattern: str, replacement: str, text: str) -> str:
    compiled = compile_pattern(pattern)
    result, position = [], 0
    while position <= len(text):
        found: Any = compiled.search(text[position:])
        if found is None:
            break
        result += [text[position : position + found.start()], expand(found, replacement)]
        step = found.end()
        if found.end() == found.start():
            result.append(text[position + step : position + step + 1])
            step += 1
        position += step
    return "".join(result) + text[position:]


def _print(*values: Any) -> str:
    """Go's Sprint: a space between two neighbours of which none is a text."""
    text = ""
    for index, value in enumerate(values):
        both = index and not isinstance(value, str) and not isinstance(values[index - 1], str)
        text += (" " if both else "") + show(value)
    return text


# `and` and `or` are not here: they look at their arguments one by one (see evaluate.py).
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": lambda *values: values[-1],
    "or": lambda *values: values[-1],
    "not": lambda value: not truth(value),
    "eq": _eq,
    "ne": lambda a, b: not _eq(a, b),
    "lt": _less,
    "gt": lambda a, b: _less(b, a),
    "le": lambda a, b: not _less(b, a),
    "ge": lambda a, b: not _less(a, b),
    "len": _length,
    "index": _index,
    "slice": _slice,
    "print": _print,
    "println": lambda *values: " ".join(map(show, values)) + "\n",
    "printf": _printf,
    "html": lambda *values: html.escape(_print(*values)),
    "urlquery": lambda *values: quote_plus(_print(*values)),
    "toUpper": lambda text: str(text).upper(),
    "toLower": lambda text: str(text).lower(),
    "title": lambda text: re.sub(r"[^\W_]+", lambda word: word[0].capitalize(), str(text)),
    "trimSpace": lambda text: str(text).strip(),
    "join": _join,
    "match": lambda pattern, text: compile_pattern(pattern).search(str(text)) is not None,
    "reReplaceAll": _replace,
    "safeHtml": SafeHtml,
    "safeUrl": SafeHtml,
    "stringSlice": lambda *values: [str(value) for value in values],
    "toJson": lambda value: json.dumps(value, ensure_ascii=False, default=str),
    "date": lambda layout, time: time.format(layout),
}
