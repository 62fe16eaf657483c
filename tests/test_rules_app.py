"""The whole role, over a store in memory: start, pages, reload, stop."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from fleetpulse.errors import ConfigError, StartError
from fleetpulse.promql.engine import Engine
from fleetpulse.values import ListenAddress
from rules.app import RulesApp
from rules.config import RulesConfig
from tests.rules_fakes import FakePost, MemoryStore, labels
from tests.support import wait_for

RULES = """
groups:
  - name: fast
    interval: 50ms
    rules:
      - alert: Always
        expr: vector(1) > 0
        labels: {severity: page}
        annotations: {summary: "{{ $value }}"}
      - {record: "one:two", expr: vector(2)}
"""
GOOD = "groups: [{name: other, rules: [{record: x, expr: vector(1)}]}]"


class Rig:
    """An app with what it was given."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.file = folder / "rules.yml"
        self.store, self.post, self.registry = MemoryStore(), FakePost(), CollectorRegistry()
        self.config = RulesConfig(
            listen=ListenAddress("127.0.0.1", 0), shipped=False, rule_files=["rules.yml"], **config
        )
        self.app = RulesApp(
            self.config,
            Engine(self.store),
            self.store,
            self.registry,
            base_dir=folder,
            new_post=lambda: self.post,
        )

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.app.address.url + path, timeout=5) as answer:
            text = answer.read().decode()
        return json.loads(text) if path.startswith("/api") else text

    def reloaded(self) -> float | None:
        return self.registry.get_sample_value("fleetpulse_rules_last_reload_successful")


@contextmanager
def running(folder: Path, text: str = RULES, **config: Any) -> Iterator[Rig]:
    (folder / "rules.yml").write_text(text)
    rig = Rig(folder, **config)
    rig.app.start()
    try:
        yield rig
    finally:
        rig.app.stop()


@pytest.mark.integration
def test_an_alert_goes_from_the_file_to_the_bridge(tmp_path: Path) -> None:
    with running(tmp_path, external_labels={"dc": "eu"}) as rig:
        wait_for("the alert", lambda: bool(rig.post.bodies))
        wait_for("the samples", lambda: "one:two" in {name.name for name in rig.store.samples})
    url, body = rig.post.bodies[0]
    assert url == "http://127.0.0.1:9093/api/v2/alerts"
    (sent,) = json.loads(body)
    assert sent["labels"] == {"alertname": "Always", "severity": "page", "dc": "eu"}
    assert sent["annotations"] == {"summary": "1", "value": "1"}
    assert sent["generatorURL"].startswith("http://127.0.0.1:8080/graph?g0.expr=vector")
    assert rig.post.closed


@pytest.mark.integration
def test_the_pages(tmp_path: Path) -> None:
    with running(tmp_path) as rig:
        wait_for("an evaluation", lambda: bool(rig.post.bodies))
        assert rig.get("/-/ready") == "2 rules in 1 group\n"
        (group,) = rig.get("/api/v1/rules")["data"]["groups"]
        (alert,) = rig.get("/api/v1/alerts")["data"]["alerts"]
        metrics = rig.get("/metrics")
    assert (group["name"], group["file"], group["interval"]) == ("fast", str(rig.file), 0.05)
    alerting, recording = group["rules"]
    assert alerting["type"] == "alerting"
    assert alerting["state"] == "firing"
    assert alerting["query"] == "vector(1) > 0"
    assert alerting["alerts"] == [alert]
    assert alerting["annotations"] == {"summary": "{{ $value }}"}
    assert (recording["type"], recording["name"], recording["health"]) == (
        "recording", "one:two", "ok",
    )  # fmt: skip
    assert alert["labels"] == {"alertname": "Always", "severity": "page"}
    assert (alert["state"], alert["value"]) == ("firing", "1e+00")
    assert alert["activeAt"].endswith("Z")
    assert f'fleetpulse_rules_group_rules{{rule_group="{rig.file};fast"}} 2.0' in metrics
    assert 'state="firing"} 1.0' in metrics


FILTERS = [
    ("type=alert", ["Always"]),
    ("type=record", ["one:two"]),
    ("rule_name[]=one:two", ["one:two"]),
    ("rule_group[]=none", []),
    ("rule_group[]=fast&type=alert", ["Always"]),
    ("file[]=none", []),
    ('match[]={severity="page"}', ["Always"]),
    ('match[]={severity="none"}', []),
    ('match[]={severity="x"}&match[]={severity=~"p.*"}', ["Always"]),
    ("group_limit=1", ["Always", "one:two"]),
]


@pytest.mark.integration
def test_the_rules_page_can_be_narrowed(tmp_path: Path) -> None:
    with running(tmp_path) as rig:
        for arguments, expected in FILTERS:
            groups = rig.get(f"/api/v1/rules?{arguments}")["data"]["groups"]
            assert [rule["name"] for group in groups for rule in group["rules"]] == expected
        (group,) = rig.get("/api/v1/rules?type=alert&exclude_alerts=true")["data"]["groups"]
        assert group["rules"][0]["alerts"] is None


