"""GET /api/v1/rules, alerts and alertmanagers, in Prometheus' shapes, as WSGI pages."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from fleetpulse.errors import QueryError
from fleetpulse.gotemplate.printing import format_float
from fleetpulse.grouppages import Paging
from fleetpulse.matchers import Matcher, all_match
from fleetpulse.model import Labels
from fleetpulse.promql.printer import one_line
from fleetpulse.promql.seriesselector import parse_series_selector
from fleetpulse.promql.syntax import parse
from rules.alerting import ActiveAlert, AlertingRule
from rules.files import Pairs
from rules.group import Group, RuleRun

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Arguments = Mapping[str, Sequence[str]]
_NEVER = "0001-01-01T00:00:00Z"  # Go's zero time
_KINDS = {"": ("alerting", "recording"), "alert": ("alerting",), "record": ("recording",)}


class BadParameterError(ValueError):
    """A parameter that cannot be understood; the message names it."""


def routes(
    groups: Callable[[], Sequence[Group]], bridges: Callable[[], Sequence[str]]
) -> dict[str, "WSGIApplication"]:
    return {
        "/api/v1/rules": _page(lambda arguments: rules(groups(), arguments)),
        "/api/v1/alerts": _page(lambda _: alerts(groups())),
        "/api/v1/alertmanagers": _page(lambda _: alertmanagers(bridges())),
    }


def rules(groups: Sequence[Group], arguments: Arguments) -> dict[str, Any]:
    """The groups with their rules, chosen by type, rule_name[], rule_group[], file[] and match[].

    exclude_alerts leaves out the alerts; group_limit and group_next_token give groups by the page.
    """
    kind = _single(arguments, "type").lower()
    if kind not in _KINDS:
        raise BadParameterError(f'invalid parameter "type": not supported value "{kind}"')
    sets, with_alerts = _matcher_sets(arguments), not _flag(arguments, "exclude_alerts")
    limit, token = _single(arguments, "group_limit"), _single(arguments, "group_next_token")
    paging = Paging.parse(limit, token)
    shown = []
    for group in groups:
        if not _wanted(group.spec.name, arguments.get("rule_group[]")):
            continue
        if not _wanted(group.spec.file, arguments.get("file[]")):
            continue
        chosen = [
            _rule(run, with_alerts)
            for run in group.runs
            if run.spec.kind in _KINDS[kind]
            and _wanted(run.spec.name, arguments.get("rule_name[]"))
            and _matches(run.spec.labels, sets)
        ]
        if chosen:
            shown.append(_group(group, chosen))
    return paging.page(shown)


def alertmanagers(urls: Sequence[str]) -> dict[str, Any]:
    """Where alerts are sent: bridges and Alertmanagers."""
    active = [{"url": f"{url}/api/v2/alerts"} for url in urls]
    return {"activeAlertmanagers": active, "droppedAlertmanagers": []}


def alerts(groups: Sequence[Group]) -> dict[str, Any]:
    """All alerts that are pending or firing."""
    runs = [run for group in groups for run in group.runs]
    rules = [run.rule for run in runs if isinstance(run.rule, AlertingRule)]
    return {"alerts": [_alert(alert) for rule in rules for alert in rule.active]}


def _group(group: Group, shown: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": group.spec.name,
        "file": group.spec.file,
        "rules": shown,
        "interval": group.spec.interval,
        "limit": group.spec.limit,
        "evaluationTime": group.duration,
        "lastEvaluation": _time(group.evaluated_at),
    }


def _rule(run: RuleRun, with_alerts: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": run.spec.name, "query": _query(run.spec.expr)}
    rule = run.rule
    if isinstance(rule, AlertingRule):
        shown |= {
            "state": rule.state if run.evaluated_at else "unknown",
            "duration": rule.spec.hold,
            "keepFiringFor": rule.spec.keep_firing,
            "annotations": dict(rule.spec.annotations),
            "alerts": [_alert(alert) for alert in rule.active] if with_alerts else None,
        }
    shown |= {
        "labels": dict(run.spec.labels),
        "health": run.health,
        "evaluationTime": run.duration,
        "lastEvaluation": _time(run.evaluated_at),
        "type": run.spec.kind,
    }
    return shown | {"lastError": run.last_error} if run.last_error else shown


def _alert(alert: ActiveAlert) -> dict[str, Any]:
    shown = {
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "state": alert.state.name,
        "activeAt": _time(alert.state.active_at or 0.0),
        "value": format_float(alert.value, "e"),
    }
    if alert.state.kept_since is not None:
        shown["keepFiringSince"] = _time(alert.state.kept_since)
    return shown


def _time(at: float) -> str:
    if not at:
        return _NEVER
    moment = datetime.fromtimestamp(round(at * 1000) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@lru_cache(4096)
def _query(expr: str) -> str:
    """The expression as Prometheus shows it: in a line, however it stands in the file."""
    return one_line(parse(expr))


def _matcher_sets(arguments: Arguments) -> list[list[Matcher]]:
    try:
        return [parse_series_selector(text) for text in arguments.get("match[]", ())]
    except QueryError as err:
        raise BadParameterError(str(err)) from err


def _matches(labels: Pairs, sets: Sequence[Sequence[Matcher]]) -> bool:
    """By the rule's own labels, as they stand in the file."""
    found = Labels(labels)
    return not sets or any(all_match(matchers, found) for matchers in sets)


def _wanted(name: str, names: Sequence[str] | None) -> bool:
    return not names or name in names


def _single(arguments: Arguments, name: str) -> str:
    values = arguments.get(name) or [""]
    return values[0]


def _flag(arguments: Arguments, name: str) -> bool:
    text = _single(arguments, name).lower()
    if text not in ("", "0", "1", "t", "f", "true", "false"):
        message = f'error converting {name}: "{text}" is not true or false'
        raise BadParameterError(f'invalid parameter "{name}": {message}')
    return text in ("1", "t", "true")


def _page(answer: Callable[[Arguments], dict[str, Any]]) -> "WSGIApplication":
    def app(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        status, body = "200 OK", dict[str, Any](status="success")
        try:
            body["data"] = answer(parse_qs(environ.get("QUERY_STRING", ""), max_num_fields=100))
        except ValueError as err:
            status = "400 Bad Request"
            body = {"status": "error", "errorType": "bad_data", "error": str(err)}
        # NaN has no place in JSON; values are text, as Prometheus has them.
        encoded = json.dumps(body, allow_nan=False).encode()
        length = ("Content-Length", str(len(encoded)))
        start_response(status, [("Content-Type", "application/json"), length])
        return [encoded]

    return app
