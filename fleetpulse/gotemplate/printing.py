"""Values as Go's fmt package prints them: what `{{ $value }}` and `printf` show in a template."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fleetpulse.gotemplate.values import Struct, go_type

# A verb: flags, width, precision, letter. Go's explicit argument indexes (%[1]d) are not taken.
_VERB = re.compile(r"%([+\-# 0]*)(\*|\d+)?(\.(?:\*|\d+)?)?(.)?", re.DOTALL)
# No annotation needs more, and a width of a million is a way to fill the memory.
_MAX_WIDTH = 1_000
_SHORTEST = -1
# The longest text of one value, unless the expansion's own bound is lower.
MAX_TEXT = 1 << 20


def format_float(value: float, verb: str = "g", precision: int = _SHORTEST) -> str:
    """strconv.FormatFloat. Verb e, f, g or their capitals; precision -1 is the shortest exact.

    The shortest `g` has an exponent below 1e-04 and from 1e+06 on: 123456, but 1.234567e+06.
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if precision != _SHORTEST:
        return f"{value:.{precision}{verb}}"
    sign, digits, exponent = _digits(value)
    scientific = verb in "eE" or (verb in "gG" and not -4 <= exponent < 6)
    if scientific:
        return sign + _scientific(digits, exponent, "E" if verb.isupper() else "e")
    return sign + _positional(digits, exponent)


def _digits(value: float) -> tuple[str, str, int]:
    """Sign, shortest exact digits, and the power of ten of the first digit."""
    # repr() is the shortest that reads back the same; only its layout differs from Go's.
    mantissa, _, power = repr(value).lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    leading = len(whole + fraction) - len(digits)
    exponent = len(whole) - 1 - leading + int(power or 0)
    sign = "-" if math.copysign(1, value) < 0 else ""
    return (sign, digits.rstrip("0"), exponent) if digits else (sign, "0", 0)


def _scientific(digits: str, exponent: int, letter: str) -> str:
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}{letter}{'-' if exponent < 0 else '+'}{abs(exponent):02d}"


def _positional(digits: str, exponent: int) -> str:
    if exponent < 0:
        return f"0.{'0' * (-exponent - 1)}{digits}"
    whole, fraction = digits[: exponent + 1].ljust(exponent + 1, "0"), digits[exponent + 1 :]
    return f"{whole}.{fraction}" if fraction else whole


def show(value: Any, most: int = MAX_TEXT) -> str:
    """What `{{ value }}` and the verb %v print. ValueError past most characters."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | int | float) or value is None:
        return _show_plain(value)
    parts: list[str] = []
    try:
        _show_into(value, parts, [most])
    except _TooLongError:
        raise ValueError(f"more than {most} characters to print") from None
    return "".join(parts)


class _TooLongError(Exception):
    """A value whose text has no end in sight."""


def _show_into(value: Any, parts: list[str], left: list[int]) -> None:
    """Adds the value's text. left: characters that may still come, for all levels together."""
    text = value.text() if isinstance(value, Struct) else None
    if text is not None:
        parts.append(text)
        left[0] -= len(text)
    elif isinstance(value, Mapping):
        _show_items(value.items(), "map[", parts, left)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        _show_items(((None, item) for item in value), "[", parts, left)
    else:
        parts.append(_show_plain(value))
        left[0] -= len(parts[-1])


def _show_items(
    items: Iterable[tuple[Any, Any]], start: str, parts: list[str], left: list[int]
) -> None:
    pairs = list(items)
    # Go prints maps in the order of their keys.
    ordered = pairs if not pairs or pairs[0][0] is None else sorted(pairs, key=lambda pair: pair[0])
    parts.append(start)
    for index, (key, item) in enumerate(ordered):
        prefix = (" " if index else "") + ("" if key is None else f"{key}:")
        parts.append(prefix)
        left[0] -= len(prefix) + 1
        if left[0] < 0:
            raise _TooLongError
        _show_into(item, parts, left)
    parts.append("]")


def _show_plain(value: Any) -> str:
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    return format_float(value) if isinstance(value, float) else str(value)


