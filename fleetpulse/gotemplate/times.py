"""Go's time.Time and time.Duration, as far as templates use them."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from fleetpulse.gotemplate.printing import format_float
from fleetpulse.gotemplate.values import GoFunction, Struct, string, table, wrong_type

_NANO = 1_000_000_000
_ZERO = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class GoDuration(Struct):
    """time.Duration, held in nanoseconds."""

    nanoseconds: int
    go_type: ClassVar[str] = "*time.Duration"

    @classmethod
    def of(cls, seconds: float) -> "GoDuration":
        if not math.isfinite(seconds):
            raise ValueError("value is NaN or Inf")
        return cls(int(seconds * _NANO))

    @property
    def seconds(self) -> float:
        return self.nanoseconds / _NANO

    methods = table(
        GoFunction("Hours", (), lambda self: self.seconds / 3600),
        GoFunction("Minutes", (), lambda self: self.seconds / 60),
        GoFunction("Seconds", (), lambda self: self.seconds),
        GoFunction("Milliseconds", (), lambda self: self.nanoseconds // 1_000_000),
        GoFunction("String", (), lambda self: self.text()),
    )

    def text(self) -> str:
        """Go's form: 1h30m0s, 1.5s, 300ms."""
        amount = abs(self.nanoseconds)
        sign = "-" if self.nanoseconds < 0 else ""
        if amount == 0:
            return "0s"
        if amount < _NANO:
            for unit, size in (("ms", 1_000_000), ("µs", 1_000), ("ns", 1)):
                if amount >= size:
                    return f"{sign}{format_float(amount / size, 'f')}{unit}"
        whole, rest = divmod(amount, 60 * _NANO)
        hours, minutes = divmod(whole, 60)
        text = f"{format_float(rest / _NANO, 'f')}s"
        if hours:
            return f"{sign}{hours}h{minutes}m{text}"
        return f"{sign}{minutes}m{text}" if minutes else f"{sign}{text}"


def _duration(value: Any) -> timedelta:
    """A duration, or the nanoseconds that Go takes a plain number for: `.Add 3600e9`."""
    if isinstance(value, GoDuration):
        return timedelta(microseconds=value.nanoseconds / 1000)
    if type(value) in (int, float) and math.isfinite(value) and value == int(value):
        return timedelta(microseconds=value / 1000)
    raise ValueError("Add takes a duration, or nanoseconds as in 3600e9")


def moment(value: Any) -> datetime:
    """A kind of argument: a time."""
    if not isinstance(value, GoTime):
        raise wrong_type("time.Time", value)
    return value.at


@dataclass(frozen=True, slots=True)
class GoTime(Struct):
    """time.Time. Go's zero time is the first of January of year 1."""

    at: datetime
    go_type: ClassVar[str] = "*time.Time"

    methods = table(
        GoFunction("Format", (string,), lambda self, layout: format_time(self.at, layout)),
        GoFunction("Add", (_duration,), lambda self, delta: GoTime(self.at + delta)),
        GoFunction("Sub", (moment,), lambda self, other: _between(self.at, other)),
        GoFunction("Before", (moment,), lambda self, other: self.at < other),
        GoFunction("After", (moment,), lambda self, other: self.at > other),
        GoFunction("Equal", (moment,), lambda self, other: self.at == other),
        GoFunction("IsZero", (), lambda self: self.at == _ZERO),
        GoFunction("Unix", (), lambda self: int(self.at.timestamp() // 1)),
        GoFunction("UnixMilli", (), lambda self: round(self.at.timestamp() * 1000)),
        GoFunction("Year", (), lambda self: self.at.year),
        GoFunction("Day", (), lambda self: self.at.day),
        GoFunction("Hour", (), lambda self: self.at.hour),
        GoFunction("Minute", (), lambda self: self.at.minute),
        GoFunction("Second", (), lambda self: self.at.second),
        GoFunction("Weekday", (), lambda self: f"{self.at:%A}"),
        GoFunction("Month", (), lambda self: f"{self.at:%B}"),
        GoFunction("UTC", (), lambda self: GoTime(self.at.astimezone(UTC))),
        GoFunction("Local", (), lambda self: GoTime(self.at.astimezone())),
        GoFunction("String", (), lambda self: self.text()),
    )

    def text(self) -> str:
        fraction = f"{self.at.microsecond:06d}".rstrip("0")
        dot = "." if fraction else ""
        start = format_time(self.at, "2006-01-02 15:04:05")
        return f"{start}{dot}{fraction} {format_time(self.at, '-0700 MST')}"

    def __str__(self) -> str:
        return self.text()


def _between(left: datetime, right: datetime) -> GoDuration:
    return GoDuration((left - right) // timedelta(microseconds=1) * 1000)


def _zone(at: datetime, colon: str) -> str:
    offset = at.strftime("%z")
    return f"{offset[:3]}{colon}{offset[3:5]}"


def _zone_or_z(at: datetime, colon: str) -> str:
    return "Z" if not at.utcoffset() else _zone(at, colon)


# Go's reference time (Mon Jan 2 15:04:05 2006) in pieces, and what each stands for.
_LAYOUT: dict[str, Callable[[datetime], str]] = {
    "January": lambda at: f"{at:%B}",
    "Jan": lambda at: f"{at:%b}",
    "Monday": lambda at: f"{at:%A}",
    "Mon": lambda at: f"{at:%a}",
    "2006": lambda at: f"{at.year:04d}",
    "06": lambda at: f"{at.year % 100:02d}",
    "01": lambda at: f"{at.month:02d}",
    "1": lambda at: str(at.month),
    "002": lambda at: f"{at:%j}",
    "02": lambda at: f"{at.day:02d}",
    "_2": lambda at: f"{at.day:2d}",
    "2": lambda at: str(at.day),
    "15": lambda at: f"{at.hour:02d}",
    "03": lambda at: f"{at.hour % 12 or 12:02d}",
    "3": lambda at: str(at.hour % 12 or 12),
    "04": lambda at: f"{at.minute:02d}",
    "4": lambda at: str(at.minute),
    "05": lambda at: f"{at.second:02d}",
    "5": lambda at: str(at.second),
    "PM": lambda at: "PM" if at.hour >= 12 else "AM",
    "pm": lambda at: "pm" if at.hour >= 12 else "am",
    "MST": lambda at: at.tzname() or "",
    "Z07:00": lambda at: _zone_or_z(at, ":"),
    "Z0700": lambda at: _zone_or_z(at, ""),
    "-07:00": lambda at: _zone(at, ":"),
    "-0700": lambda at: _zone(at, ""),
    "-07": lambda at: _zone(at, "")[:3],
}
_NOT_BEFORE = {"Jan": "(?![a-z])", "Mon": "(?![a-z])", "_2": "(?!006)"}
# .000 and .999 are the second's fraction, unless more digits follow.
_PIECE = re.compile(
    "|".join(
        re.escape(piece) + _NOT_BEFORE.get(piece, "")
        for piece in sorted(_LAYOUT, key=len, reverse=True)
    )
    + r"|[.,](?:0+|9+)(?!\d)"
)


def format_time(at: datetime, layout: str) -> str:
    """at in the way of Go's reference time, as in `2006-01-02 15:04:05`."""
    return _PIECE.sub(lambda found: _piece(at, found[0]), layout)


def _piece(at: datetime, piece: str) -> str:
    if piece in _LAYOUT:
        return _LAYOUT[piece](at)
    digits = f"{at.microsecond * 1000:09d}"[: len(piece) - 1]
    if piece[1] == "9":
        digits = digits.rstrip("0")
    return piece[0] + digits if digits else ""
