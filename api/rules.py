"""GET /api/v1/rules, alerts and alertmanagers, as in Prometheus: what the rule runners answer."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flask import Blueprint, Response, request

from api.asking import Query, Question, ask_all, chosen, unavailable
from api.respond import bad_data, success
from fleetpulse.grouppages import Paging
from fleetpulse.values import ListenAddress

Ask = Callable[[ListenAddress, str, Query], Any]

# Runners divide the groups, so that each gives all of its own and the pages are made here.
_FILTERS = ("type", "rule_name[]", "rule_group[]", "file[]", "match[]", "exclude_alerts")
_LISTS = {
    "rules": ("groups",),
    "alerts": ("alerts",),
    "alertmanagers": ("activeAlertmanagers", "droppedAlertmanagers"),
}


def ask_runner(address: ListenAddress, path: str, query: Query) -> Any:
    """One rule runner's answer. NoAnswerError; Refusal where it refuses the query."""
    return Question("rule runner", path, _LISTS[path]).ask(address, query)


def blueprint(runners: Sequence[ListenAddress], ask: Ask = ask_runner) -> Blueprint:
    bp = Blueprint("rules", __name__)

    def gather(path: str, query: Query = ()) -> tuple[list[Any], list[str]]:
        answers, warnings = ask_all(runners, lambda address: ask(address, path, query))
        if not answers:
            raise unavailable(warnings, "rules")
        return answers, warnings

    @bp.get("/rules")
    def rules() -> Response:
        limit, token = (request.args.get(f"group_{name}", "") for name in ("limit", "next_token"))
        with _refusing():
            paging = Paging.parse(limit, token)
        answers, warnings = gather("rules", chosen(request.args, _FILTERS))
        groups = [group for answer in answers for group in answer["groups"]]
        groups.sort(key=lambda group: (str(group["file"]), str(group["name"])))
        with _refusing():
            return success(paging.page(groups), warnings)

    @bp.get("/alerts")
    def alerts() -> Response:
        answers, warnings = gather("alerts")
        return success(
            {"alerts": [one for answer in answers for one in answer["alerts"]]}, warnings
        )

    @bp.get("/alertmanagers")
    def alertmanagers() -> Response:
        answers, warnings = gather("alertmanagers")
        found = {name: _urls(answers, name) for name in _LISTS["alertmanagers"]}
        return success(found, warnings)

    return bp


@contextmanager
def _refusing() -> Iterator[None]:
    """What is wrong with the paging, as an answer."""
    try:
        yield
    except ValueError as err:
        raise bad_data(str(err)) from err


def _urls(answers: Sequence[Any], name: str) -> list[dict[str, str]]:
    """Each once: runners share their bridges."""
    urls = dict.fromkeys(str(one["url"]) for answer in answers for one in answer[name])
    return [{"url": url} for url in urls]
