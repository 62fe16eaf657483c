"""The values of a template that have fields and methods: the alert, samples, times, durations."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from rules.template_eval import GoFunction
from rules.template_format import format_float

_NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class AlertData:
    """What a rule's templates are about: `.Labels`, `.Value` and their like."""

    labels: Mapping[str, str]
    value: float
    external_labels: Mapping[str, str]
    external_url: str
    go_type: str = "struct { Labels; ExternalLabels; ExternalURL; Value }"

    def field(self, name: str) -> Any:
        return {
            "Labels": self.labels,
            "ExternalLabels": self.external_labels,
            "ExternalURL": self.external_url,
            "Value": self.value,
        }[name]

    def method(self, name: str) -> GoFunction:
        raise KeyError(name)

    def variables(self) -> dict[str, Any]:
        """`$labels`, `$value` and so on, which stand declared in every template."""
        return {
            "labels": self.labels,
            "externalLabels": self.external_labels,
            "externalURL": self.external_url,
            "value": self.value,
        }

    def __str__(self) -> str:
        return "{...}"


@dataclass(frozen=True, slots=True)
class QuerySample:
    """One series of a query's answer: `.Labels` and `.Value`."""

    labels: Mapping[str, str]
    value: float
    go_type: str = "*template.sample"

    def field(self, name: str) -> Any:
        return {"Labels": self.labels, "Value": self.value}[name]

    def method(self, name: str) -> GoFunction:
        raise KeyError(name)

    def __str__(self) -> str:
        inner = " ".join(f"{key}:{value}" for key, value in sorted(self.labels.items()))
        return f"{{map[{inner}] {format_float(self.value)}}}"


@dataclass(frozen=True, slots=True)
class GoDuration:
    """time.Duration, held in nanoseconds."""

    nanoseconds: int
    go_type: str = "*time.Duration"

    @classmethod
    def of(cls, seconds: float) -> "GoDuration":
        if not math.isfinite(seconds):
            raise ValueError("value is NaN or Inf")
        return cls(int(seconds * _NANO))

    @property
    def seconds(self) -> float:
        return self.nanoseconds / _NANO

    def field(self, name: str) -> Any:
        raise KeyError(name)

    def method(self, name: str) -> GoFunction:
        units = {"Hours": 3600, "Minutes": 60, "Seconds": 1}
        if name in units:
            return lambda: self.seconds / units[name]
        if name == "Milliseconds":
            return lambda: self.nanoseconds // 1_000_000
        return {"String": self.__str__}[name]

    def __str__(self) -> str:
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


# Go's reference time (Mon Jan 2 15:04:05 2006) in pieces, longest first, and strftime's for it.
_LAYOUT = (
    ("January", "%B"), ("Monday", "%A"), ("-07:00", "+00:00"), ("-0700", "+0000"),
    ("Z07:00", "Z"), ("2006", "%Y"), ("Jan", "%b"), ("Mon", "%a"), ("MST", "UTC"),
    (".000", ".%L"), ("01", "%m"), ("02", "%d"), ("03", "%I"), ("04", "%M"), ("05", "%S"),
    ("06", "%y"), ("15", "%H"), ("PM", "%p"), ("_2", "%e"), ("1", "%-m"), ("2", "%-d"),
    ("3", "%-I"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GoTime:
    """time.Time in UTC."""

    at: datetime
    go_type: str = "*time.Time"

    def field(self, name: str) -> Any:
        raise KeyError(name)

    def method(self, name: str) -> GoFunction:
        methods: dict[str, GoFunction] = {
            "Format": self.format,
            "Add": self.add,
            "Sub": self.sub,
            "Unix": lambda: int(self.at.timestamp() // 1),
            "UnixMilli": lambda: round(self.at.timestamp() * 1000),
            "Year": lambda: self.at.year,
            "Day": lambda: self.at.day,
            "Hour": lambda: self.at.hour,
            "Minute": lambda: self.at.minute,
            "Second": lambda: self.at.second,
            "Weekday": lambda: f"{self.at:%A}",
            "Month": lambda: f"{self.at:%B}",
            "UTC": lambda: self,
            "String": self.__str__,
        }
        return methods[name]

    def add(self, duration: Any) -> "GoTime":
        if not isinstance(duration, GoDuration):
            raise ValueError("Add takes a duration; write toDuration before it")
        return GoTime(self.at + timedelta(microseconds=duration.nanoseconds / 1000))

    def sub(self, other: Any) -> GoDuration:
        if not isinstance(other, GoTime):
            raise ValueError("Sub takes a time; write toTime before it")
        return GoDuration(round((self.at - other.at).total_seconds() * _NANO))

    def format(self, layout: Any) -> str:
        """The time in the way of Go's reference time, as in `2006-01-02 15:04:05`."""
        text, out = str(layout), []
        while text:
            for piece, directive in _LAYOUT:
                if text.startswith(piece):
                    out.append(self._piece(directive))
                    text = text[len(piece) :]
                    break
            else:
                out.append(text[0])
                text = text[1:]
        return "".join(out)

    def _piece(self, directive: str) -> str:
        if directive == ".%L":
            return f".{self.at.microsecond // 1000:03d}"
        return self.at.strftime(directive) if directive.startswith("%") else directive

    def __str__(self) -> str:
        fraction = f"{self.at.microsecond:06d}".rstrip("0")
        dot = "." if fraction else ""
        return f"{self.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}{dot}{fraction} +0000 UTC"
