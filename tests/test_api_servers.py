from pathlib import Path
from typing import Any

import pytest

from api.config import ServersConfig
from api.inventory import LastSample, state_of
from fleetpulse.model import STALE_NAN, Labels
from fleetpulse.promql.result import Matrix, Result
from tests.api_fakes import NOW, NOW_MS, Api, bearer, labels, series, vector

CONFIG = ServersConfig()
UP = "up{}[5m]"

STATES = [
    pytest.param(None, "never seen", id="no sample at all"),
    pytest.param((0, 1.0), "up", id="just answered"),
    pytest.param((30, 1.0), "up", id="30 seconds ago"),
    pytest.param((31, 1.0), "stale", id="longer ago"),
    pytest.param((300, 1.0), "stale", id="five minutes ago"),
    pytest.param((301, 1.0), "down", id="longer still"),
    pytest.param((0, 0.0), "down", id="did not answer"),
    pytest.param((60, 0.0), "stale", id="nobody has asked for a minute"),
]


@pytest.mark.parametrize(("last", "state"), STATES)
def test_states(last: tuple[int, float] | None, state: str) -> None:
    sample = LastSample(Labels(), NOW_MS - last[0] * 1000, last[1]) if last else None
    assert state_of(sample, NOW_MS, CONFIG) == state


@pytest.fixture
def api(tmp_path: Path) -> Api:
    servers = [{"name": "nat1", "labels": {"site": "x"}}, {"name": "nat2"}]
    return Api(tmp_path, push={"servers": servers})


def servers(api: Api, path: str = "/api/v1/servers") -> Any:
    answer = api.client().get(path)
    assert answer.status_code == 200, answer.text
    return (answer.json or {})["data"]


def test_a_listed_server_that_never_came_is_there(api: Api) -> None:
    one, two = servers(api)
    assert (one["name"], one["mode"], one["state"]) == ("nat1", "push", "never seen")
    assert one["labels"] == {"instance": "nat1", "job": "push", "site": "x"}
    assert (one["last_seen"], one["address"], one["os"]) == (None, "", None)
    assert two["name"] == "nat2"


def scraped(api: Api, *pairs: tuple[int, float]) -> None:
    web = labels("up", job="node", instance="web1:9100")
    api.engine.answers[UP] = Result(Matrix([series(web, *pairs)]))


def test_a_scraped_server_and_what_its_metrics_tell(api: Api) -> None:
    scraped(api, (NOW_MS - 15_000, 0.0), (NOW_MS - 5_000, 1.0))
    web = {"job": "node", "instance": "web1:9100"}
    facts = {
        "node_uname_info{}": labels(
            "node_uname_info", **web, nodename="web1", release="6.1.0", machine="x86_64"
        ),
        "node_os_info{}": labels("node_os_info", **web, pretty_name="Debian 12"),
        '{__name__=~"node_exporter_build_info|fleetpulse_exporter_build_info",}': labels(
            "node_exporter_build_info", **web, version="0.1.0"
        ),
    }
    numbers = {
        'count by (job, instance) (node_cpu_seconds_total{mode="idle",})': 8.0,
        "node_memory_MemTotal_bytes{}": 16e9,
        "node_boot_time_seconds{}": NOW - 3600,
    }
    for expr, found in facts.items():
        api.engine.answers[expr] = Result(vector(NOW_MS, (found, 1.0)))
    for expr, value in numbers.items():
        api.engine.answers[expr] = Result(vector(NOW_MS, (Labels.of(web), value)))
    alerts = [
        labels("ALERTS", **web, alertname="HighCpu", severity="critical"),
        labels("ALERTS", instance="web1:9100", alertname="NoJob"),
        labels("ALERTS", instance="other", alertname="Foreign"),
        labels("ALERTS", job="other", instance="web1:9100", alertname="OtherJob"),
    ]
    api.engine.answers['ALERTS{alertstate="firing",}'] = Result(
        vector(NOW_MS, *((alert, 1.0) for alert in alerts))
    )
    assert servers(api)[-1] == {
        "name": "web1:9100",
        "job": "node",
        "address": "web1:9100",
        "mode": "scrape",
        "state": "up",
        "last_seen": NOW - 5,
        "labels": web,
        "hostname": "web1",
        "os": "Debian 12",
        "kernel": "6.1.0",
        "architecture": "x86_64",
        "exporter_version": "0.1.0",
        "cpus": 8,
        "memory_bytes": 16_000_000_000,
        "boot_time": NOW - 3600,
        "firing_alerts": [
            {"alertname": "HighCpu", "severity": "critical"},
            {"alertname": "NoJob", "severity": ""},
        ],
    }


