import base64
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from fleetpulse.errors import StartError
from tests.api_fakes import Api, bearer

QUERY = "/api/v1/query?query=up"
PUBLIC = {"listen": "192.0.2.1:8080"}


def basic(key: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"grafana:{key}".encode()).decode()}


WAYS: list[Any] = [
    pytest.param(bearer, id="Bearer"),
    pytest.param(lambda key: {"Authorization": f"bearer {key}"}, id="bearer in small letters"),
    pytest.param(lambda key: {"X-API-Key": key}, id="X-API-Key"),
    pytest.param(basic, id="the password of Basic"),
]


@pytest.mark.parametrize("way", WAYS)
def test_a_key_may_come_in_several_ways(
    tmp_path: Path, way: Callable[[str], dict[str, str]]
) -> None:
    api = Api(tmp_path, **PUBLIC)
    key = api.key("read")
    client = api.client()
    assert client.get(QUERY, headers=way(key)).status_code == 200
    assert client.get(QUERY, headers=way(key[:-4] + "zzzz")).status_code == 401


def test_on_loopback_reads_need_no_key_but_a_wrong_one_is_told(tmp_path: Path) -> None:
    client = Api(tmp_path).client()
    assert client.get(QUERY).status_code == 200
    assert client.get(QUERY, headers=bearer("fp_wrong")).status_code == 401
    assert client.get(QUERY, headers={"Authorization": "nonsense"}).status_code == 401


READS = ["/api/v1/query?query=up", "/api/v1/labels", "/api/v1/servers", "/api/v1/metrics"]


@pytest.mark.parametrize("path", [*READS, "/metrics", "/api/v1/no_such_page"])
def test_elsewhere_everything_needs_a_key(tmp_path: Path, path: str) -> None:
    api = Api(tmp_path, **PUBLIC)
    key = api.key("read")
    client = api.client()
    answer = client.get(path)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert client.get(path, headers=bearer(key)).status_code in (200, 404)


def test_elsewhere_health_alone_is_open(tmp_path: Path) -> None:
    api = Api(tmp_path, **PUBLIC)
    api.key("read")
    client = api.client()
    assert client.get("/-/healthy").status_code == 200
    assert client.get("/-/ready").text == "keys needed\n"


def test_behind_a_proxy_reads_can_be_made_to_need_a_key(tmp_path: Path) -> None:
    api = Api(tmp_path, require_keys=True)
    api.key("read")
    headers = {"X-Forwarded-For": "127.0.0.1"}
    assert api.client().get(QUERY, headers=headers).status_code == 401


ADDRESSES = ["0.0.0.0:8080", ":8080", "[::]:8080", "192.0.2.1:8080"]


@pytest.mark.parametrize("listen", ADDRESSES)
def test_a_network_is_not_served_without_keys(tmp_path: Path, listen: str) -> None:
    api = Api(tmp_path, listen=listen)
    with pytest.raises(StartError, match="fleetpulse keys create"):
        api.client()
    api.key("admin")
    assert api.client().get(QUERY).status_code == 401


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:80", "[::1]:80", "127.9.9.9:80"])
def test_loopback_is_served_without_keys(tmp_path: Path, listen: str) -> None:
    assert Api(tmp_path, listen=listen).client().get(QUERY).status_code == 200


def push(api: Api, headers: dict[str, str]) -> TestResponse:
    document = {"server": "web1", "samples": []}
    return api.client().post("/api/v1/metrics", json=document, headers=headers)


def test_a_push_needs_the_scope(tmp_path: Path) -> None:
    api = Api(tmp_path, push={"servers": [{"name": "web1"}]})
    assert push(api, {}).status_code == 401
    assert push(api, bearer(api.key("read"))).status_code == 403


@pytest.mark.parametrize(("scope", "code"), [("read", 403), ("push", 202), ("admin", 202)])
def test_scopes_that_may_push(tmp_path: Path, scope: Any, code: int) -> None:
    api = Api(tmp_path, push={"servers": [{"name": "web1"}]})
    assert push(api, bearer(api.key(scope))).status_code == code


