"""The bridge as a real process: killed, and reloaded."""

import subprocess
import time
from pathlib import Path

import pytest
import requests

from tests.bridge_process import FILE, bridge, is_ready, posted, report
from tests.support import Receiver, wait_for

pytestmark = pytest.mark.integration


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
            history = f"{url}/api/v1/history?type=notification&event=sent"
            wait_for("the note", lambda: requests.get(history, timeout=10).json()["data"])
            assert len(hook.bodies) == 1


def _worker_of(pid: int) -> int:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(found[0]) if found else 0


def test_a_reload_hands_the_state_to_the_new_process(tmp_path: Path) -> None:
    with Receiver() as hook:
        (tmp_path / "am.yml").write_text(FILE % {"url": hook.url})
        with bridge(tmp_path) as (url, process):
            report(url, posted(time.time())[1:2])
            wait_for("the message", lambda: hook.bodies)
            before = _worker_of(process.pid)
            process.send_signal(1)

            def handed_over() -> bool:
                return _worker_of(process.pid) not in (0, before) and is_ready(
                    url, process, tmp_path / "x"
                )

            wait_for("the new worker", handed_over)
            assert len(requests.get(f"{url}/api/v2/alerts", timeout=10).json()) == 1
            again = posted(time.time())[0:2]
            report(url, again)
            wait_for("the second message", lambda: len(hook.bodies) >= 2)
            assert len(hook.bodies) == 2
