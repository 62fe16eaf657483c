"""What a message's templates see: values with a fixed set of fields each, as Alertmanager has."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from fleetpulse.gotemplate.printing import show
from fleetpulse.gotemplate.times import GoTime
from fleetpulse.gotemplate.values import GoFunction, Struct, strings, table


class KV(dict[str, str], Struct):
    """Labels or annotations; a name that is not there is an empty text."""

    go_type: ClassVar[str] = "template.KV"
    methods = table(
        GoFunction("SortedPairs", (), lambda self: self.pairs()),
        GoFunction("Names", (), lambda self: self.pairs().names()),
        GoFunction("Values", (), lambda self: self.pairs().values()),
        GoFunction("Remove", (strings,), lambda self, names: self.without(names)),
        GoFunction("String", (), lambda self: self.text()),
    )

    def field(self, name: str) -> str:
        return self.get(name, "")

    def text(self) -> str:
        return self.pairs().text()

    def pairs(self) -> "Pairs":
        """Sorted by name, alertname first."""
        names = sorted(self, key=lambda name: (name != "alertname", name))
        return Pairs(Pair(Name=name, Value=self[name]) for name in names)

    def without(self, names: Iterable[str]) -> "KV":
        gone = set(names)
        return KV({name: value for name, value in self.items() if name not in gone})


class Record(Struct):
    """A value with fixed fields: another one is a mistake in the template.

    The bridge's own templates, which are Jinja's, come to the fields by [].
    """

    __slots__ = ("fields",)

    def __init__(self, **fields: Any) -> None:
        self.fields = fields

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]

    def field(self, name: str) -> Any:
        return self.fields[name]

    def known(self) -> Iterable[str]:
        return self.fields

    def text(self) -> str:
        return "{" + " ".join(map(show, self.fields.values())) + "}"


class Data(Record):
    __slots__ = ()
    go_type: ClassVar[str] = "*template.Data"


class Alert(Record):
    __slots__ = ()
    go_type: ClassVar[str] = "template.Alert"


class Pair(Record):
    __slots__ = ()
    go_type: ClassVar[str] = "template.Pair"


class Pairs(list[Pair], Struct):
    """Names and values in order."""

    go_type: ClassVar[str] = "template.Pairs"
    methods = table(
        GoFunction("Names", (), lambda self: self.names()),
        GoFunction("Values", (), lambda self: self.values()),
        GoFunction("String", (), lambda self: self.text()),
    )

    def names(self) -> list[str]:
        return [pair["Name"] for pair in self]

    def values(self) -> list[str]:
        return [pair["Value"] for pair in self]

    def text(self) -> str:
        return ", ".join(f"{pair['Name']}={pair['Value']}" for pair in self)


class Alerts(list[Alert], Struct):
    go_type: ClassVar[str] = "template.Alerts"
    methods = table(
        GoFunction("Firing", (), lambda self: self.with_status("firing")),
        GoFunction("Resolved", (), lambda self: self.with_status("resolved")),
    )

    def with_status(self, status: str) -> "Alerts":
        return Alerts(alert for alert in self if alert["Status"] == status)


def template_data(payload: Mapping[str, Any]) -> Data:
    """The data of a message (see payload.py) under the names that templates use."""
    return Data(
        Receiver=payload["receiver"],
        Status=payload["status"],
        Alerts=Alerts(_alert(alert) for alert in payload["alerts"]),
        GroupLabels=KV(payload["groupLabels"]),
        CommonLabels=KV(payload["commonLabels"]),
        CommonAnnotations=KV(payload["commonAnnotations"]),
        ExternalURL=payload["externalURL"],
    )


def _alert(alert: Mapping[str, Any]) -> Alert:
    return Alert(
        Status=alert["status"],
        Labels=KV(alert["labels"]),
        Annotations=KV(alert["annotations"]),
        StartsAt=GoTime(datetime.fromisoformat(alert["startsAt"])),
        EndsAt=GoTime(datetime.fromisoformat(alert["endsAt"])),
        GeneratorURL=alert["generatorURL"],
        Fingerprint=alert["fingerprint"],
    )
