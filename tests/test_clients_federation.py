"""Debian's Prometheus federates from this API: what it takes over is what is here."""

from pathlib import Path

import pytest
import requests

from tests.api_fakes import bearer
from tests.peer_programs import FleetPulse, ServedPage, prometheus, vector
from tests.remote_write_fakes import PATH, V1, request, series, snap
from tests.support import needs, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.peer, needs("prometheus")]

_MATCHES = ['{job="demo"}', '{__name__=~"job:.*"}']
_HELD = {
    (("__name__", "demo_level"), ("instance", "h1"), ("job", "demo")): 1.5,
    (("__name__", "demo_level"), ("instance", "h2"), ("job", "demo")): -2.0,
    (("__name__", "demo_text"), ("job", "demo"), ("text", 'a "b" \\ c\nd')): 0.0,
    (("__name__", "job:demo:sum"), ("job", "demo")): 1e300,
}
_ELSEWHERE = (("__name__", "other"), ("job", "elsewhere"))


def _write(ours: FleetPulse, key: str, at: float) -> None:
    """Remote writes the samples of a moment, which federation is to pass on with its time."""
    rows = [*_HELD.items(), (_ELSEWHERE, 1.0)]
    body = request(*(series(labels, (round(at * 1000), value)) for labels, value in rows))
    answer = requests.post(f"{ours.url()}{PATH}", snap(body), headers={**V1, **bearer(key)})
    assert answer.status_code == 204, answer.text


def test_a_prometheus_federates(tmp_path: Path) -> None:
    with FleetPulse(tmp_path) as ours, ServedPage(lambda number: f"beat {number}\n") as clock:
        ours.start("api")
        key = ours.key("push")
        federation = {
            "job_name": "federate",
            "honor_labels": True,
            "metrics_path": "/federate",
            "params": {"match[]": _MATCHES},
            "static_configs": [{"targets": [ours.url().removeprefix("http://")]}],
        }
        beats = {"job_name": "clock", "static_configs": [{"targets": [clock.address]}]}
        config = {
            "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms"},
            "scrape_configs": [federation, beats],
        }
        with prometheus(tmp_path / "prometheus", config) as theirs:
            at = wait_for("a clock", lambda: vector(theirs, "timestamp(beat)"))
            moment = round(float(next(iter(at.values()))), 3)
            _write(ours, key, moment)
            wait_for("federated samples", lambda: vector(theirs, "demo_text"))
            taken = vector(theirs, '{__name__=~"demo_.*|job:.*|other"}')
            assert {labels: float(value) for labels, value in taken.items()} == _HELD
            times = vector(theirs, "timestamp(demo_level)")
            assert {round(float(value), 3) for value in times.values()} == {moment}
            assert vector(theirs, 'up{job="federate"}')
