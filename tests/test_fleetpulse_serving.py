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

from tests.support import ROOT, drip_until_cut, free_port, wait_for

pytestmark = pytest.mark.integration

_SERVED = """
import os, sys
from pathlib import Path
from fleetpulse.errors import StartError
from fleetpulse.serving import ask_reload, serve
from fleetpulse.logs import setup_logging
from fleetpulse.values import ListenAddress
setup_logging()
def create():
    if Path(sys.argv[2]).exists():
        raise StartError("the disk is full")
    print("created", flush=True)
    def app(environ, start):
        if environ["PATH_INFO"] == "/reload":
            ask_reload()
        body = str(os.getpid()).encode()
        start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]
    return app
serve(create, ListenAddress("127.0.0.1", int(sys.argv[1])), threads=2, client_timeout=0.5,
      on_stop=lambda: print("stopped", flush=True), on_reload=lambda: print("reload", flush=True))
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

    def worker(self, path: str = "/") -> str | None:
        """The process id of the worker that answers; None where nothing does."""
        try:
            return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=5).text
        except requests.RequestException:
            return None

    def answers(self) -> bool:
        return self.worker() is not None

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


def test_a_reload_replaces_the_worker_and_the_end_is_clean(served: Served) -> None:
    first = served.worker()
    with served.connect() as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")  # and then nothing more
        assert slow.recv(1) == b""
    served.worker("/reload")
    wait_for("another worker", lambda: served.worker() not in (None, first))
    served.process.terminate()
    assert served.process.wait(20) == 0
    lines = served.output().splitlines()
    told = sorted(line for line in lines if line in ("created", "reload", "stopped"))
    assert told == ["created", "created", "reload", "stopped", "stopped"]


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
        drip_until_cut(clients, 0.1)
        assert served.answers()
    finally:
        for client in clients:
            client.close()


def test_open_connections_do_not_keep_a_stop_from_being_clean(served: Served) -> None:
    with served.connect(), requests.Session() as kept:
        assert kept.get(f"http://127.0.0.1:{served.port}/", timeout=5).status_code == 200
        served.process.terminate()
        assert served.process.wait(20) == 0
    assert served.output().count("stopped") == 1
