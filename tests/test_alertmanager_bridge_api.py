"""The HTTP API, through Flask's test client."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from alertmanager_bridge.app import create_app
from tests.bridge_fakes import START, Ear, Rig, integration

TEXT = """
route:
  receiver: ear
  group_by: [alertname]
  group_wait: 0s
  routes: [{matchers: [team=db], receiver: db}]
inhibit_rules: [{source_matchers: [severity=page], target_matchers: [severity=warn], equal: [host]}]
receivers: [{name: ear}, {name: db}]
"""


@pytest.fixture
def rig(tmp_path: Path):  # type: ignore[no-untyped-def]
    with Rig(tmp_path, integration("ear", Ear()), text=TEXT, max_body="64KB") as rig:
        yield rig


@pytest.fixture
def client(rig: Rig) -> FlaskClient:
    return create_app(rig.bridge, rig.bridge.config, rig.registry).test_client()


def post(client: FlaskClient, *labels: dict[str, str]) -> Any:
    return client.post("/api/v2/alerts", json=[{"labels": each} for each in labels])


def names(client: FlaskClient, query: str = "") -> list[str]:
    answer = client.get(f"/api/v2/alerts{query}")
    assert answer.status_code == 200, answer.json
    return sorted(alert["labels"]["alertname"] for alert in answer.json)


def test_an_alert_as_alertmanager_shows_it(client: FlaskClient) -> None:
    body = [
        {
            "labels": {"alertname": "foo", "node": "bar", "severity": "warn"},
            "annotations": {"summary": "s", "empty": ""},
            "generatorURL": "http://prometheus.example/graph",
        }
    ]
    answer = client.post("/api/v2/alerts", json=body)
    assert (answer.status_code, answer.data) == (200, b"")
    assert client.get("/api/v2/alerts").json == [
        {
            "labels": body[0]["labels"],
            "annotations": body[0]["annotations"],
            "generatorURL": "http://prometheus.example/graph",
            "fingerprint": "2d10edb8e90c5164",
            "receivers": [{"name": "ear"}],
            "startsAt": "2023-11-14T22:13:20.000Z",
            "updatedAt": "2023-11-14T22:13:20.000Z",
            "endsAt": "2023-11-14T22:18:20.000Z",
            "status": {"state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": []},
        }
    ]


def test_good_alerts_are_taken_although_others_are_faulty(client: FlaskClient, rig: Rig) -> None:
    answer = client.post("/api/v2/alerts", json=[{"labels": {"alertname": "a"}}, {"labels": {}}])
    assert answer.status_code == 400
    assert answer.json == "alert 1: at least one label pair required"
    assert names(client) == ["a"]
    assert rig.metric("alerts_invalid_total") == 1
    assert rig.metric("alerts_received_total", status="firing") == 1


def test_more_alerts_than_fit_are_refused(tmp_path: Path) -> None:
    with Rig(tmp_path, max_alerts=1) as rig:
        client = create_app(rig.bridge, rig.bridge.config, rig.registry).test_client()
        answer = post(client, {"alertname": "a"}, {"alertname": "b"})
        assert (answer.status_code, answer.json) == (503, "1 alerts refused: there are 1 already")


BODIES = [
    pytest.param(b"[", "application/json", 400, "no JSON", id="broken JSON"),
    pytest.param(b"[" * 50_000, "application/json", 400, "no JSON", id="nested JSON"),
    pytest.param(b"{}", "application/json", 400, "list", id="no list"),
    pytest.param(b"\xff", "application/json", 400, "no JSON", id="no UTF-8"),
    pytest.param(b"[]", "text/plain", 415, "application/json", id="a form of a web page"),
    pytest.param(b" " * 70_000, "application/json", 413, "larger than", id="too large"),
    pytest.param(b"[]", "application/json", 200, "", id="an empty list is fine"),
]


@pytest.mark.parametrize(("body", "kind", "code", "said"), BODIES)
def test_bodies(client: FlaskClient, body: bytes, kind: str, code: int, said: str) -> None:
    answer = client.post("/api/v2/alerts", data=body, content_type=kind)
    assert answer.status_code == code
    assert said in answer.get_data(as_text=True)


FILTERS = [
    pytest.param("", ["disk", "node", "other"], id="all"),
    pytest.param("?filter=host%3Da", ["disk", "node"], id="filter"),
    pytest.param("?filter=host%3Da&filter=severity!%3Dwarn", ["node"], id="two filters"),
    pytest.param("?inhibited=false", ["node", "other"], id="without inhibited ones"),
    pytest.param("?silenced=false", ["disk", "node"], id="without silenced ones"),
    pytest.param("?active=false", ["disk", "other"], id="without active ones"),
    pytest.param("?receiver=d.*", ["other"], id="by receiver"),
]


@pytest.mark.parametrize(("query", "expected"), FILTERS)
def test_filters(client: FlaskClient, query: str, expected: list[str]) -> None:
    post(
        client,
        {"alertname": "disk", "host": "a", "severity": "warn"},
        {"alertname": "node", "host": "a", "severity": "page"},
        {"alertname": "other", "host": "b", "team": "db"},
    )
    client.post("/api/v2/silences", json=silence(host="b"))
    assert names(client, query) == expected
    groups = client.get(f"/api/v2/alerts/groups{query}").json
    assert sorted(group["labels"]["alertname"] for group in groups) == expected


BAD_QUERIES = [
    pytest.param("/api/v2/alerts?filter=x", "no matcher", id="filter"),
    pytest.param("/api/v2/alerts?receiver=%5B", "regular expression", id="receiver"),
    pytest.param("/api/v2/alerts?silenced=maybe", "neither true nor false", id="flag"),
    pytest.param("/api/v2/silences?filter=x", "no matcher", id="silences"),
    pytest.param("/api/v1/history?limit=0", "limit: write a number", id="limit"),
    pytest.param("/api/v1/history?limit=1001", "limit: write a number", id="large limit"),
    pytest.param("/api/v1/history?cursor=x", "cursor: 'x' is no whole number", id="cursor"),
    pytest.param("/api/v1/history?type=x", "neither alert nor notification", id="type"),
    pytest.param("/api/v1/history?from=yesterday", "is no time", id="from"),
    pytest.param("/api/v1/history?to=1e300", "no Unix time", id="to"),
    pytest.param("/api/v1/history?nope=1", "no such parameter: nope; known: type", id="unknown"),
]


@pytest.mark.parametrize(("path", "said"), BAD_QUERIES)
def test_bad_parameters_are_told(client: FlaskClient, path: str, said: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 400
    assert said in answer.json


def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def silence(*, starts: float = 0, ends: float = 3600, **labels: str) -> dict[str, Any]:
    return {
        "matchers": [{"name": n, "value": v, "isRegex": False} for n, v in labels.items()],
        "startsAt": stamp(START + starts),
        "endsAt": stamp(START + ends),
        "createdBy": "me",
        "comment": "why",
    }


def test_a_silences_life(client: FlaskClient, rig: Rig) -> None:
    post(client, {"alertname": "a", "host": "a"})
    silence_id = client.post("/api/v2/silences", json=silence(host="a")).json["silenceID"]
    (shown,) = client.get("/api/v2/alerts").json
    assert shown["status"]["silencedBy"] == [silence_id]
    assert shown["status"]["state"] == "suppressed"
    known = client.get(f"/api/v2/silence/{silence_id}").json
    assert known["status"] == {"state": "active"}
    matcher = {"name": "host", "value": "a", "isRegex": False, "isEqual": True}
    assert known["matchers"] == [matcher]
    rig.clock.at += 10
    assert client.delete(f"/api/v2/silence/{silence_id}").status_code == 200
    assert client.delete(f"/api/v2/silence/{silence_id}").status_code == 200
    rig.clock.at += 1
    assert client.get(f"/api/v2/silence/{silence_id}").json["status"] == {"state": "expired"}
    assert client.get("/api/v2/alerts").json[0]["status"]["state"] == "active"
    assert rig.metric("silences", state="expired") == 1


def test_changing_a_silence(client: FlaskClient) -> None:
    first = client.post("/api/v2/silences", json=silence(host="a")).json["silenceID"]
    longer = {**silence(host="a", ends=7200), "id": first}
    assert client.post("/api/v2/silences", json=longer).json["silenceID"] == first
    other = {**silence(host="b"), "id": first}
    second = client.post("/api/v2/silences", json=other).json["silenceID"]
    assert second != first
    states = {s["id"]: s["status"]["state"] for s in client.get("/api/v2/silences").json}
    assert states[second] == "active"


def test_silences_stand_in_order_and_can_be_filtered(client: FlaskClient) -> None:
    for starts, ends, host in ((100, 200, "later"), (0, 900, "long"), (0, 800, "short")):
        client.post("/api/v2/silences", json=silence(starts=starts, ends=ends, host=host))

    def hosts(query: str = "") -> list[str]:
        return [s["matchers"][0]["value"] for s in client.get(f"/api/v2/silences{query}").json]

    assert hosts() == ["short", "long", "later"]
    assert hosts("?filter=host%3Dlong") == ["long"]


BAD_SILENCES = [
    pytest.param({}, 400, "matchers", id="nothing"),
    pytest.param([], 400, "JSON object", id="a list"),
    pytest.param(silence(), 400, "at least one matcher", id="no matcher"),
    pytest.param(silence(host=""), 400, "must not match the empty string", id="matches all"),
    pytest.param(silence(host="a", ends=-1, starts=-9), 400, "in the past", id="over already"),
    pytest.param(silence(host="a", ends=0), 400, "before end time", id="no time at all"),
    pytest.param({**silence(host="a"), "comment": None}, 400, "comment", id="no comment"),
    pytest.param({**silence(host="a"), "startsAt": "x"}, 400, "startsAt", id="time"),
    pytest.param({**silence(host="a"), "id": "x"}, 400, "no silence id", id="id"),
    pytest.param(
        {**silence(host="a"), "id": "5f1e6f0e-0000-4000-8000-000000000001"}, 404, "no silence",
        id="unknown id",
    ),
    pytest.param(
        {**silence(), "matchers": [{"name": "a", "value": "[", "isRegex": True}]}, 400,
        "matchers[0]: '[' is no regular expression", id="regular expression",
    ),
    pytest.param({**silence(), "matchers": [3]}, 400, "matchers[0]", id="matcher"),
    pytest.param(
        {**silence(), "matchers": [{"name": "a", "value": "b", "isRegex": "x"}]}, 400, "isRegex",
        id="isRegex",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("body", "code", "said"), BAD_SILENCES)
def test_bad_silences(client: FlaskClient, body: Any, code: int, said: str) -> None:
    answer = client.post("/api/v2/silences", json=body)
    assert answer.status_code == code
    assert said in answer.json
    assert client.get("/api/v2/silences").json == []


def test_there_may_be_only_so_many_silences(tmp_path: Path) -> None:
    with Rig(tmp_path, max_silences=1) as rig:
        client = create_app(rig.bridge, rig.bridge.config, rig.registry).test_client()
        assert client.post("/api/v2/silences", json=silence(a="1")).status_code == 200
        answer = client.post("/api/v2/silences", json=silence(a="2"))
        assert (answer.status_code, answer.json) == (
            400, "there are 1 silences already; expire some first",
        )  # fmt: skip


def test_history_is_paged_and_filtered(client: FlaskClient, rig: Rig) -> None:
    post(client, *({"alertname": f"a{n}"} for n in range(5)))
    rig.run(60)

    def page(query: str) -> tuple[list[str], Any]:
        body = client.get(f"/api/v1/history?{query}").json
        return [f"{e['event']} {e['alertname']}" for e in body["data"]], body["next_cursor"]

    first, cursor = page("type=alert&limit=3")
    rest, end = page(f"type=alert&limit=3&cursor={cursor}")
    assert first + rest == [f"firing a{n}" for n in (4, 3, 2, 1, 0)]
    assert end is None
    assert page("type=notification&alertname=a1&receiver=ear")[0] == ["sent a1", "decided a1"]
    assert page("event=sent&alertname=a1")[0] == ["sent a1"]
    assert page(f"from={START + 61}")[0] == []
    assert page(f"to={stamp(START - 1).replace('+00:00', 'Z')}")[0] == []


def test_hosts_that_are_not_this_machine_are_refused(client: FlaskClient) -> None:
    for host in ("localhost:9093", "127.0.0.1:9093", "[::1]:9093"):
        assert client.get("/api/v2/alerts", headers={"Host": host}).status_code == 200
    answer = client.get("/api/v2/alerts", headers={"Host": "evil.example:9093"})
    assert answer.status_code == 403


def test_further_hosts_may_be_allowed(tmp_path: Path) -> None:
    with Rig(tmp_path, listen="0.0.0.0:9093", allowed_hosts=["Alerts.example"]) as rig:
        client = create_app(rig.bridge, rig.bridge.config, rig.registry).test_client()
        for host, code in (("alerts.example:9093", 200), ("evil.example", 403)):
            assert client.get("/api/v2/alerts", headers={"Host": host}).status_code == code


def test_listening_beyond_loopback_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Rig(tmp_path, listen="0.0.0.0:9093") as rig:
        create_app(rig.bridge, rig.bridge.config, rig.registry)
    assert "asks for no password" in caplog.text


def test_errors_are_json_texts(client: FlaskClient) -> None:
    assert client.get("/api/v2/nothing").json == "there is no /api/v2/nothing"
    assert client.delete("/api/v2/alerts").json == "DELETE is not for /api/v2/alerts"
    assert client.get("/api/v2/silence/5f1e6f0e-0000-4000-8000-000000000001").status_code == 404


def test_a_disk_that_fails_is_a_500_and_the_alert_is_not_taken(
    client: FlaskClient, rig: Rig
) -> None:
    rig.bridge.database.execute(
        "CREATE TRIGGER full BEFORE INSERT ON alerts BEGIN SELECT RAISE(ABORT, 'full'); END"
    )
    answer = post(client, {"alertname": "a"})
    assert answer.status_code == 500
    assert "full" not in answer.json
    assert names(client) == []


def test_own_pages(client: FlaskClient, rig: Rig) -> None:
    assert client.get("/-/healthy").status_code == 200
    assert client.get("/-/ready").text == "1 receiver, 2 routes\n"
    assert "fleetpulse_bridge_alerts_received_total" in client.get("/metrics").text
    assert client.get("/api/v2/receivers").json == [{"name": "ear"}, {"name": "db"}]
    status = client.get("/api/v2/status").json
    assert status["cluster"] == {"peers": [], "status": "disabled"}
    rig.bridge.stop()
    assert client.get("/-/ready").status_code == 503
