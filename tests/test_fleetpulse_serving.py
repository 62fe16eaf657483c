"""The server of API and bridge: bad clients, its end, and a new worker that cannot begin."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support import ROOT, free_port, wait_for

pytestmark = pytest.mark.integration

_SERVED = """
import sys
from pathlib import Path
from fleetpulse.errors import StartError
from fleetpulse.serving import serve
from fleetpulse.telemetry import setup_logging
from fleetpulse.values import ListenAddress
setup_logging()
def create():
    if Path(sys.argv[2]).exists():
        raise StartError("the disk is full")
    def app(environ, start):
        start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"ok"]
    return app
serve(create, ListenAddress("127.0.0.1", int(sys.argv[1])), threads=2, client_timeout=0.5,
      on_stop=lambda: print("stopped", flush=True))
"""


class Served:
    """A server in a process of its own; while .obstacle is there, no worker can begin."""

    def __init__(self, folder: Path) -> None:
        self.port, self.obstacle, self._out = free_port(), folder / "obstacle", folder / "out"
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _SERVED, str(self.port), str(self.obstacle)],
                cwd=ROOT, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def answers(self) -> bool:
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/", timeout=5).text == "ok"
        except requests.RequestException:
            return False

    def output(self) -> str:
        return self._out.read_text()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    server = Served(tmp_path)
    try:
        wait_for("an answer", server.answers)
        yield server
    finally:
        server.process.terminate()
        try:
            server.process.wait(20)
        finally:
            server.process.kill()
            server.process.wait()


def test_a_worker_that_cannot_begin_after_a_reload_is_tried_again(served: Served) -> None:
    served.obstacle.touch()
    os.kill(served.process.pid, signal.SIGHUP)
    wait_for("the reason", lambda: "cannot begin, next attempt in 5 s" in served.output())
    assert "the disk is full" in served.output()
    wait_for("the next attempt", lambda: served.output().count("cannot begin") > 1)
    assert served.process.poll() is None
    served.obstacle.unlink()
    wait_for("a worker that could", served.answers)


def test_a_first_worker_that_cannot_begin_ends_it(tmp_path: Path) -> None:
    (tmp_path / "obstacle").touch()
    process = Served(tmp_path).process
    try:
        assert process.wait(20) != 0
    finally:
        process.kill()
        process.wait()


def test_clients_that_drip_their_headers_do_not_keep_the_threads(served: Served) -> None:
    clients = [served.connect() for _ in range(4)]  # twice as many as there are threads
    try:
        for client in clients:
            client.sendall(b"GET / HTTP/1.1\r\nX: ")
            client.settimeout(0.1)

        def cut(client: socket.socket) -> bool:
            try:
                client.sendall(b"x")
                return client.recv(1) == b""
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        # A byte at a time, more often than the time limit of a single recv() would notice.
        wait_for("their end", lambda: set(map(cut, clients)) == {True})
        assert served.answers()
    finally:
        for client in clients:
            client.close()


def test_open_connections_do_not_keep_a_stop_from_being_clean(served: Served) -> None:
    with served.connect(), requests.Session() as kept:
        assert kept.get(f"http://127.0.0.1:{served.port}/", timeout=5).text == "ok"
        served.process.terminate()
        assert served.process.wait(20) == 0
    assert served.output().count("stopped") == 1