def sprint(values: Sequence[Any]) -> str:
    """fmt.Sprint: a blank between two neighbours of which neither is text."""
    parts: list[str] = []
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            parts.append(" ")
        parts.append(_show_nil(value))
    return "".join(parts)


def sprintln(values: Sequence[Any]) -> str:
    return " ".join(_show_nil(value) for value in values) + "\n"


def sprintf(template: str, values: Sequence[Any]) -> str:
    """fmt.Sprintf with Go's notes on what does not fit: `%!d(float64=1.5)`, `%!s(MISSING)`."""
    left = list(values)
    text = _VERB.sub(lambda match: _fill(match, left), template)
    if left:
        extra = ", ".join(f"{go_type(value)}={_show_nil(value)}" for value in left)
        text += f"%!(EXTRA {extra})"
    return text


def _show_nil(value: Any) -> str:
    return "<nil>" if value is None else show(value)


def _fill(match: "re.Match[str]", left: list[Any]) -> str:
    flags, width_text, precision_text, verb = match.groups()
    if verb is None:
        return "%!(NOVERB)"
    if verb == "%":
        return "%"
    width = _number(width_text, left)
    precision = _number(precision_text[1:] or "0", left) if precision_text else None
    if not left:
        return f"%!{verb}(MISSING)"
    value = left.pop(0)
    if (width is not None and abs(width) > _MAX_WIDTH) or (precision or 0) > _MAX_WIDTH:
        return "%!(BADWIDTH)"
    body = _convert(verb, flags, precision, value)
    if body is None:
        return f"%!{verb}({go_type(value)}={_show_nil(value)})"
    return _pad(body, flags, width, numeric=_is_number(value) and verb not in "vTq")


def _number(text: str | None, left: list[Any]) -> int | None:
    if text is None:
        return None
    if text != "*":
        return int(text)
    value = left.pop(0) if left else None
    return value if type(value) is int else _MAX_WIDTH + 1


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _convert(verb: str, flags: str, precision: int | None, value: Any) -> str | None:
    """The value under the verb, unpadded; None where the verb does not take such a value."""
    if verb == "T":
        return go_type(value)
    if verb == "v" and not _is_number(value):
        return _show_nil(value)
    if type(value) is int:
        return _convert_int(verb, flags, value)
    if type(value) is float:
        return _convert_float(verb, flags, precision, value)
    if isinstance(value, bool):
        return show(value) if verb == "t" else None
    return None if value is None else _convert_text(verb, precision, value)


def _convert_int(verb: str, flags: str, value: int) -> str | None:
    forms = {"d": "d", "v": "d", "x": "x", "X": "X", "o": "o", "b": "b"}
    if verb in forms:
        return _signed(format(value, forms[verb]), flags)
    if verb == "c" and 0 <= value < 0x110000:
        return chr(value)
    return f"U+{value:04X}" if verb == "U" else None


def _convert_float(verb: str, flags: str, precision: int | None, value: float) -> str | None:
    if verb == "v":
        verb = "g"
    elif verb not in "eEfFgG":
        return None
    if precision is None:
        # As fmt has it: the shortest for %g, six places for %e and %f.
        precision = _SHORTEST if verb in "gG" else 6
    text = format_float(value, verb, precision)
    return text if text.startswith("+") and "+" in flags else _signed(text, flags)


def _convert_text(verb: str, precision: int | None, value: Any) -> str | None:
    text = show(value)
    if precision is not None:
        text = text[:precision]
    if verb == "s":
        return text
    if verb == "q":
        return json.dumps(text, ensure_ascii=False)
    if verb in "xX":
        return text.encode().hex() if verb == "x" else text.encode().hex().upper()
    return None


def _signed(text: str, flags: str) -> str:
    if text[0] in "+-":
        return text
    return f"+{text}" if "+" in flags else f" {text}" if " " in flags else text


def _pad(body: str, flags: str, width: int | None, *, numeric: bool) -> str:
    if width is None or len(body) >= abs(width):
        return body
    if "-" in flags or width < 0:
        return body.ljust(abs(width))
    finite = body[-1:].isalnum() and body[-3:] not in ("Inf", "NaN")
    if "0" in flags and numeric and finite:
        return body.zfill(width)
    return body.rjust(width)