def test_a_push_key_may_not_read_where_reads_need_keys(tmp_path: Path) -> None:
    api = Api(tmp_path, **PUBLIC)
    key = api.key("push")
    answer = api.client().get(QUERY, headers=bearer(key))
    assert answer.status_code == 403
    assert "scope read; yours has push" in answer.json["error"]  # type: ignore[index]


def test_revoked_and_expired_keys_are_401(tmp_path: Path) -> None:
    api = Api(tmp_path, push={"servers": [{"name": "web1"}]})
    info, revoked = api.keys.create("push")
    expiring = api.key("push", expires=api.time + 10)
    api.keys.revoke(info.id)
    assert push(api, bearer(revoked)).status_code == 401
    assert push(api, bearer(expiring)).status_code == 202
    api.time += 10
    assert push(api, bearer(expiring)).status_code == 401


def test_health_is_told_to_whoever_asks_by_address(tmp_path: Path) -> None:
    client = Api(tmp_path, allowed_hosts=["mon.example"]).client()
    assert client.get("/-/ready", headers={"Host": "127.0.0.1:8080"}).status_code == 200
    assert client.get("/metrics", headers={"Host": "127.0.0.1:8080"}).status_code == 403


def test_a_damaged_key_file_lets_nobody_in(tmp_path: Path) -> None:
    api = Api(tmp_path, **PUBLIC)
    key = api.key("admin")
    client = api.client()
    (tmp_path / "keys" / "keys.json").write_text("{}}")
    answer = client.get(QUERY, headers=bearer(key))
    assert answer.status_code == 503
    assert str(tmp_path) not in answer.text


HOSTS = [
    pytest.param({}, "127.0.0.1:8080", 200, id="the address"),
    pytest.param({}, "localhost", 200, id="localhost"),
    pytest.param({}, "[::1]:8080", 200, id="IPv6"),
    pytest.param({}, "evil.example:8080", 403, id="a foreign name, bound to 127.0.0.1"),
    pytest.param({}, "127.0.0.1.evil.example", 403, id="a name that only starts well"),
    pytest.param({}, "[::1", 403, id="no name at all"),
    pytest.param({}, "", 403, id="nothing"),
    pytest.param({"allowed_hosts": ["mon.example"]}, "MON.example:80", 200, id="an allowed name"),
    pytest.param({"allowed_hosts": ["mon.example"]}, "localhost", 403, id="then no other"),
]


@pytest.mark.parametrize(("settings", "host", "code"), HOSTS)
def test_the_host_header_is_checked(
    tmp_path: Path, settings: dict[str, Any], host: str, code: int
) -> None:
    answer = Api(tmp_path, **settings).client().get(QUERY, headers={"Host": host})
    assert answer.status_code == code


ORIGINS = [
    pytest.param([], "http://localhost", 200, None, id="the API's own pages"),
    pytest.param([], "https://evil.example", 403, None, id="foreign pages"),
    pytest.param([], "http://[", 403, None, id="garbage"),
    pytest.param([], "null", 403, None, id="a page of nowhere"),
    pytest.param(["https://d.example"], "https://d.example", 200, "https://d.example", id="named"),
    pytest.param(["https://d.example"], "http://d.example", 403, None, id="another scheme"),
]


@pytest.mark.parametrize(("allowed", "origin", "code", "told"), ORIGINS)
def test_pages_of_foreign_sites_get_nothing(
    tmp_path: Path, allowed: list[str], origin: str, code: int, told: str | None
) -> None:
    client = Api(tmp_path, cors_origins=allowed).client()
    answer = client.get(QUERY, headers={"Origin": origin})
    assert answer.status_code == code
    assert answer.headers.get("Access-Control-Allow-Origin") == told


def test_a_preflight_of_an_allowed_origin_is_answered_without_a_key(tmp_path: Path) -> None:
    api = Api(tmp_path, **PUBLIC, cors_origins=["https://d.example"])
    api.key("read")
    headers = {"Origin": "https://d.example", "Access-Control-Request-Method": "GET"}
    answer = api.client().options(QUERY, headers=headers)
    assert answer.status_code == 204
    assert "Authorization" in answer.headers["Access-Control-Allow-Headers"]


