"""Threads that go on and end, watched files, signals; the small telemetry server; gunicorn."""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from fleetpulse.errors import StartError
from fleetpulse.service import FileWatch, Periodic, run_until_signalled, stamp
from fleetpulse.telemetry import TelemetryServer, bind, health_routes, new_registry
from fleetpulse.values import ListenAddress
from tests.support import ROOT, drip_until_cut


def test_a_failed_turn_is_counted_and_the_next_one_comes(caplog: pytest.LogCaptureFixture) -> None:
    turns, failures, done = [], [], threading.Event()

    def work() -> None:
        turns.append(1)
        if len(turns) == 1:
            raise RuntimeError("first turn")
        done.set()

    periodic = Periodic("p", work, 0.01, on_error=lambda: failures.append(1))
    periodic.start()
    assert done.wait(10)
    periodic.stop()
    assert failures == [1]
    assert "first turn" in caplog.text


def test_wake_brings_the_next_turn_forward() -> None:
    done = threading.Event()
    periodic = Periodic("p", done.set, 3600, first_delay=3600)
    periodic.start()
    assert not done.is_set()
    periodic.wake()
    assert done.wait(10)
    periodic.stop()


def test_turns_brought_forward_take_no_later_turns_place() -> None:
    turns = threading.Semaphore(0)
    periodic = Periodic("p", turns.release, 0.3, first_delay=0.3)
    periodic.start()
    for _ in range(150):
        periodic.wake()
        assert turns.acquire(timeout=10)
    assert turns.acquire(timeout=10)  # the planned one; it was 45 s away before
    periodic.stop()


def test_stop_may_come_twice_and_without_a_start() -> None:
    periodic = Periodic("p", lambda: None, 1)
    periodic.stop()
    periodic.stop()


def test_a_watch_sees_change_coming_and_going(tmp_path: Path) -> None:
    file, seen = tmp_path / "f", []
    watch = FileWatch("w", lambda: [file], lambda: seen.append(1))
    watch.look()
    assert seen == []
    file.write_text("a")
    watch.look()
    watch.look()
    assert len(seen) == 1
    file.write_text("ab")
    watch.look()
    file.unlink()
    watch.look()
    assert len(seen) == 3


def test_a_watch_sees_what_changed_since_the_file_was_read(tmp_path: Path) -> None:
    file, seen = tmp_path / "f", []
    file.write_text("a")
    before = stamp([file])
    file.write_text("ab")  # while whoever read it was still starting
    watch = FileWatch("w", lambda: [file], lambda: seen.append(1), seen=before)
    watch.look()
    assert seen == [1]


_ORDER = """
import sys
from fleetpulse.service import run_until_signalled
class Named:
    def __init__(self, name): self.name = name
    def start(self): print("start", self.name, flush=True)
    def stop(self): print("stop", self.name, flush=True)
run_until_signalled([Named("a"), Named("b")], lambda: print("reload", flush=True),
                    lambda: print("started", flush=True))
"""


@pytest.mark.integration
def test_signals_reload_and_stop_in_reverse_order() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _ORDER], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(3)]
        process.send_signal(signal.SIGHUP)
        lines.append(process.stdout.readline().strip())
        process.send_signal(signal.SIGTERM)
        lines += process.stdout.read().split("\n")
    assert lines == ["start a", "start b", "started", "reload", "stop b", "stop a", ""]
    assert process.returncode == 0


class Told:
    """Keeps what it is told, as does a manager of services."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def started(self) -> None:
        self.words.append("started")

    def reloading(self) -> None:
        self.words.append("reloading")

    def reloaded(self) -> None:
        self.words.append("reloaded")

    def stopping(self) -> None:
        self.words.append("stopping")

    def close(self) -> None:
        self.words.append("close")


def test_a_service_that_cannot_start_is_never_told_to_be_ready() -> None:
    class Broken:
        name = "broken"

        def start(self) -> None:
            raise StartError("no")

        def stop(self) -> None:
            told.words.append("stopped")

    told = Told()
    with pytest.raises(StartError):
        run_until_signalled([Broken()], notify=told)
    assert told.words == ["stopped", "close"]


@pytest.fixture
def server() -> Iterator[tuple[TelemetryServer, list[str | None]]]:
    ready: list[str | None] = [None]
    routes = health_routes(new_registry(), lambda: ready[0])
    server = TelemetryServer("t", ListenAddress("127.0.0.1", 0), routes)
    server.start()
    yield server, ready
    server.stop()


@pytest.mark.integration
def test_health_and_metrics(server: tuple[TelemetryServer, list[str | None]]) -> None:
    telemetry, ready = server
    url = telemetry.address.url
    assert requests.get(f"{url}/-/healthy", timeout=5).text == "healthy\n"
    assert requests.get(f"{url}/-/ready", timeout=5).status_code == 503
    ready[0] = "1 target"
    assert requests.get(f"{url}/-/ready", timeout=5).text == "1 target\n"
    page = requests.get(f"{url}/metrics", timeout=5).text
    assert 'fleetpulse_build_info{version="' in page
    assert "process_resident_memory_bytes" in page


@pytest.mark.integration
def test_other_paths_and_methods_are_refused(
    server: tuple[TelemetryServer, list[str | None]],
) -> None:
    url = server[0].address.url
    assert requests.get(f"{url}/etc/passwd", timeout=5).status_code == 404
    head = requests.head(f"{url}/metrics", timeout=5)
    assert (head.status_code, head.content) == (200, b"")
    answer = requests.post(f"{url}/metrics", data=b"x", timeout=5)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.integration
def test_silent_clients_keep_nobody_out_of_the_telemetry_server() -> None:
    routes = health_routes(new_registry(), lambda: "ok")
    server = TelemetryServer("t", ListenAddress("127.0.0.1", 0), routes, patience=600)
    server.start()
    clients = []
    try:
        for number in range(300):
            client = socket.create_connection(("127.0.0.1", server.address.port), timeout=20)
            clients.append(client)
            if number % 2:
                client.sendall(b"GET /-/healthy HTTP/1.1\r\n")
        assert requests.get(f"{server.address.url}/-/healthy", timeout=20).status_code == 200
        # More than wait at a time: the first ones had to go, the last one is still heard.
        assert clients[0].recv(1) == b""
        clients[-1].sendall(b"\r\n")
        assert clients[-1].recv(12) == b"HTTP/1.0 200"
    finally:
        for client in clients:
            client.close()
        server.stop()


@pytest.mark.integration
def test_clients_that_drip_do_not_keep_the_telemetry_servers_threads() -> None:
    routes = health_routes(new_registry(), lambda: "ok")
    server = TelemetryServer("t", ListenAddress("127.0.0.1", 0), routes, patience=0.5)
    server.start()
    clients = [socket.create_connection(("127.0.0.1", server.address.port)) for _ in range(16)]
    try:
        drip_until_cut(clients, 0.02)
        assert requests.get(f"{server.address.url}/-/healthy", timeout=10).status_code == 200
    finally:
        for client in clients:
            client.close()
        server.stop()


def test_a_taken_port_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=rf"cannot listen on 127.0.0.1:{port}: .* choose"):
            bind(ListenAddress("127.0.0.1", port))
