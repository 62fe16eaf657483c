"""The whole chain as real processes: a host in trouble, a person who is told, once each way."""

import json
import textwrap
from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any, Self

import pytest
import requests

from tests.support import Mailbox, Process, Receiver, free_port, wait_for, wait_ready

pytestmark = pytest.mark.integration

_CONFIG = """
exporter: {{listen: "127.0.0.1:{exporter}"}}
scraper:
  listen: "127.0.0.1:{scraper}"
  scrape_interval: 1s
  scrape_timeout: 1s
  scrape_configs:
    - job_name: node
      static_configs: [{{targets: ["127.0.0.1:{exporter}"], labels: {{site: lab}}}}]
api:
  listen: "127.0.0.1:{api}"
  rate_limit: unlimited
  push: {{servers: [{{name: web-1, labels: {{site: nat}}}}]}}
rules:
  listen: "127.0.0.1:{rules}"
  shipped: false
  rule_files: [rules.yml]
  evaluation_interval: 1s
  resend_delay: 2s
  bridge_urls: ["http://127.0.0.1:{bridge}"]
bridge: {{listen: "127.0.0.1:{bridge}", config_file: alertmanager.yml}}
"""

_RULES = """
groups:
  - name: test
    rules:
      - record: job:up:sum
        expr: sum by (job) (up)
      - alert: HostDown
        expr: up{job="node"} == 0
        for: 1s
        labels: {severity: critical}
        annotations: {summary: "{{ $labels.instance }} at {{ $labels.site }} is down"}
      - alert: NoPush
        expr: time() - last_over_time(fleetpulse_push_received_timestamp_seconds[5m]) > 4
        labels: {severity: critical}
        annotations: {summary: "no push from {{ $labels.instance }}"}
"""

_BRIDGE = """
global:
  smtp_smarthost: "127.0.0.1:{smtp}"
  smtp_from: fleetpulse@example.org
  smtp_require_tls: false
route:
  receiver: people
  group_by: [alertname]
  group_wait: 2s
  group_interval: 1s
  repeat_interval: 1h
receivers:
  - name: people
    slack_configs: [{{api_url: "{slack}", channel: "#ops", send_resolved: true}}]
    email_configs: [{{to: ops@example.org, send_resolved: true}}]
"""


