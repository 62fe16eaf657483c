"""GET /api/v1/rules, alerts, alertmanagers: the rule runners' answers, put together."""

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from api.asking import NoAnswerError, Query, Question
from api.respond import Refusal, bad_data, map_errors
from api.rules import ask_runner, blueprint
from fleetpulse.telemetry import TelemetryServer
from fleetpulse.values import ListenAddress
from rules import web
from tests.api_fakes import Api
from tests.rules_fakes import T0, Bench, one_rule
from tests.scraper_fakes import Targets
from tests.support import free_port

ONE, OTHER = ListenAddress("127.0.0.1", 1), ListenAddress("127.0.0.1", 2)


class Runners:
    """Answers by port and path; one that has none is not there."""

    def __init__(self, answers: dict[tuple[int, str], Any]) -> None:
        self.answers, self.asked = answers, list[Query]()

    def __call__(self, address: ListenAddress, path: str, query: Query) -> Any:
        self.asked.append(query)
        answer = self.answers.get((address.port, path))
        if answer is None:
            raise NoAnswerError(f"no answer from the rule runner at {address}")
        if isinstance(answer, Exception):
            raise answer
        return answer


def client(runners: Runners) -> FlaskClient:
    app = Flask("test")
    map_errors(app)
    app.register_blueprint(blueprint([ONE, OTHER], runners), url_prefix="/api/v1")
    return app.test_client()


def groups(*names: str) -> dict[str, Any]:
    return {"groups": [{"name": name, "file": f"{name}.yml", "rules": []} for name in names]}


def names_of(body: Any) -> list[str]:
    return [group["name"] for group in body["data"]["groups"]]


def test_groups_of_all_runners_come_in_the_order_of_their_files() -> None:
    runners = Runners({(1, "rules"): groups("c", "a"), (2, "rules"): groups("b")})
    body = client(runners).get("/api/v1/rules").json
    assert names_of(body) == ["a", "b", "c"]
    assert "warnings" not in body


def test_filters_are_handed_on_and_paging_is_not() -> None:
    runners = Runners({(1, "rules"): groups("a"), (2, "rules"): groups("b")})
    client(runners).get("/api/v1/rules?type=alert&match[]=a&match[]=b&group_limit=1&x=y&file[]=")
    assert runners.asked == [[("type", "alert"), ("match[]", "a"), ("match[]", "b")]] * 2


def test_groups_come_by_the_page() -> None:
    runners = Runners({(1, "rules"): groups("c", "a"), (2, "rules"): groups("b")})
    asking = client(runners)
    seen, token = [], ""
    while True:
        more = f"&group_next_token={token}" if token else ""
        body: Any = asking.get(f"/api/v1/rules?group_limit=2{more}").json
        seen.append(names_of(body))
        if not (token := body["data"].get("groupNextToken", "")):
            break
    assert seen == [["a", "b"], ["c"]]


PAGING = [
    pytest.param("group_limit=x", "group_limit needs to be a valid number", id="no number"),
    pytest.param("group_limit=-1", "greater than 0", id="below one"),
    pytest.param("group_limit=99999999999", "valid number", id="too large a number"),
    pytest.param("group_next_token=x", "group_limit needs to be present", id="a token alone"),
    pytest.param("group_limit=1&group_next_token=x", "were rule groups changed?", id="no token"),
]


@pytest.mark.parametrize(("query", "message"), PAGING)
def test_a_page_that_is_none(query: str, message: str) -> None:
    answer: Any = client(Runners({(1, "rules"): groups("a")})).get(f"/api/v1/rules?{query}")
    assert (answer.status_code, answer.json["errorType"]) == (400, "bad_data")
    assert message in answer.json["error"]


@pytest.mark.parametrize("path", ["rules", "alerts", "alertmanagers"])
def test_a_runner_that_does_not_answer_is_a_warning_and_none_at_all_an_error(path: str) -> None:
    empty = {"groups": [], "alerts": [], "activeAlertmanagers": [], "droppedAlertmanagers": []}
    some: Any = client(Runners({(2, path): empty})).get(f"/api/v1/{path}").json
    assert some["warnings"] == ["no answer from the rule runner at 127.0.0.1:1"]
    none: Any = client(Runners({})).get(f"/api/v1/{path}")
    assert (none.status_code, none.json["errorType"]) == (503, "unavailable")


