"""An alert as the bridge keeps it, and what two reports of the same alert make together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cmp_to_key
from typing import Any

from fleetpulse.model import Labels

# Seconds. A report that is older by more than it can have waited in another thread came after the
# clock was set back, and is the newer one.
_LATE = 60.0
_OFFSET, _PRIME, _MASK = 0xCBF29CE484222325, 0x100000001B3, 0xFFFFFFFFFFFFFFFF


def fingerprint(labels: Mapping[str, str]) -> str:
    """Alertmanager's identity of a label set: FNV-1a (64 bits) over the sorted labels, in hex.

    Names and values each end with the byte 0xff (prometheus/common, model/signature.go).
    """
    data = b"".join(
        name.encode() + b"\xff" + value.encode() + b"\xff" for name, value in sorted(labels.items())
    )
    digest = _OFFSET
    for byte in data:
        digest = ((digest ^ byte) * _PRIME) & _MASK
    return f"{digest:016x}"


@dataclass(frozen=True, slots=True)
class StoredAlert:
    """An alert with what the bridge adds. Times are Unix seconds; ends_at is always known.

    timed: ends_at is only the resolve time-out, which every later report moves on.
    """

    labels: Labels
    annotations: Labels
    starts_at: float
    ends_at: float
    updated_at: float
    timed: bool = False
    generator_url: str = ""
    fingerprint: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", fingerprint(dict(self.labels)))

    @property
    def name(self) -> str:
        return self.labels.get("alertname")

    def resolved(self, now: float) -> bool:
        return self.ends_at <= now

    def to_json(self) -> dict[str, Any]:
        return {
            "labels": dict(self.labels),
            "annotations": dict(self.annotations),
            "starts_at": self.starts_at,
            "ends_at": self.ends_at,
            "updated_at": self.updated_at,
            "timed": self.timed,
            "generator_url": self.generator_url,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "StoredAlert":
        labels, annotations = data["labels"], data["annotations"]
        rest = {key: data[key] for key in data if key not in ("labels", "annotations")}
        return cls(Labels.of(labels), Labels(sorted(annotations.items())), **rest)


def absorb(old: StoredAlert | None, new: StoredAlert, now: float) -> StoredAlert:
    """What is to be kept when new is reported and old is known.

    Alerts whose times overlap are one alert; others follow each other (Alertmanager's
    provider/mem and types.Alert.Merge).
    """
    if old is None or not _overlap(old, new):
        return new
    if 0 < old.updated_at - new.updated_at <= _LATE:
        old, new = new, old
    ends_at = new.ends_at
    # Of two explicit ends the later one holds; a mere time-out never outlives a newer report.
    both_over = new.resolved(now) and old.resolved(now)
    both_on = not new.resolved(now) and not old.timed
    if old.ends_at > new.ends_at and (both_over or both_on):
        ends_at = old.ends_at
    return replace(new, starts_at=min(old.starts_at, new.starts_at), ends_at=ends_at)


def _overlap(old: StoredAlert, new: StoredAlert) -> bool:
    return old.starts_at < new.ends_at < old.ends_at or old.starts_at < new.starts_at < old.ends_at


def _compare(a: Labels, b: Labels) -> int:
    """Alertmanager's order of label sets: smaller sets first, then by the first difference.

    Where one set has a label that the other lacks, the one that lacks it comes first.
    """
    if len(a) != len(b):
        return len(a) - len(b)
    for (name, value), (other_name, other_value) in zip(a, b, strict=True):
        if name != other_name:
            return 1 if name < other_name else -1
        if value != other_value:
            return -1 if value < other_value else 1
    return 0


label_order = cmp_to_key(_compare)


def in_order(alerts: Iterable[StoredAlert]) -> list[StoredAlert]:
    """Alerts by job, then instance (those without come last), then all labels."""

    def key(alert: StoredAlert) -> tuple[Any, ...]:
        labels = dict(alert.labels)
        job, instance = labels.get("job"), labels.get("instance")
        order = label_order(alert.labels)
        return (job is None, job or "", instance is None, instance or "", order)

    return sorted(alerts, key=key)
