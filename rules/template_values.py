"""What a rule's templates are about: the alert and the answers of queries."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from fleetpulse.gotemplate.printing import show
from fleetpulse.gotemplate.values import Struct


@dataclass(frozen=True, slots=True)
class AlertData(Struct):
    """The alert, as `.Labels`, `.Value` and their like."""

    labels: Mapping[str, str]
    value: float
    external_labels: Mapping[str, str]
    external_url: str
    go_type: ClassVar[str] = "struct { Labels; ExternalLabels; ExternalURL; Value }"

    def field(self, name: str) -> Any:
        return getattr(self, _ALERT_FIELDS[name])

    def known(self) -> Iterable[str]:
        return _ALERT_FIELDS

    def variables(self) -> dict[str, Any]:
        """`$labels`, `$value` and so on, which stand declared in every template."""
        return {
            "labels": self.labels,
            "externalLabels": self.external_labels,
            "externalURL": self.external_url,
            "value": self.value,
        }

    def text(self) -> str:
        return "{...}"


_ALERT_FIELDS = {
    "Labels": "labels",
    "ExternalLabels": "external_labels",
    "ExternalURL": "external_url",
    "Value": "value",
}


@dataclass(frozen=True, slots=True)
class QuerySample(Struct):
    """One series of a query's answer: `.Labels` and `.Value`."""

    labels: Mapping[str, str]
    value: float
    go_type: ClassVar[str] = "*template.sample"

    def field(self, name: str) -> Any:
        return {"Labels": self.labels, "Value": self.value}[name]

    def known(self) -> Iterable[str]:
        return ("Labels", "Value")

    def text(self) -> str:
        return f"{{{show(self.labels)} {show(self.value)}}}"


class QueryResult(list[QuerySample], Struct):
    """The series of a query's answer."""

    go_type: ClassVar[str] = "template.queryResult"