def test_past_the_rate_there_is_429_with_the_time_to_wait(tmp_path: Path) -> None:
    api = Api(tmp_path, rate_limit="3/hour")
    client = api.client()
    assert [client.get(QUERY).status_code for _ in range(4)] == [200, 200, 200, 429]
    answer = client.get(QUERY)
    assert int(answer.headers["Retry-After"]) > 3000
    assert answer.json["errorType"] == "rate_limited"  # type: ignore[index]


def test_each_key_and_each_address_has_a_rate_of_its_own(tmp_path: Path) -> None:
    api = Api(tmp_path, rate_limit="2/hour")
    one, two = api.key("read"), api.key("read")
    client = api.client()

    def ask(key: str | None, address: str) -> int:
        return client.get(
            QUERY,
            headers=bearer(key) if key else {},
            environ_overrides={"REMOTE_ADDR": address},
        ).status_code

    assert [ask(one, "192.0.2.1") for _ in range(3)] == [200, 200, 429]
    assert ask(one, "192.0.2.2") == 429, "a key takes its rate along"
    assert [ask(two, "192.0.2.1") for _ in range(3)] == [200, 200, 429]
    assert [ask(None, "192.0.2.1") for _ in range(3)] == [200, 200, 429]
    assert ask(None, "192.0.2.2") == 200


def test_refused_keys_and_unknown_paths_count_too(tmp_path: Path) -> None:
    client = Api(tmp_path, rate_limit="2/hour").client()
    assert client.get(QUERY, headers=bearer("fp_x")).status_code == 401
    assert client.get("/nowhere").status_code == 404
    assert client.get(QUERY, headers=bearer("fp_y")).status_code == 429
    assert client.get("/nowhere").status_code == 429


def test_health_is_never_limited(tmp_path: Path) -> None:
    client = Api(tmp_path, rate_limit="1/hour").client()
    assert {client.get("/-/healthy").status_code for _ in range(5)} == {200}


def test_the_log_tells_who_and_what_but_no_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api = Api(tmp_path)
    info, key = api.keys.create("read")
    with caplog.at_level(logging.INFO):
        client = api.client()
        client.get(f"/api/v1/query?query=up&secret={key}", headers=bearer(key))
        client.get("/x%0Aforged")
        client.get(QUERY, headers=bearer(key[:-1]))
    assert key[13:-1] not in caplog.text
    lines = [record.getMessage() for record in caplog.records if record.name == "api.requests"]
    assert lines[0].startswith("GET /api/v1/query 200 ")
    assert lines[0].endswith(f"key={info.id}")
    assert lines[1].startswith("GET /x%0Aforged 404 ")
    assert lines[2].endswith("key=-")


def test_requests_are_counted_by_endpoint(tmp_path: Path) -> None:
    api = Api(tmp_path)
    client = api.client()
    client.get(QUERY)
    client.get("/api/v1/label/job/values")
    client.get("/random/1")
    client.open("/random/2", method="BREW")
    name = "fleetpulse_api_requests_total"
    assert api.metric(name, method="GET", endpoint="/api/v1/query", code="200") == 1
    assert api.metric(name, method="GET", endpoint="/api/v1/label/<name>/values", code="200") == 1
    assert api.metric(name, method="GET", endpoint="unknown", code="404") == 1
    assert api.metric(name, method="other", endpoint="unknown", code="404") == 1
    assert "fleetpulse_api_request_duration_seconds_bucket" in client.get("/metrics").text


ERRORS = [
    pytest.param("GET", "/", 404, id="nothing there"),
    pytest.param("DELETE", "/api/v1/query", 405, id="a method that is not there"),
    pytest.param("GET", "/api/v1/query", 400, id="a parameter is missing"),
]


@pytest.mark.parametrize(("method", "path", "code"), ERRORS)
def test_errors_are_json(tmp_path: Path, method: str, path: str, code: int) -> None:
    answer = Api(tmp_path).client().open(path, method=method)
    assert answer.status_code == code
    assert answer.json is not None
    assert set(answer.json) == {"status", "errorType", "error"}


def test_a_fault_of_the_program_is_500_in_json_and_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api = Api(tmp_path)
    api.engine.answers["up"] = RuntimeError("the password is rosebud")
    answer = api.client().get(QUERY)
    assert answer.status_code == 500
    assert "rosebud" not in answer.text
    assert "rosebud" in caplog.text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
