"""Alertmanager's API v2: alerts, groups, receivers, status."""

import json
import logging
from collections.abc import Sequence
from typing import Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from alertmanager_bridge.alerts import StoredAlert, in_order, label_order
from alertmanager_bridge.amconfig import redacted
from alertmanager_bridge.bridge import AlertStatus, Bridge
from alertmanager_bridge.dispatch import Group
from alertmanager_bridge.guard import failure
from alertmanager_bridge.ingest import read_alerts
from alertmanager_bridge.matching import LabelFilter, parse_matcher
from alertmanager_bridge.wire import format_millis
from fleetpulse import __version__
from fleetpulse.regex import Pattern, compile_pattern

log = logging.getLogger(__name__)

_SHOWN_FAULTS = 50


def read_json() -> object:
    """The request's JSON. ValueError where it is none."""
    try:
        return json.loads(request.get_data(cache=False))
    except (ValueError, RecursionError) as err:
        raise ValueError(f"the body is no JSON: {err}") from err


def flag(name: str, default: bool = True) -> bool:
    """A query parameter that is true or false. ValueError for anything else."""
    value = request.args.get(name)
    if value is None:
        return default
    if value.lower() not in ("true", "false", "1", "0", "t", "f"):
        raise ValueError(f"{name}: {value!r} is neither true nor false")
    return value.lower() in ("true", "1", "t")


def matchers_of_request() -> list[Any]:
    return [parse_matcher(text) for text in request.args.getlist("filter")]


class AlertQuery:
    """What a request for alerts asks for. ValueError says which parameter is wrong."""

    def __init__(self) -> None:
        self._labels = LabelFilter(matchers_of_request())
        self._silenced, self._inhibited = flag("silenced"), flag("inhibited")
        self._active = flag("active")
        flag("unprocessed")  # known to older clients; here every alert is processed at once
        receiver = request.args.get("receiver")
        self._receiver: Pattern | None = compile_pattern(receiver) if receiver else None

    def wants_receiver(self, names: Sequence[str]) -> bool:
        pattern = self._receiver
        return pattern is None or any(pattern.fullmatch(name) for name in names)

    def wants(self, alert: StoredAlert, status: AlertStatus) -> bool:
        if status.state == "active" and not self._active:
            return False
        if (status.silenced_by and not self._silenced) or (
            status.inhibited_by and not self._inhibited
        ):
            return False
        return self._labels(dict(alert.labels))


def alert_json(alert: StoredAlert, status: AlertStatus, receivers: Sequence[str]) -> dict[str, Any]:
    return {
        "annotations": dict(alert.annotations),
        "endsAt": format_millis(alert.ends_at),
        "fingerprint": alert.fingerprint,
        "receivers": [{"name": name} for name in receivers],
        "startsAt": format_millis(alert.starts_at),
        "status": {
            "inhibitedBy": status.inhibited_by,
            "mutedBy": [],
            "silencedBy": status.silenced_by,
            "state": status.state,
        },
        "updatedAt": format_millis(alert.updated_at),
        **({"generatorURL": alert.generator_url} if alert.generator_url else {}),
        "labels": dict(alert.labels),
    }


def _group_order(group: Group) -> tuple[Any, str]:
    return label_order(group.labels), group.route.receiver


def blueprint(bridge: Bridge) -> Blueprint:
    """Alertmanager's API v2, silences apart."""
    bp = Blueprint("alerts", __name__)
    _take_alerts(bp, bridge)
    _show_alerts(bp, bridge)
    _show_state(bp, bridge)

    @bp.errorhandler(ValueError)
    def bad_request(err: ValueError) -> ResponseReturnValue:
        return failure(str(err), 400)

    return bp


def _take_alerts(bp: Blueprint, bridge: Bridge) -> None:
    @bp.post("/alerts")
    def post_alerts() -> ResponseReturnValue:
        batch = read_alerts(read_json(), bridge.now(), bridge.amconfig.global_.resolve_timeout)
        refused = bridge.post(batch.alerts)
        for _ in batch.faults:
            bridge.metrics.invalid()
        if refused:
            limit = bridge.config.max_alerts
            return failure(f"{len(refused)} alerts refused: there are {limit} already", 503)
        if batch.faults:
            log.warning("faulty alerts: %s", "; ".join(batch.faults[:5]))
            shown = batch.faults[:_SHOWN_FAULTS]
            more = len(batch.faults) - len(shown)
            return failure("; ".join(shown) + (f"; and {more} more" if more else ""), 400)
        return "", 200


def _show_alerts(bp: Blueprint, bridge: Bridge) -> None:
    @bp.get("/alerts")
    def get_alerts() -> ResponseReturnValue:
        query, found = AlertQuery(), []
        for alert in bridge.firing():
            receivers, status = bridge.receivers_of(alert), bridge.status_of(alert)
            if query.wants_receiver(receivers) and query.wants(alert, status):
                found.append(alert_json(alert, status, receivers))
        return jsonify(found)

    @bp.get("/alerts/groups")
    def get_groups() -> ResponseReturnValue:
        query, now, found = AlertQuery(), bridge.now(), []
        for group in sorted(bridge.groups(), key=_group_order):
            if not query.wants_receiver([group.route.receiver]):
                continue
            alerts = [
                alert_json(alert, status, bridge.receivers_of(alert))
                for alert in in_order(group.alerts.values())
                if not alert.resolved(now) and query.wants(alert, status := bridge.status_of(alert))
            ]
            if alerts:
                receiver, labels = {"name": group.route.receiver}, dict(group.labels)
                found.append({"alerts": alerts, "labels": labels, "receiver": receiver})
        return jsonify(found)


def _show_state(bp: Blueprint, bridge: Bridge) -> None:
    started = bridge.now()

    @bp.get("/receivers")
    def get_receivers() -> ResponseReturnValue:
        return jsonify([{"name": receiver.name} for receiver in bridge.amconfig.receivers])

    @bp.get("/status")
    def get_status() -> ResponseReturnValue:
        unknown = ("branch", "buildDate", "buildUser", "goVersion", "revision")
        return jsonify(
            {
                "cluster": {"peers": [], "status": "disabled"},
                "config": {"original": redacted(bridge.amconfig)},
                "uptime": format_millis(started),
                "versionInfo": {**dict.fromkeys(unknown, ""), "version": __version__},
            }
        )