def test_a_staleness_marker_is_not_a_sign_of_life(api: Api) -> None:
    scraped(api, (NOW_MS - 60_000, 1.0), (NOW_MS - 5_000, STALE_NAN))
    assert servers(api)[-1]["state"] == "stale"
    assert servers(api)[-1]["last_seen"] == NOW - 60


def test_a_server_that_was_lost_hours_ago_is_down_and_then_forgotten(api: Api) -> None:
    odd = labels("up", job="node", instance="we.b|1(:9100")
    api.reader.held = [series(odd, (NOW_MS - 7_200_000, 1.0))]
    (lost,) = [one for one in servers(api) if one["mode"] == "scrape"]
    assert (lost["state"], lost["last_seen"]) == ("down", NOW - 7200)
    api.time += 86_400
    assert [one["mode"] for one in servers(api)] == ["push", "push"]


def test_a_pushing_server_has_the_address_it_came_from(api: Api) -> None:
    key = api.key("push")
    client = api.client()
    client.post(
        "/api/v1/metrics?server=nat1",
        data="a 1\n",
        headers=bearer(key),
        environ_overrides={"REMOTE_ADDR": "198.51.100.7"},
    )
    up = labels("up", job="push", instance="nat1", site="x")
    api.engine.answers[UP] = Result(Matrix([series(up, (NOW_MS, 1.0))]))
    one = servers(api)[0]
    assert (one["address"], one["mode"], one["state"]) == ("198.51.100.7", "push", "up")


def test_a_pusher_that_is_no_longer_listed_is_still_one(api: Api) -> None:
    up = labels("up", job="push", instance="gone")
    api.engine.answers[UP] = Result(Matrix([series(up, (NOW_MS - 60_000, 1.0))]))
    gone = servers(api)[0]
    assert (gone["name"], gone["mode"], gone["state"]) == ("gone", "push", "stale")


def test_a_job_of_ones_own_for_a_pushing_server(tmp_path: Path) -> None:
    api = Api(tmp_path, push={"servers": [{"name": "nat1", "labels": {"job": "node"}}]})
    up = labels("up", job="node", instance="nat1")
    api.engine.answers[UP] = Result(Matrix([series(up, (NOW_MS, 1.0))]))
    (one,) = servers(api)
    assert (one["job"], one["mode"], one["state"]) == ("node", "push", "up")


def test_one_server_by_name(api: Api) -> None:
    web = labels("up", job="node", instance="web1:9100")
    api.engine.answers['up{instance="web1:9100"}[5m]'] = Result(
        Matrix([series(web, (NOW_MS, 1.0))])
    )
    assert servers(api, "/api/v1/servers/web1:9100")["state"] == "up"
    assert servers(api, "/api/v1/servers/nat1")["state"] == "never seen"
    assert api.client().get("/api/v1/servers/nobody").status_code == 404
    assert api.client().get("/api/v1/servers/web1:9100?job=other").status_code == 404


def test_servers_of_one_state(api: Api) -> None:
    scraped(api, (NOW_MS, 1.0))
    assert [one["name"] for one in servers(api, "/api/v1/servers?state=up")] == ["web1:9100"]
    assert len(servers(api, "/api/v1/servers?state=never seen")) == 2
