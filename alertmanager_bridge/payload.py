"""A message's content: the JSON of Alertmanager's webhook (version 4), which all receivers use."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from alertmanager_bridge.alerts import StoredAlert
from alertmanager_bridge.wire import ZERO_TIME, format_time

_META = re.compile(r"[\\.+*?()|\[\]{}^$]")


def build_payload(
    *,
    receiver: str,
    group_key: str,
    group_labels: Mapping[str, str],
    alerts: Sequence[StoredAlert],
    external_url: str,
    now: float,
) -> dict[str, Any]:
    """alerts in the order to show. What every alert has in common stands at the top as well."""
    firing = any(not alert.resolved(now) for alert in alerts)
    return {
        # Alertmanager gives the receiver as a regular expression; dashboards expect just that.
        "receiver": _META.sub(lambda found: "\\" + found[0], receiver),
        "status": "firing" if firing else "resolved",
        "alerts": [_alert(alert, now) for alert in alerts],
        "groupLabels": dict(group_labels),
        "commonLabels": _common([alert.labels for alert in alerts]),
        "commonAnnotations": _common([alert.annotations for alert in alerts]),
        "externalURL": external_url,
        "version": "4",
        "groupKey": group_key,
        "truncatedAlerts": 0,
    }


def _alert(alert: StoredAlert, now: float) -> dict[str, Any]:
    resolved = alert.resolved(now)
    return {
        "status": "resolved" if resolved else "firing",
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "startsAt": format_time(alert.starts_at),
        "endsAt": format_time(alert.ends_at) if resolved else ZERO_TIME,
        "generatorURL": alert.generator_url,
        "fingerprint": alert.fingerprint,
    }


def _common(sets: Sequence[Sequence[tuple[str, str]]]) -> dict[str, str]:
    if not sets:
        return {}
    shared = set(sets[0]).intersection(*sets[1:])
    return dict(sorted(shared))