class Stack:
    """All roles of one host on free ports, each a process; people are a Receiver and a Mailbox."""

    def __init__(self, folder: Path, slack: Receiver, mailbox: Mailbox) -> None:
        self.folder, self.slack, self.mailbox = folder, slack, mailbox
        names = ("exporter", "scraper", "api", "rules", "bridge")
        self.ports = {name: free_port() for name in names}
        config = textwrap.dedent(_CONFIG).format(**self.ports)
        (folder / "fleetpulse.yml").write_text(config)
        (folder / "rules.yml").write_text(_RULES)
        bridge = _BRIDGE.format(smtp=mailbox.port, slack=slack.url)
        (folder / "alertmanager.yml").write_text(bridge)
        self.roles: dict[str, Process] = {}

    def url(self, role: str) -> str:
        return f"http://127.0.0.1:{self.ports[role]}"

    def command(self, role: str, *more: str) -> Process:
        config, data = self.folder / "fleetpulse.yml", self.folder / "data"
        arguments = [role, "--config", str(config), "--data-dir", str(data), *more]
        return Process(arguments, self.folder / f"{role}.log")

    def start(self, *roles: str) -> None:
        for role in roles:
            self.roles[role] = self.command(role).start()
        for role in roles:
            wait_ready(self.url(role), self.roles[role])

    def kill_and_restart(self, role: str) -> None:
        self.roles[role].kill()
        self.start(role)

    def query(self, expr: str) -> list[Any]:
        answer = requests.get(f"{self.url('api')}/api/v1/query", {"query": expr}, timeout=10)
        result: list[Any] = answer.json()["data"]["result"]
        return result

    def wait_value(self, expr: str, value: str) -> None:
        def look() -> bool:
            result = self.query(expr)
            return bool(result) and result[0]["value"][1] == value

        wait_for(f"{expr} is {value}", look)

    def slack_titles(self) -> list[str]:
        return [body["attachments"][0]["title"] for body in self.slack.bodies]

    def mail_subjects(self) -> list[str]:
        mails = [message_from_bytes(raw, policy=policy.default) for raw in self.mailbox.messages]
        return [str(mail["Subject"]) for mail in mails]

    def wait_told(self, count: int) -> None:
        """Until Slack and the mailbox have count messages each."""

        def look() -> bool:
            return len(self.slack.bodies) >= count and len(self.mailbox.messages) >= count

        wait_for(f"{count} messages at Slack and by mail", look)

    def sent(self) -> int:
        """Messages that the bridge says it has sent."""
        url = f"{self.url('bridge')}/api/v1/history?type=notification"
        return sum(e["event"] == "sent" for e in requests.get(url, timeout=10).json()["data"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for process in self.roles.values():
            process.kill()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with Receiver() as slack, Mailbox() as mailbox, Stack(tmp_path, slack, mailbox) as stack:
        yield stack


def assert_told_once_each_way(stack: Stack, alert: str) -> None:
    """One firing and one resolved message at Slack, and the same by mail; nothing in doubt."""
    firing, resolved = stack.slack_titles()
    assert "FIRING" in firing.upper()
    assert alert in firing
    assert "RESOLVED" in resolved.upper()
    first, second = stack.mail_subjects()
    assert "FIRING" in first.upper()
    assert "RESOLVED" in second.upper()


def test_a_host_goes_down_and_comes_back(stack: Stack) -> None:
    stack.start("bridge", "rules", "api", "scraper", "exporter")
    stack.wait_value('up{job="node"}', "1")
    stack.wait_value("job:up:sum", "1")
    stack.roles["exporter"].stop()
    stack.wait_told(1)
    (body,) = stack.slack.bodies
    assert "127.0.0.1" in json.dumps(body)
    assert "at lab is down" in json.dumps(body)
    assert "value" in json.dumps(body)
    stack.start("exporter")
    stack.wait_told(2)
    stack.wait_value('up{job="node"}', "1")
    assert_told_once_each_way(stack, "HostDown")
    for role, process in stack.roles.items():
        assert process.stop() == 0, f"{role}:\n{process.output()}"
    assert_told_once_each_way(stack, "HostDown")


def test_a_pushing_host_falls_silent_and_comes_back(stack: Stack) -> None:
    stack.start("bridge", "rules", "api")
    pusher = start_pusher(stack)
    stack.wait_value('up{job="push",instance="web-1",site="nat"}', "1")
    assert stack.query('node_load1{instance="web-1"}')
    pusher.stop()
    stack.wait_told(1)
    pusher = start_pusher(stack)
    stack.wait_told(2)
    assert_told_once_each_way(stack, "NoPush")


def start_pusher(stack: Stack) -> Process:
    key_file = stack.folder / "push.key"
    if not key_file.exists():
        create = stack.command("keys")
        create.arguments = [
            "keys", "create", "--scope", "push", "--server", "web-1",
            "--data-dir", str(stack.folder / "data"),
        ]  # fmt: skip
        create.log = key_file.with_suffix(".out")
        with create:
            assert create._process is not None
            assert create._process.wait(30) == 0
        key_file.touch(mode=0o600)
        key_file.write_text(create.output().split()[-1])
    process = stack.command(
        "exporter", "--push", stack.url("api"), "--key-file", str(key_file), "--server", "web-1"
    )
    process.arguments += ["--listen", f"127.0.0.1:{free_port()}"]
    stack.roles["pusher"] = process.start()
    return process


@pytest.mark.parametrize("victim", ["scraper", "rules", "bridge", "api"])
def test_a_role_killed_in_the_middle_changes_nothing(stack: Stack, victim: str) -> None:
    stack.start("bridge", "rules", "api", "scraper", "exporter")
    stack.wait_value('up{job="node"}', "1")
    stack.roles["exporter"].stop()
    stack.wait_value('ALERTS{alertname="HostDown",alertstate="firing"}', "1")
    stack.kill_and_restart(victim)
    stack.wait_told(1)
    # Killed before it has noted that a message is out, the bridge would send it again.
    wait_for("the bridge to note both messages", lambda: stack.sent() >= 2)
    stack.kill_and_restart(victim)
    stack.wait_value('ALERTS{alertname="HostDown",alertstate="firing"}', "1")
    stack.start("exporter")
    stack.wait_told(2)
    assert_told_once_each_way(stack, "HostDown")
