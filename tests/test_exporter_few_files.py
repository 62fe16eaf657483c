"""The exporter where it may have few files open, and clients that want them all."""

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests

from fleetpulse.logs import wants_a_person
from tests.exporter_fakes import samples
from tests.support import Process, free_port, wait_for, wait_ready

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(sys.platform == "win32", reason="has no such limit"),
]

# The limit, then the command.
_LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[1])))
os.execv(sys.argv[2], sys.argv[2:])
"""


def limited(files: int) -> list[str]:
    return [sys.executable, "-c", _LIMITED, str(files)]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture(params=[64, 1024])
def files(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def process(port: int, files: int, tmp_path: Path) -> Iterator[Process]:
    line = ["exporter", "--listen", f"127.0.0.1:{port}"]
    with Process(line, tmp_path / "log", limited(files)) as started:
        wait_ready(f"http://127.0.0.1:{port}", started)
        yield started


def page(port: int) -> dict[str, float]:
    # Less than the time after which silent clients are let go anyway.
    return samples(requests.get(f"http://127.0.0.1:{port}/metrics", timeout=8).text)


def silent(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def test_silent_clients_shut_nobody_out(process: Process, port: int, files: int) -> None:
    first = page(port)
    with ExitStack() as clients:
        for _ in range(files):
            clients.enter_context(silent(port))
        crowded = page(port)
    for name in ("cpu", "filesystem", "netdev"):
        key = f'node_scrape_collector_success{{collector="{name}"}}'
        assert (first[key], crowded[key]) == (1, 1)
    assert not [line for line in process.output().splitlines() if wants_a_person(line)]


@pytest.mark.parametrize("files", [20])
def test_where_there_is_no_room_each_says_it_in_a_line(process: Process, port: int) -> None:
    with ExitStack() as clients:
        for _ in range(64):
            clients.enter_context(silent(port))
        wait_for("a page", lambda: page(port))
    assert "Traceback" not in process.output()
    troubles = [line.partition(" WARNING ")[2] for line in process.output().splitlines()]
    assert len(troubles) == len(set(troubles))
