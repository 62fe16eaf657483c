"""A bridge as a real process, and alerts to send to it."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.support import ROOT, free_port, wait_for

# Runs a bridge in a process of its own, as the command line does.
SERVER = """
import sys
from pathlib import Path
from alertmanager_bridge.app import Bridge, BridgeConfig, create_app
from fleetpulse.serving import serve
from fleetpulse.logs import setup_logging
from fleetpulse.telemetry import new_registry
setup_logging()
folder, port = Path(sys.argv[1]), sys.argv[2]
config = BridgeConfig.model_validate(
    {"listen": f"127.0.0.1:{port}", "config_file": str(folder / "am.yml"),
     "external_url": "http://am.example"})
running = []
def create():
    registry = new_registry()
    bridge = Bridge(config, folder / "bridge.db", registry)
    bridge.start()
    running.append(bridge)
    return create_app(bridge, config, registry)
serve(create, config.listen, threads=4, on_stop=lambda: [one.stop() for one in running])
"""


@contextmanager
def running(command: list[str], log: Path, url: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out)
    try:
        wait_for(f"{url}: {log.read_text()}", lambda: is_ready(url, process, log))
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def is_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        return requests.get(f"{url}/-/ready", timeout=2).status_code == 200
    except requests.RequestException:
        return False


@contextmanager
def bridge(folder: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-c", SERVER, str(folder), str(port)]
    with running(command, folder / "bridge.log", url) as process:
        yield url, process


FILE = """
route:
  receiver: all
  group_by: [alertname]
  group_wait: 1s
  group_interval: 2s
  repeat_interval: 1h
  routes:
  - matchers: [team=~"db|web.*", severity!=info]
    receiver: "team's (own)"
    group_by: ['...']
    continue: true
  - match: {team: web}
    receiver: all
    group_by: [team, alertname]
inhibit_rules:
- source_matchers: [severity=page]
  target_matchers: [severity=warn]
  equal: [host]
receivers:
- name: all
  webhook_configs: [{url: '%(url)s'}]
- name: "team's (own)"
  webhook_configs: [{url: '%(url)s', max_alerts: 1}]
"""


def posted(start: float) -> list[dict[str, Any]]:
    began = time.strftime("%Y-%m-%dT%H:%M:%S.250Z", time.gmtime(start))
    sets = [
        {"alertname": "Disk", "host": "b", "severity": "warn", "job": "node", "instance": "i2"},
        {"alertname": "Disk", "host": "a", "severity": "page", "job": "node", "instance": "i1"},
        {"alertname": "Cpu", "host": "a", "severity": "warn"},
        {"alertname": "Cpu", "host": "c", "severity": "warn", "team": "web", "empty": ""},
        {"alertname": "Queue", "team": "db", "severity": "info"},
        {"alertname": "Grün", "path": 'C:\\\\x "y"', "team": "db"},
    ]
    return [
        {
            "labels": labels,
            "annotations": {"summary": f"{labels['alertname']} is bad", "nothing": ""},
            "startsAt": began,
            "generatorURL": "http://prometheus.example/graph?g0.expr=up",
        }
        for labels in sets
    ]


def report(url: str, alerts: list[dict[str, Any]]) -> None:
    answer = requests.post(f"{url}/api/v2/alerts", json=alerts, timeout=10)
    assert answer.status_code == 200, answer.text
