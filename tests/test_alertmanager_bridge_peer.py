"""Against the real Alertmanager and its amtool: the same file and alerts, the same answers."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.bridge_process import FILE, bridge, posted, report, running
from tests.support import Receiver, free_port, wait_for

pytestmark = [
    pytest.mark.peer,
    pytest.mark.integration,
    pytest.mark.skipif(
        shutil.which("prometheus-alertmanager") is None or shutil.which("amtool") is None,
        reason="needs prometheus-alertmanager and amtool (Debian: prometheus-alertmanager)",
    ),
]


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
