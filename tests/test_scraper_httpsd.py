"""http_sd_configs: what an answer may be, and asking a real server over loopback."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from scraper.httpsd import HttpAsker, parse_groups
from scraper.sdconfig import HttpSdConfig
from scraper.sources import DiscoveryError
from tests.scraper_fakes import MemoryWriter, Targets
from tests.support import free_port, wait_for
from tests.test_scraper_app import _HEAD, running, shown

URL = "http://sd.example/targets?team=a"


def test_groups_bear_their_url() -> None:
    body = b'[{"targets": ["a:1", "b:1"], "labels": {"rack": "7", "n": 7}}, {"targets": ["c:1"]}]'
    one, other = parse_groups(body, URL)
    assert one.targets == ("a:1", "b:1")
    assert one.labels == {"rack": "7", "n": "7", "__meta_url": URL}
    assert other.labels == {"__meta_url": URL}
    assert parse_groups(b"[]", URL) == ()


BROKEN = [
    pytest.param(b"", "no JSON", id="nothing"),
    pytest.param(b"<html>", "no JSON", id="a page for people"),
    pytest.param(b'{"targets": []}', "no list of groups", id="no list"),
    pytest.param(b"[null]", "has a fault", id="no group"),
    pytest.param(b'[{"targets": "a:1"}]', "targets", id="no list of targets"),
    pytest.param(b'[{"targets": [], "source": 1}]', "source", id="an unknown key"),
    pytest.param(b'[{"labels": {"__name__": "x"}}]', "labels", id="a label that is none"),
    pytest.param(b"[" * 100_000, "no JSON", id="nested too deeply"),
    pytest.param(b'[{"targets": ["a\xff"]}]', "no JSON", id="no UTF-8"),
]


@pytest.mark.parametrize(("body", "message"), BROKEN)
def test_an_answer_with_a_fault_is_none(body: bytes, message: str) -> None:
    with pytest.raises(DiscoveryError, match=message):
        parse_groups(body, URL)


@pytest.fixture
def server() -> Iterator[Targets]:
    with Targets() as targets:
        targets.served["/sd"] = (b'[{"targets": ["a:1"]}]', "application/json; charset=utf-8")
        yield targets


def asker(server: Targets, path: str = "/sd", **more: Any) -> HttpAsker:
    settings = {"url": f"http://{server.address}{path}", "refresh_interval": "2s", **more}
    return HttpAsker(HttpSdConfig.model_validate(settings))


@pytest.mark.integration
def test_a_question_is_made_as_prometheus_makes_it(server: Targets) -> None:
    login = {"authorization": {"credentials": "tOken"}, "http_headers": {"X-A": {"values": ["b"]}}}
    (group,) = asker(server, "/sd?x=y", **login).ask()
    assert group.targets == ("a:1",)
    assert group.labels == {"__meta_url": f"http://{server.address}/sd?x=y"}
    path, headers = server.requests[0]
    assert path == "/sd?x=y"
    assert headers["accept"] == "application/json"
    assert headers["x-prometheus-refresh-interval-seconds"] == "2"
    assert headers["authorization"] == "bearer token"
    assert headers["x-a"] == "b"


# what a server does instead of answering, and what is said of it
MISBEHAVIOUR = [
    pytest.param("/hang", "timed out", id="it hangs"),
    pytest.param("/status", "HTTP status 503", id="it answers 503"),
    pytest.param("/endless", "larger than", id="its answer has no end"),
    pytest.param("/loop", "more than 5 redirects", id="it redirects in a circle"),
    pytest.param("/half", "missing", id="it closes in the middle"),
    pytest.param("/metrics", "must be application/json", id="it is no discovery"),
]


@pytest.mark.integration
@pytest.mark.parametrize(("path", "message"), MISBEHAVIOUR)
def test_a_server_that_misbehaves_gives_no_answer(server: Targets, path: str, message: str) -> None:
    with pytest.raises(DiscoveryError, match=message):
        asker(server, path, refresh_interval="500ms").ask()


@pytest.mark.integration
def test_nobody_listens_and_a_secret_that_is_not_there() -> None:
    url = f"http://127.0.0.1:{free_port()}/"
    with pytest.raises(DiscoveryError):
        HttpAsker(HttpSdConfig(url=url)).ask()
    auth = {"username": "u", "password_file": "/nowhere/password"}
    with pytest.raises(DiscoveryError, match="password"):
        HttpAsker(HttpSdConfig.model_validate({"url": url, "basic_auth": auth})).ask()


@pytest.mark.integration
def test_targets_come_change_stay_and_go() -> None:
    writer = MemoryWriter()
    with Targets(["127.0.0.1", "127.0.0.2"]) as targets, Targets() as server:
        one, two = targets.addresses

        def serve(*addresses: str) -> None:
            group = {"targets": addresses, "labels": {"rack": "7"}}
            server.served["/sd"] = (json.dumps([group]).encode(), "application/json")

        serve(one, two)
        rules = "[{source_labels: [__meta_url], target_label: via}]"
        sd = f"{{url: 'http://{server.address}/sd', refresh_interval: 200ms}}"
        job = f"  - {{job_name: j, http_sd_configs: [{sd}], relabel_configs: {rules}}}\n"
        with running(job, writer, head=_HEAD) as (app, registry):
            via = f"http://{server.address}/sd"
            writer.wait_values(2, "up", instance=one, rack="7", via=via)
            writer.wait_values(2, "up", instance=two)
            server.served["/sd"] = (b"oops", "application/json")

            def broken() -> float | None:
                return registry.get_sample_value("fleetpulse_scraper_discovery_broken")

            wait_for("the fault is seen", broken)
            seen = len(writer.values("up", instance=two))
            writer.wait_values(seen + 2, "up", instance=two)
            serve(one)
            wait_for("two ends", lambda: writer.values("up", instance=two)[-1] is None)
            wait_for("it works again", lambda: broken() == 0)
            assert len(shown(app)["activeTargets"]) == 1
            assert None not in writer.values("up", instance=one)
