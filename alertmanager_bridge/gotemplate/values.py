"""What templates see: plain values with a fixed set of fields each, as Alertmanager has them."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

# Go's reference time, by which its layouts are written, as strftime's codes.
_LAYOUT = {
    "Monday": "%A", "Mon": "%a", "January": "%B", "Jan": "%b", "2006": "%Y", "06": "%y",
    "01": "%m", "02": "%d", "15": "%H", "03": "%I", "04": "%M", "05": "%S", "PM": "%p",
    "MST": "%Z", "-0700": "%z",
}  # fmt: skip
_LAYOUT_PART = re.compile(
    "|".join(sorted(_LAYOUT, key=len, reverse=True)) + r"|Z07:00|-07:00|\b[1-5]\b"
)


class KV(dict[str, str]):
    """Labels or annotations; a name that is not there is an empty text."""

    def pairs(self) -> "list[Record]":
        """Sorted by name, alertname first."""
        names = sorted(self, key=lambda name: (name != "alertname", name))
        return Pairs(Record(Name=name, Value=self[name]) for name in names)

    def without(self, names: Iterable[str]) -> "KV":
        gone = set(names)
        return KV({name: value for name, value in self.items() if name not in gone})

    def __str__(self) -> str:
        return ", ".join(f"{pair['Name']}={pair['Value']}" for pair in self.pairs())


class Record(dict[str, Any]):
    """A value with fixed fields: another one is a mistake in the template."""


class Pairs(list["Record"]):
    """Names and values in order."""

    def __str__(self) -> str:
        return ", ".join(f"{pair['Name']}={pair['Value']}" for pair in self)


class Alerts(list["Record"]):
    def with_status(self, status: str) -> "Alerts":
        return Alerts(alert for alert in self if alert["Status"] == status)


class Time:
    """A moment. The zero time is Go's: the first of January of year 1."""

    def __init__(self, moment: datetime | None) -> None:
        self.moment = moment or datetime(1, 1, 1, tzinfo=UTC)

    def format(self, layout: str) -> str:
        return _LAYOUT_PART.sub(lambda found: self._part(found[0]), layout)

    def _part(self, part: str) -> str:
        moment = self.moment
        if part in _LAYOUT:
            return moment.strftime(_LAYOUT[part])
        if part in ("Z07:00", "-07:00"):
            zone = moment.strftime("%z")
            return "Z" if part[0] == "Z" and zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
        hour12 = moment.hour % 12 or 12
        numbers = (moment.month, moment.day, hour12, moment.minute, moment.second)
        return str(numbers[int(part) - 1])

    def __str__(self) -> str:
        return self.moment.strftime("%Y-%m-%d %H:%M:%S %z %Z")


_METHODS: dict[tuple[type, str], Any] = {
    (KV, "SortedPairs"): KV.pairs,
    (KV, "Names"): lambda kv: [pair["Name"] for pair in kv.pairs()],
    (KV, "Values"): lambda kv: [pair["Value"] for pair in kv.pairs()],
    (KV, "Remove"): KV.without,
    (KV, "String"): str,
    (Pairs, "Names"): lambda pairs: [pair["Name"] for pair in pairs],
    (Pairs, "Values"): lambda pairs: [pair["Value"] for pair in pairs],
    (Alerts, "Firing"): lambda alerts: alerts.with_status("firing"),
    (Alerts, "Resolved"): lambda alerts: alerts.with_status("resolved"),
    (Time, "Format"): Time.format,
    (Time, "Unix"): lambda time: int(time.moment.timestamp()),
    (Time, "UTC"): lambda time: Time(time.moment.astimezone(UTC)),
    (Time, "Local"): lambda time: Time(time.moment.astimezone()),
    (Time, "IsZero"): lambda time: time.moment.year == 1,
    (Time, "String"): str,
}


def lookup(value: object, name: str, arguments: list[object]) -> object:
    """value.name, called with arguments where it is a method. ValueError where it has none."""
    method = _METHODS.get((type(value), name))
    if method is not None:
        try:
            return method(value, *arguments)
        except (TypeError, AttributeError) as err:
            raise ValueError(f".{name} does not take these arguments") from err
    if arguments:
        raise ValueError(f".{name} takes no arguments")
    if isinstance(value, Record):
        if name not in value:
            raise ValueError(f"there is no .{name} here; known: {', '.join(sorted(value))}")
        return value[name]
    if isinstance(value, KV):
        return value.get(name, "")
    raise ValueError(f".{name}: {type(value).__name__} has no such field")


def moment(text: str) -> datetime | None:
    """The time in an RFC 3339 text; None for Go's zero time."""
    parsed = datetime.fromisoformat(text)
    return None if parsed.year == 1 else parsed


def template_data(payload: Mapping[str, Any]) -> Record:
    """The data of a message (see payload.py) under the names that templates use."""
    return Record(
        Receiver=payload["receiver"],
        Status=payload["status"],
        Alerts=Alerts(_alert(alert) for alert in payload["alerts"]),
        GroupLabels=KV(payload["groupLabels"]),
        CommonLabels=KV(payload["commonLabels"]),
        CommonAnnotations=KV(payload["commonAnnotations"]),
        ExternalURL=payload["externalURL"],
    )


def _alert(alert: Mapping[str, Any]) -> Record:
    return Record(
        Status=alert["status"],
        Labels=KV(alert["labels"]),
        Annotations=KV(alert["annotations"]),
        StartsAt=Time(moment(alert["startsAt"])),
        EndsAt=Time(moment(alert["endsAt"])),
        GeneratorURL=alert["generatorURL"],
        Fingerprint=alert["fingerprint"],
    )
