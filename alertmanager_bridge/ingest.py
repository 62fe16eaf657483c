"""Reads the alerts of a POST, one by one: a faulty one does not take the others with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alertmanager_bridge.alerts import StoredAlert
from alertmanager_bridge.wire import parse_time
from fleetpulse.model import Labels

_KNOWN = ("labels", "annotations", "startsAt", "endsAt", "generatorURL")


@dataclass(frozen=True, slots=True)
class Batch:
    """What was readable, and for the rest a fault each, by its place in the list."""

    alerts: list[StoredAlert]
    faults: list[str]


def read_alerts(data: object, now: float, resolve_timeout: float) -> Batch:
    """data is the parsed JSON. ValueError where it is no list at all."""
    if not isinstance(data, list):
        raise ValueError("the body must be a JSON list of alerts")
    batch = Batch([], [])
    for index, item in enumerate(data):
        try:
            batch.alerts.append(read_alert(item, now, resolve_timeout))
        except ValueError as err:
            batch.faults.append(f"alert {index}: {err}")
    return batch


def read_alert(item: object, now: float, resolve_timeout: float) -> StoredAlert:
    """One alert by Alertmanager's rules for times that are left out. ValueError."""
    if not isinstance(item, dict):
        raise ValueError("must be an object with labels")
    if "labels" not in item:
        raise ValueError("labels are missing")
    labels = Labels.of(_pairs("labels", item["labels"]))
    if not labels:
        raise ValueError("at least one label pair required")
    annotations = _pairs("annotations", item.get("annotations") or {})
    starts_at, ends_at = _time(item, "startsAt"), _time(item, "endsAt")
    if starts_at is None:
        starts_at = now if ends_at is None else ends_at
    if ends_at is not None and ends_at < starts_at:
        raise ValueError("start time must be before end time")
    url = item.get("generatorURL") or ""
    if not isinstance(url, str):
        raise ValueError("generatorURL must be a text")
    return StoredAlert(
        labels=labels,
        annotations=Labels(sorted(annotations.items())),
        starts_at=starts_at,
        ends_at=now + resolve_timeout if ends_at is None else ends_at,
        updated_at=now,
        timed=ends_at is None,
        generator_url=_utf8("generatorURL", url),
    )


def _time(item: Mapping[str, Any], key: str) -> float | None:
    value = item.get(key)
    if value is None:
        return None
    try:
        return parse_time(value)
    except ValueError as err:
        raise ValueError(f"{key}: {err}") from err


def _pairs(key: str, value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError(f"{key} must be an object of texts")
    for name, text in value.items():
        if not name:
            raise ValueError(f"{key}: a name is empty")
        if not isinstance(text, str):
            raise ValueError(f"{key}: the value of {name!r} must be a text")
        _utf8(key, name + text)
    return value


def _utf8(key: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as err:
        raise ValueError(f"{key}: {text!r} is no valid UTF-8") from err
    return text
