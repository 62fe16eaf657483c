"""vmalert with this API as its data source: its rules fire as ours do."""

import time
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.api_fakes import bearer
from tests.peer_programs import FleetPulse, ask, served, vector
from tests.remote_write_fakes import PATH, V1, pairs, request, series, snap
from tests.support import Receiver, free_port, needs, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.peer, needs("vmalert")]

_RULES = {
    "groups": [
        {
            "name": "demo",
            "interval": "1s",
            "rules": [
                {"record": "job:demo_level:sum", "expr": "sum by (job) (demo_level)"},
                {
                    "alert": "LevelHigh",
                    "expr": "demo_level > 5",
                    "labels": {"severity": "critical", "of": "{{ $labels.instance }}"},
                    "annotations": {"summary": "{{ $labels.instance }} is at {{ $value }}"},
                },
                {
                    "alert": "NoneThere",
                    "expr": "absent(demo_nothing{job='demo'})",
                    "labels": {"severity": "warning"},
                },
                {"alert": "Later", "expr": "demo_level < 5", "for": "1h"},
                {"alert": "Never", "expr": "demo_level > 1000"},
                {
                    "alert": "Rising",
                    "expr": "sum without (path) (rate(demo_requests_total[10m])) > 0",
                    "annotations": {"summary": "{{ $labels.job }} rises"},
                },
            ],
        }
    ]
}


def _write(ours: FleetPulse, key: str) -> None:
    """Some minutes of samples up to now, as a remote writer would have sent them."""
    now = round(time.time() * 1000)
    at = [now - 15_000 * turn for turn in range(20, -1, -1)]
    rows = [
        series(pairs("demo_level", job="demo", instance="h1"), *((one, 7.5) for one in at)),
        series(pairs("demo_level", job="demo", instance="h2"), *((one, 3.0) for one in at)),
        *(
            series(
                pairs("demo_requests_total", job="demo", instance="h1", path=path),
                *((one, float(turn * 30)) for turn, one in enumerate(at)),
            )
            for path in ("/a", "/b")
        ),
    ]
    answer = requests.post(
        f"{ours.url()}{PATH}", snap(request(*rows)), headers={**V1, **bearer(key)}
    )
    assert answer.status_code == 204, answer.text


def _alerts(alerts: list[dict[str, Any]]) -> list[Any]:
    """What an alert is, without when it was and by whom; vmalert adds the name of the group."""
    return sorted(
        (
            sorted((k, v) for k, v in one["labels"].items() if k != "alertgroup"),
            sorted(one["annotations"].items()),
            one["state"],
        )
        for one in alerts
    )


def test_the_same_rules_fire_there_as_here(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(yaml.safe_dump(_RULES))
    with Receiver() as people, FleetPulse(tmp_path, rules={"rule_files": [str(rules)]}) as ours:
        key_file = ours.key_file("push")
        ours.start("api", "rules")
        _write(ours, key_file.read_text())
        port = free_port()
        command = [
            "vmalert", f"-rule={rules}", f"-datasource.url={ours.url()}",
            f"-notifier.url={people.url}", f"-remoteWrite.url={ours.url()}",
            f"-remoteWrite.bearerTokenFile={key_file}", "-remoteWrite.flushInterval=200ms",
            f"-httpListenAddr=127.0.0.1:{port}", "-evaluationInterval=1s",
            "-external.label=from=vmalert",
        ]  # fmt: skip
        theirs = f"http://127.0.0.1:{port}"
        with served(command, f"{theirs}/health"):
            mine = wait_for("alerts of ours", lambda: _all_of(ours.url("rules")))
            other = wait_for("alerts of vmalert", lambda: _all_of(theirs))
            for one in other:
                one["labels"].pop("from", None)
            assert _alerts(other) == _alerts(mine)
            assert {one["labels"]["alertname"]: one["state"] for one in other} == {
                "LevelHigh": "firing", "NoneThere": "firing", "Later": "pending",
                "Rising": "firing",
            }  # fmt: skip
            wait_for("a notification", lambda: people.bodies)
            # What it has evaluated it writes back, and finds it again.
            query = 'job:demo_level:sum{from="vmalert"}'
            recorded = wait_for("what vmalert recorded", lambda: vector(ours.url(), query))
            assert set(recorded.values()) == {"10.5"}


def _all_of(url: str) -> list[dict[str, Any]] | None:
    """The alerts, once all that are expected are in the state that they stay in."""
    alerts: list[dict[str, Any]] = ask(url, "alerts")["alerts"] or []  # null before the first
    firing = [one for one in alerts if one["state"] == "firing"]
    return alerts if len(alerts) == 4 and len(firing) == 3 else None
