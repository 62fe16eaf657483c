"""Against the real Alertmanager and its amtool: the same file and alerts, the same answers."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support import ROOT, Receiver, free_port, wait_for

pytestmark = [
    pytest.mark.peer,
    pytest.mark.integration,
    pytest.mark.skipif(
        shutil.which("prometheus-alertmanager") is None or shutil.which("amtool") is None,
        reason="needs prometheus-alertmanager and amtool (Debian: prometheus-alertmanager)",
    ),
]

# Runs a bridge in a process of its own, as the command line does.
SERVER = """
import sys
from pathlib import Path
from alertmanager_bridge.app import Bridge, BridgeConfig, create_app
from fleetpulse.serving import serve
from fleetpulse.telemetry import new_registry, setup_logging
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
        wait_for(f"{url}: {log.read_text()}", lambda: _ready(url, process, log))
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def _ready(url: str, process: subprocess.Popen[bytes], log: Path) -> bool:
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


@contextmanager
def alertmanager(folder: Path) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [
        "prometheus-alertmanager", f"--config.file={folder / 'am.yml'}",
        f"--storage.path={folder / 'am'}", f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=", "--web.external-url=http://am.example",
        "--log.level=warn",
    ]  # fmt: skip
    with running(command, folder / "alertmanager.log", url):
        yield url


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


def comparable(bodies: list[Any]) -> list[str]:
    return sorted(json.dumps(body, sort_keys=True) for body in bodies)


def shown_alerts(url: str) -> Any:
    found = requests.get(f"{url}/api/v2/alerts", timeout=10).json()
    for alert in found:
        for key in ("updatedAt", "endsAt"):
            del alert[key]
        alert["status"].pop("mutedBy", None)
    return found


def shown_groups(url: str) -> Any:
    groups = requests.get(f"{url}/api/v2/alerts/groups", timeout=10).json()
    return [
        (group["receiver"], group["labels"], [alert["fingerprint"] for alert in group["alerts"]])
        for group in groups
    ]


def test_the_same_messages_as_alertmanager(tmp_path: Path) -> None:
    with Receiver() as ours, Receiver() as theirs:
        folders = {"ours": (tmp_path / "ours", ours), "theirs": (tmp_path / "theirs", theirs)}
        for folder, receiver in folders.values():
            folder.mkdir()
            (folder / "am.yml").write_text(FILE % {"url": receiver.url})
        with bridge(tmp_path / "ours") as (url, _), alertmanager(tmp_path / "theirs") as peer:
            alerts = posted(time.time())
            for each in (url, peer):
                report(each, alerts)
            wait_for("Alertmanager's messages", lambda: len(theirs.bodies) >= 5)
            wait_for("our messages", lambda: len(ours.bodies) >= len(theirs.bodies))
            assert comparable(ours.bodies) == comparable(theirs.bodies)
            assert shown_alerts(url) == shown_alerts(peer)
            assert shown_groups(url) == shown_groups(peer)
            _resolved_alike(url, peer, alerts, ours, theirs)


def _resolved_alike(
    url: str, peer: str, alerts: list[dict[str, Any]], ours: Receiver, theirs: Receiver
) -> None:
    before = len(theirs.bodies)
    ended = time.strftime("%Y-%m-%dT%H:%M:%S.250Z", time.gmtime(time.time() - 1))
    over = [{**alert, "endsAt": ended} for alert in alerts]
    for alert in over:
        alert["startsAt"] = alert["endsAt"]
    for each in (url, peer):
        report(each, over)

    def resolved(receiver: Receiver) -> list[Any]:
        return [body for body in receiver.bodies if body["status"] == "resolved"]

    wait_for("Alertmanager's resolved messages", lambda: len(resolved(theirs)) >= before)
    wait_for("our resolved messages", lambda: len(resolved(ours)) >= len(resolved(theirs)))
    assert comparable(resolved(ours)) == comparable(resolved(theirs))


def amtool(url: str, *arguments: str) -> str:
    done = subprocess.run(
        ["amtool", f"--alertmanager.url={url}", *arguments],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_amtool_works(tmp_path: Path) -> None:
    with Receiver() as hook:
        (tmp_path / "am.yml").write_text(FILE % {"url": hook.url})
        with bridge(tmp_path) as (url, _):
            amtool(url, "alert", "add", "Down", "host=a", "team=db", "--annotation=summary=gone")
            (shown,) = json.loads(amtool(url, "-o", "json", "alert", "query", "host=a"))
            assert shown["annotations"] == {"summary": "gone"}
            assert json.loads(amtool(url, "-o", "json", "alert", "query", "host=b")) == []
            silence = amtool(
                url, "silence", "add", "host=~a|b", "team!=web", "-c", "test", "-a", "me"
            ).strip()
            assert silence in amtool(url, "silence", "query", "-q")
            assert "Down" not in amtool(url, "alert", "query")
            assert "Down" in amtool(url, "alert", "query", "--silenced")
            amtool(url, "silence", "update", silence, "--comment=other")
            amtool(url, "silence", "expire", *amtool(url, "silence", "query", "-q").split())
            assert amtool(url, "silence", "query", "-q").strip() == ""
            assert silence in amtool(url, "silence", "query", "-q", "--expired")
            assert "receiver: all" in amtool(url, "config", "show")
            wait_for("the message of an alert that amtool sent", lambda: hook.bodies)


def test_kill_9_between_decided_and_sent_loses_no_message(tmp_path: Path) -> None:
    # The receiver refuses until the bridge was killed; the decided message must then arrive.
    with Receiver([500] * 1000) as hook:
        (tmp_path / "am.yml").write_text(FILE % {"url": hook.url})
        with bridge(tmp_path) as (url, process):
            report(url, posted(time.time())[1:2])
            wait_for("an attempt that failed", lambda: hook.refused)
            killed = _worker_of(process.pid)
            subprocess.run(["kill", "-9", str(killed), str(process.pid)], check=True)
            process.wait(10)
    with Receiver() as hook:
        (tmp_path / "am.yml").write_text(FILE % {"url": hook.url})
        with bridge(tmp_path) as (url, _):
            (body,) = wait_for("the message after the restart", lambda: hook.bodies)
            assert body["alerts"][0]["labels"]["alertname"] == "Disk"
            path = f"{url}/api/v1/history?type=notification&event="
            events = requests.get(path + "sent", timeout=10).json()["data"]
            assert len(events) == 1


def _worker_of(pid: int) -> int:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(found[0])


def test_a_reload_hands_the_state_to_the_new_process(tmp_path: Path) -> None:
    with Receiver() as hook:
        (tmp_path / "am.yml").write_text(FILE % {"url": hook.url})
        with bridge(tmp_path) as (url, process):
            report(url, posted(time.time())[1:2])
            wait_for("the message", lambda: hook.bodies)
            before = _worker_of(process.pid)
            process.send_signal(1)

            def handed_over() -> bool:
                return _worker_of(process.pid) != before and _ready(url, process, tmp_path / "x")

            wait_for("the new worker", handed_over)
            assert len(requests.get(f"{url}/api/v2/alerts", timeout=10).json()) == 1
            again = posted(time.time())[0:2]
            report(url, again)
            wait_for("the second message", lambda: len(hook.bodies) >= 2)
            assert len(hook.bodies) == 2
