"""What systemd is told, as it would read it from its socket."""

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fleetpulse.sdnotify import SystemdNotify, for_children, socket_address, watchdog_seconds
from tests.support import ROOT


class Manager:
    """A socket as systemd has it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(socket_address(name))
        self._socket.settimeout(20)

    def read(self) -> dict[str, str]:
        lines = self._socket.recv(4096).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)

    def is_silent(self) -> bool:
        self._socket.setblocking(False)
        try:
            self._socket.recv(4096)
        except BlockingIOError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = tmp_path / "notify"
    one = Manager(str(name) if request.param == "path" else f"@{name}")
    yield one
    one.close()


# What a service does, and what systemd reads of it
WORDS: list[object] = [
    pytest.param(lambda one: one.started(), {"READY": "1"}, id="ready"),
    pytest.param(
        lambda one: one.reloading(), {"RELOADING": "1", "MONOTONIC_USEC": "123456"}, id="reloading"
    ),
    pytest.param(lambda one: one.reloaded(), {"READY": "1"}, id="ready again"),
    pytest.param(lambda one: one.stopping(), {"STOPPING": "1"}, id="stopping"),
    pytest.param(lambda one: one.look(), {"WATCHDOG": "1"}, id="alive"),
    pytest.param(
        lambda one: one.status("a\nREADY=1"), {"STATUS": "a READY=1"}, id="a status is one line"
    ),
]


@pytest.mark.parametrize(("say", "read"), WORDS)
def test_what_is_said(
    manager: Manager, say: Callable[[SystemdNotify], None], read: dict[str, str]
) -> None:
    say(SystemdNotify(manager.name, monotonic_ns=lambda: 123_456_789))
    assert manager.read() == read
    assert manager.is_silent()


def test_only_what_is_healthy_is_alive(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    healthy = [True, False, False, True, False]
    notify = SystemdNotify(manager.name, 30.0, healthy=lambda: healthy.pop(0))
    notify.look()
    assert manager.read() == {"WATCHDOG": "1"}
    notify.look()
    notify.look()
    assert len(caplog.records) == 1
    notify.look()
    assert manager.read() == {"WATCHDOG": "1"}
    notify.look()
    assert len(caplog.records) == 2
    assert "the service is stuck" in caplog.text
    assert manager.is_silent()


def test_the_watchdog_hears_of_it_by_itself_once_the_service_is_ready(manager: Manager) -> None:
    notify = SystemdNotify(manager.name, 0.02)
    notify.started()
    try:
        read = [manager.read() for _ in range(4)]
    finally:
        notify.close()
    assert read == [{"READY": "1"}] + [{"WATCHDOG": "1"}] * 3


def test_without_a_watchdog_nothing_follows(manager: Manager) -> None:
    notify = SystemdNotify(manager.name)
    notify.started()
    notify.close()
    assert manager.read() == {"READY": "1"}
    assert manager.is_silent()


def test_the_variables_are_taken_away_from_children(manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "30000000", "HOME": "/"}
    assert for_children(environ) == {"HOME": "/"}
    SystemdNotify.taken_from(environ).stopping()
    assert environ == {"HOME": "/"}
    assert manager.read() == {"STOPPING": "1"}


def test_without_systemd_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    notify = SystemdNotify.taken_from({"WATCHDOG_USEC": "20000"})
    for say in (notify.started, notify.reloading, notify.reloaded, notify.stopping, notify.close):
        say()
    assert caplog.text == ""


BROKEN = [
    pytest.param("/nonexistent/notify", id="a socket that is not there"),
    pytest.param("vsock:2:1234", id="of another kind"),
    pytest.param("@" + "x" * 200, id="too long a name"),
    pytest.param("/a\0b", id="a name that cannot be"),
]


@pytest.mark.parametrize("address", BROKEN)
def test_a_manager_that_cannot_be_told_is_a_line_and_no_more(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    notify = SystemdNotify(address)
    notify.started()
    notify.stopping()
    assert len(caplog.records) == 1
    assert "systemd cannot be told" in caplog.text


def test_a_manager_that_does_not_read_holds_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manager = Manager(str(tmp_path / "notify"))
    notify = SystemdNotify(manager.name, send_timeout=0.001)
    for _ in range(100_000):  # until the socket takes no more
        notify.status("busy")
        if caplog.records:
            break
    assert "systemd cannot be told: timed out" in caplog.text
    manager.close()


WATCHDOGS = [
    pytest.param("30000000", "", 30.0, id="for whoever reads it"),
    pytest.param("30000000", "42", 30.0, id="for this process"),
    pytest.param("30000000", "1", None, id="for another process"),
    pytest.param("", "", None, id="none"),
    pytest.param("0", "", None, id="none, as a number"),
    pytest.param("soon", "", None, id="no number"),
    pytest.param("-5", "", None, id="below zero"),
]


@pytest.mark.parametrize(("usec", "pid", "seconds"), WATCHDOGS)
def test_the_watchdogs_time(usec: str, pid: str, seconds: float | None) -> None:
    assert watchdog_seconds(usec, pid, 42) == seconds


_SERVICE = """
import os
from fleetpulse.sdnotify import SystemdNotify
from fleetpulse.service import run_until_signalled
class Slow:
    name = "slow"
    def start(self): notify.status("starting")
    def stop(self): notify.status("gone")
notify = SystemdNotify.taken_from(os.environ)
run_until_signalled([Slow()], lambda: notify.status("reading"), notify=notify)
"""


@pytest.mark.integration
def test_a_service_from_its_start_to_its_end(manager: Manager) -> None:
    environ = {"NOTIFY_SOCKET": manager.name, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", _SERVICE], cwd=ROOT, env=environ) as process:
        assert manager.read() == {"STATUS": "starting"}
        assert manager.read() == {"READY": "1"}
        process.send_signal(signal.SIGHUP)
        assert manager.read()["RELOADING"] == "1"
        assert manager.read() == {"STATUS": "reading"}
        assert manager.read() == {"READY": "1"}
        process.send_signal(signal.SIGTERM)
        assert manager.read() == {"STOPPING": "1"}
        assert manager.read() == {"STATUS": "gone"}
    assert process.returncode == 0
