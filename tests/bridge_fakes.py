"""What the bridge's tests share: a clock, receivers that remember, a bridge without threads."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from alertmanager_bridge.alerts import StoredAlert
from alertmanager_bridge.amconfig import AlertmanagerFile, parse_amconfig
from alertmanager_bridge.bridge import Bridge
from alertmanager_bridge.config import BridgeConfig
from alertmanager_bridge.payload import build_payload
from alertmanager_bridge.receivers.base import Message, Notifier
from alertmanager_bridge.receivers.build import Integration, build_integrations
from fleetpulse.model import Labels

START = 1_700_000_000.0


class Clock:
    def __init__(self, at: float = START) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


class Ear:
    """A notifier that keeps what it is told, after raising the errors it was given."""

    def __init__(self, *errors: Exception) -> None:
        self.messages: list[Message] = []
        self.attempts = 0
        self._errors = list(errors)

    def notify(self, message: Message) -> None:
        self.attempts += 1
        if self._errors:
            raise self._errors.pop(0)
        self.messages.append(message)

    @property
    def told(self) -> list[str]:
        """Each message as `status: names`, resolved alerts in brackets."""
        return [_summary(message.data) for message in self.messages]


def _summary(data: Mapping[str, Any]) -> str:
    names = []
    for alert in data["alerts"]:
        name = alert["labels"].get("host") or alert["labels"]["alertname"]
        names.append(f"({name})" if alert["status"] == "resolved" else name)
    return f"{data['status']}: {' '.join(names)}"


def amfile(text: str) -> AlertmanagerFile:
    return parse_amconfig(text, file="am.yml", base=Path())


def integration(receiver: str, notifier: Any, *, send_resolved: bool = True) -> Integration:
    return Integration(receiver, "webhook", 0, send_resolved, notifier)


ONE_ROUTE = """
route: {receiver: ear, group_by: [alertname], group_wait: 30s, group_interval: 5m,
        repeat_interval: 4h}
receivers: [{name: ear}]
"""


class Rig:
    """A bridge on a file, without threads: run() moves the clock and does what is due."""

    def __init__(
        self,
        folder: Path,
        *ears: Integration,
        text: str = ONE_ROUTE,
        clock: Clock | None = None,
        **config: Any,
    ) -> None:
        self.clock = clock or Clock()
        ways: dict[str, list[Integration]] = {}
        for ear in ears:
            ways.setdefault(ear.receiver, []).append(ear)
        self.registry = CollectorRegistry()
        self.bridge = Bridge(
            BridgeConfig(**config),
            folder / "bridge.db",
            self.registry,
            amconfig=amfile(text),
            now=self.clock,
            integrations=ways,
        )
        self.bridge.load()

    def __enter__(self) -> "Rig":
        return self

    def __exit__(self, *_error: object) -> None:
        self.bridge.stop()

    def post(self, *alerts: StoredAlert) -> None:
        self.bridge.post(alerts)
        self.decide()

    def decide(self) -> None:
        self.bridge.run_due(self.clock.at)

    def deliver(self) -> None:
        for sender in self.bridge.senders.values():
            while sender.run_due():
                pass

    def run(self, seconds: float) -> None:
        """Lets time pass, stopping at everything that is due."""
        end = self.clock.at + seconds
        while (due := self.next_due()) is not None and due <= end:
            self.clock.at = max(due, self.clock.at)
            self.decide()
            self.deliver()
        self.clock.at = end
        self.decide()
        self.deliver()

    def next_due(self) -> float | None:
        times = [self.bridge.next_due(), *(s.next_due() for s in self.bridge.senders.values())]
        return min((at for at in times if at is not None), default=None)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"fleetpulse_bridge_{name}", labels)

    def events(self, kind: str) -> list[str]:
        """The history's events of a type, oldest first."""
        rows = self.bridge.database.query(
            "SELECT event FROM history WHERE type = ? ORDER BY id", (kind,)
        )
        return [row["event"] for row in rows]


def alert(
    name: str = "Down", *, at: float = START, ends: float | None = None, **labels: str
) -> StoredAlert:
    """An alert reported at a time, without an end unless one is given."""
    return StoredAlert(
        Labels.of({"alertname": name, **labels}),
        Labels.of({"summary": f"{name} is bad"}),
        starts_at=at,
        ends_at=at + 300 * 365 * 24 if ends is None else ends,
        updated_at=at,
    )


def message(*alerts: StoredAlert, now: float = START, **labels: str) -> Message:
    payload = build_payload(
        receiver="ops",
        group_key='{}:{alertname="Down"}',
        group_labels={"alertname": "Down", **labels},
        alerts=alerts or [alert()],
        external_url="http://bridge.example",
        now=now,
    )
    return Message("5f1e6f0e-0000-4000-8000-000000000001", "key", payload, now)


def make_certificate(
    folder: Path, names: Sequence[str] = ("DNS:localhost", "IP:127.0.0.1")
) -> tuple[Path, Path]:
    """A self-signed certificate and its key, by the openssl program."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=localhost",
         "-addext", f"subjectAltName={','.join(names)}"],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    return cert, key


def built(yaml: str, head: str = "") -> Notifier:
    """The only notifier of a receiver that is written in YAML."""
    text = f"{head}\nroute: {{receiver: ops}}\nreceivers:\n- name: ops\n  {yaml}\n"
    ((only,),) = build_integrations(amfile(text)).values()
    return only.notifier