def test_alerts_of_all_and_each_alertmanager_once() -> None:
    bridges = {"activeAlertmanagers": [{"url": "http://a"}], "droppedAlertmanagers": []}
    more = {"activeAlertmanagers": [{"url": "http://a"}, {"url": "http://b"}]}
    runners = Runners(
        {
            (1, "alerts"): {"alerts": [{"state": "firing"}]},
            (2, "alerts"): {"alerts": [{"state": "pending"}]},
            (1, "alertmanagers"): bridges,
            (2, "alertmanagers"): bridges | more,
        }
    )
    asking = client(runners)
    alerts: Any = asking.get("/api/v1/alerts").json
    assert [one["state"] for one in alerts["data"]["alerts"]] == ["firing", "pending"]
    found: Any = asking.get("/api/v1/alertmanagers").json
    assert found["data"]["activeAlertmanagers"] == [{"url": "http://a"}, {"url": "http://b"}]


def test_what_a_runner_refuses_is_refused() -> None:
    runners = Runners({(1, "rules"): bad_data("no such type"), (2, "rules"): groups("a")})
    answer: Any = client(runners).get("/api/v1/rules?type=x")
    assert (answer.status_code, answer.json["error"]) == (400, "no such type")


@pytest.mark.integration
def test_the_api_asks_a_real_rule_runner(tmp_path: Path) -> None:
    rule = "alert: Always\nexpr: vector(1)>0\nlabels: {severity: page}"
    bench = Bench()
    group = bench.group(one_rule(tmp_path, rule))
    group.evaluate(T0)
    routes = web.routes(lambda: [group], lambda: ["http://bridge:9093"])
    server = TelemetryServer("rules", ListenAddress("127.0.0.1", 0), routes)
    server.start()
    try:
        gone = ListenAddress("127.0.0.1", free_port())
        asking = Api(tmp_path, rules=[str(server.address), str(gone)]).client()
        body: Any = asking.get('/api/v1/rules?match[]={severity="page"}').json
        (found,) = body["data"]["groups"]
        assert (found["rules"][0]["query"], found["rules"][0]["state"]) == (
            "vector(1) > 0",
            "firing",
        )
        assert len(body["warnings"]) == 1
        assert names_of(asking.get('/api/v1/rules?match[]={severity="x"}').json) == []
        refused: Any = asking.get("/api/v1/rules?type=x")
        assert refused.status_code == 400
        assert refused.json["error"] == 'invalid parameter "type": not supported value "x"'
        active: Any = asking.get("/api/v1/alertmanagers").json
        assert active["data"]["activeAlertmanagers"] == [
            {"url": "http://bridge:9093/api/v2/alerts"}
        ]
    finally:
        server.stop()


@pytest.mark.integration
def test_what_is_no_rule_runner_is_no_answer() -> None:
    with Targets() as targets:
        address = ListenAddress("127.0.0.1", int(targets.address.partition(":")[2]))
        targets.served["/api/v1/rules"] = (b'{"data": {"groups": 5}}', "application/json")
        with pytest.raises(NoAnswerError, match="no rule runner of FleetPulse"):
            ask_runner(address, "rules", ())
        targets.served["/api/v1/alerts"] = (b"<html>", "text/html")
        with pytest.raises(NoAnswerError, match="no rule runner"):
            ask_runner(address, "alerts", ())
    with pytest.raises(NoAnswerError, match="no answer from the rule runner"):
        ask_runner(ListenAddress("127.0.0.1", free_port()), "rules", ())


@pytest.mark.integration
def test_a_refusal_without_a_reason_is_no_answer() -> None:
    def refuse(_environ: Any, start_response: Any) -> list[bytes]:
        start_response("400 Bad Request", [("Content-Length", "2")])
        return [b"{}"]

    server = TelemetryServer("odd", ListenAddress("127.0.0.1", 0), {"/api/v1/x": refuse})
    server.start()
    try:
        with pytest.raises((NoAnswerError, Refusal), match="no thing of FleetPulse"):
            Question("thing", "x").ask(server.address, ())
    finally:
        server.stop()
