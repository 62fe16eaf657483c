"""Times and label sets as they look in the API's and the messages' JSON."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

ZERO_TIME = "0001-01-01T00:00:00Z"  # Go's "no time"

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_time(text: object) -> float | None:
    """Unix seconds of an RFC 3339 time; None for Go's zero time. ValueError for anything else."""
    if not isinstance(text, str) or not _RFC3339.fullmatch(text):
        raise ValueError(f"{text!r} is no time; write it as in 2024-05-01T12:00:00Z")
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError as err:
        raise ValueError(f"{text!r} is no time: {err}") from err
    return None if moment.year == 1 else (moment - _EPOCH).total_seconds()


def format_time(at: float, *, digits: int = 6) -> str:
    """RFC 3339 in UTC without zeros at the end, as Go prints a time."""
    text, _, fraction = _moment(at).isoformat(timespec="microseconds")[:26].partition(".")
    fraction = fraction[:digits].rstrip("0")
    return f"{text}.{fraction}Z" if fraction else f"{text}Z"


def format_millis(at: float) -> str:
    """RFC 3339 in UTC with exactly three decimals, as the API's answers have it."""
    return _moment(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _moment(at: float) -> datetime:
    """Times beyond what a datetime can hold end at its borders."""
    bounded = min(max(at, -62_135_596_800.0), 253_402_300_799.0)
    return _EPOCH + timedelta(microseconds=round(bounded * 1e6))


def label_set_text(labels: Mapping[str, str]) -> str:
    """A label set as it stands in a group key: `{a="b", c="d"}`."""
    parts = (f"{name}={_go_quote(value)}" for name, value in sorted(labels.items()))
    return "{" + ", ".join(parts) + "}"


def _go_quote(text: str) -> str:
    """Go's strconv.Quote."""
    named = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + "".join(named.get(c) or _visible(c) for c in text) + '"'


def _visible(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
