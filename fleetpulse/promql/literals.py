"""What numbers, durations and strings of a query mean: Go's literals, as PromQL takes them."""

import math
import re

from fleetpulse.values import parse_duration

MAX_SECONDS = 2**63 / 1e9  # what Prometheus' durations can hold: about 292 years

_HEX = re.compile(r"0[xX]_?[0-9a-fA-F]+(?:_[0-9a-fA-F]+)*")
_OCTAL = re.compile(r"0_?[0-7]+(?:_[0-7]+)*")
_MISPLACED = re.compile(r"_(?!\d)|(?<!\d)_")
_ESCAPE = re.compile(
    r"""(?P<plain>[^\\]+)|\\(?:x(?P<hex>[0-9a-fA-F]{2})|(?P<octal>[0-7]{3})
    |u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})|(?P<simple>.))""",
    re.VERBOSE | re.DOTALL,
)
_SIMPLE_ESCAPES = dict(zip("abfnrtv\\", "\a\b\f\n\r\t\v\\", strict=True))
_QUOTED = {char: f"\\{letter}" for letter, char in _SIMPLE_ESCAPES.items()} | {'"': '\\"'}


def number(text: str) -> float:
    """A number, or a duration in seconds. ValueError where it is neither."""
    plain = plain_number(text)
    return parse_duration(text) if plain is None else plain


def is_number(text: str) -> bool:
    """Whether number() takes the text."""
    try:
        number(text)
    except ValueError:
        return False
    return True


def plain_number(text: str) -> float | None:
    """None where the text is no number, but perhaps a duration."""
    if text.lower() in ("inf", "nan"):
        return float(text)
    if _HEX.fullmatch(text):
        return float(int(text.replace("_", ""), 16))
    if _OCTAL.fullmatch(text):
        return float(int(text.replace("_", ""), 8))
    try:
        value = None if _MISPLACED.search(text) else float(text.replace("_", ""))
    except ValueError:
        return None
    # What float64 cannot hold is refused, as Go does.
    return None if value == math.inf else value


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, as Prometheus makes them of its nanoseconds: towards zero."""
    nanoseconds = round(seconds * 1e9)
    whole = abs(nanoseconds) // 1_000_000
    return whole if nanoseconds >= 0 else -whole


def unquote(literal: str) -> str:
    """What a string literal stands for; bytes that are not UTF-8 become lone surrogates.

    ValueError names the escape that is none.
    """
    quote, inner = literal[0], literal[1:-1]
    if quote == "`" or "\\" not in inner:
        return inner
    parts = (_escaped(found, quote) for found in _ESCAPE.finditer(inner))
    return b"".join(parts).decode(errors="surrogateescape")


def quote(text: str) -> str:
    """A literal that stands for the text, as Go's strconv.Quote writes it."""
    return f'"{"".join(map(_quoted, text))}"'


def is_utf8(text: str) -> bool:
    """Whether a string of a query is text, and no bytes that are not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(text: str) -> str:
    """The string for a message, what is not UTF-8 as an escape."""
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _escaped(found: "re.Match[str]", quote: str) -> bytes:
    """A run of plain characters or one escape; \\x and octal ones stand for a byte."""
    if found["plain"]:
        return found["plain"].encode()
    if found["hex"] or found["octal"]:
        value = int(found["hex"] or found["octal"], 16 if found["hex"] else 8)
        if value > 255:
            raise ValueError("escape sequence is an invalid Unicode code point")
        return bytes([value])
    if point := found["short"] or found["long"]:
        return _character(int(point, 16))
    simple = found["simple"]
    if simple == quote:
        return simple.encode()
    if simple not in _SIMPLE_ESCAPES:
        raise ValueError(f"unknown escape sequence U+{ord(simple):04X} '{simple}'")
    return _SIMPLE_ESCAPES[simple].encode()


def _character(point: int) -> bytes:
    if point > 0x10FFFF or 0xD800 <= point < 0xE000:
        raise ValueError("escape sequence is an invalid Unicode code point")
    return chr(point).encode()


def _quoted(char: str) -> str:
    """A character as it stands in a literal; a lone surrogate is a byte that is not UTF-8."""
    if char in _QUOTED:
        return _QUOTED[char]
    point = ord(char)
    if char.isprintable():
        return char
    if 0xDC80 <= point <= 0xDCFF:
        return f"\\x{point - 0xDC00:02x}"
    if point < 0x20 or point == 0x7F:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