@pytest.mark.integration
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("type=x", 'invalid parameter "type": not supported value "x"'),
        (
            "exclude_alerts=x",
            'invalid parameter "exclude_alerts": error converting exclude_alerts: '
            '"x" is not true or false',
        ),
        ("match[]=up(", '1:3: parse error: unexpected "("'),
        ("match[]={}", "match[] must contain at least one non-empty matcher"),
        (
            "group_next_token=x",
            'invalid parameter "group_next_token": group_limit needs to be present in order to '
            "paginate over the groups",
        ),
        (
            "group_limit=0",
            'invalid parameter "group_limit": group_limit needs to be greater than 0',
        ),
        (
            "group_limit=1&group_next_token=x",
            'invalid parameter "group_next_token": '
            "invalid group_next_token 'x'. were rule groups changed?",
        ),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: str, message: str) -> None:
    with running(tmp_path) as rig, pytest.raises(urllib.error.HTTPError) as caught:
        rig.get(f"/api/v1/rules?{arguments}")
    with caught.value as answer:
        assert answer.code == 400
        assert json.load(answer) == {"status": "error", "errorType": "bad_data", "error": message}


@pytest.mark.integration
def test_a_bad_reload_keeps_the_rules(tmp_path: Path) -> None:
    with running(tmp_path) as rig:
        rig.file.write_text("groups: [{name: x, rules: [{alert: A, expr: 'sum('}]}]")
        with pytest.raises(ConfigError, match=r"rules\.yml:1: groups\[0\]\.rules\[0\]\.expr"):
            rig.app.reload(rig.config)
        assert rig.app.ready() == "2 rules in 1 group"
        assert rig.reloaded() == 0
        rig.file.write_text(GOOD)
        rig.app.reload(rig.config)
        assert rig.app.ready() == "1 rule in 1 group"
        assert rig.reloaded() == 1


@pytest.mark.integration
def test_an_unchanged_group_keeps_its_alerts_over_a_reload(tmp_path: Path) -> None:
    with running(tmp_path) as rig:
        wait_for("the alert", lambda: bool(rig.get("/api/v1/alerts")["data"]["alerts"]))
        (before,) = rig.get("/api/v1/alerts")["data"]["alerts"]
        rig.app.reload(rig.config)
        assert rig.get("/api/v1/alerts")["data"]["alerts"] == [before]
        # A changed one takes its alerts over as well.
        rig.app.reload(rig.config.model_copy(update={"resend_delay": 30.0}))
        assert rig.get("/api/v1/alerts")["data"]["alerts"] == [before]


@pytest.mark.integration
def test_a_changed_time_limit_counts_for_the_bridges_already_there(tmp_path: Path) -> None:
    with running(tmp_path, resend_delay="50ms") as rig:
        wait_for("the alert", lambda: 10.0 in rig.post.timeouts)
        rig.app.reload(rig.config.model_copy(update={"bridge_timeout": 3.0}))
        wait_for("the new limit", lambda: 3.0 in rig.post.timeouts)


@pytest.mark.integration
def test_series_of_a_group_that_is_gone_end(tmp_path: Path) -> None:
    with running(tmp_path) as rig:
        wait_for("the samples", lambda: bool(rig.store.values("ALERTS", **FIRING)))
        rig.file.write_text(GOOD)
        rig.app.reload(rig.config)
        assert rig.store.values("one:two")[-1] == "stale"
        assert rig.store.values("ALERTS", **FIRING)[-1] == "stale"


FIRING = dict(labels(alertname="Always", alertstate="firing", severity="page"))


@pytest.mark.integration
def test_a_changed_file_is_taken_over_by_itself(tmp_path: Path) -> None:
    with running(tmp_path) as rig:
        rig.file.write_text(GOOD)
        wait_for("the new rules", lambda: rig.app.ready() == "1 rule in 1 group")


def test_a_bad_file_keeps_it_from_starting(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text("groups: [{name: ''}]")
    rig = Rig(tmp_path)
    with pytest.raises(ConfigError, match="a group needs a name"):
        rig.app.start()
    assert rig.app.ready() is None
    rig.app.stop()


@pytest.mark.integration
def test_a_port_in_use_is_a_clear_line(tmp_path: Path) -> None:
    with running(tmp_path) as first:
        second = Rig(tmp_path)
        config = second.config.model_copy(update={"listen": first.app.address})
        app = RulesApp(
            config, Engine(second.store), second.store, CollectorRegistry(), base_dir=tmp_path
        )
        with pytest.raises(StartError, match="cannot listen on"):
            app.start()
        app.stop()


def test_once_evaluates_and_tells(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(RULES)
    rig = Rig(tmp_path)
    assert rig.app.evaluate_once() == ['firing {alertname="Always", severity="page"}']
    assert rig.post.bodies == []


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("bridge_urls", ["bridge:9093"], "write a URL such as http://127.0.0.1:9093"),
        ("bridge_urls", ["http://user:secret@bridge"], "write only scheme, host, port and path"),
        ("evaluation_interval", 0, "must be longer than 0s"),
        ("external_labels", {"a-b": "c"}, "'a-b' is no label name"),
        ("concurrency", 0, "greater than or equal to 1"),
        ("external_url", "ftp://x", "write a URL such as"),
    ],
)
def test_bad_configuration(key: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        RulesConfig.model_validate({key: value})
    assert "secret" not in str(caught.value)
