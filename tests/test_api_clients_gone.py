"""A query whose client goes away, in the server that the API runs in."""

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import requests

from api.clients import has_left
from tests.support import ROOT, free_port, wait_for

pytestmark = pytest.mark.integration

_SERVED = """
import sys
from pathlib import Path
import numpy as np
from prometheus_client import CollectorRegistry
from api.app import create_app
from api.config import ApiConfig
from api.keys import KeyStore
from fleetpulse.logs import setup_logging
from fleetpulse.model import Labels, Series
from fleetpulse.promql.engine import Engine
from fleetpulse.serving import serve
from fleetpulse.values import ListenAddress
from tests.api_fakes import FakeWriter
from tests.promql_fakes import FakeReader
setup_logging()
folder = Path(sys.argv[2])
times = np.arange(20_000, dtype=np.int64) * 1000
held = [Series(Labels.of(__name__="up", i=str(i)), times, np.sin(times + i)) for i in range(50)]
listen = ListenAddress("127.0.0.1", int(sys.argv[1]))
config = ApiConfig.model_validate({
    "listen": listen, "rate_limit": "unlimited",
    "query": {"log": str(folder / "queries.log"), "max_concurrency": 1},
})
def create():
    reader = FakeReader(held)
    keys = KeyStore(folder / "keys.json")
    engine = Engine(reader, max_concurrency=1)
    return create_app(config, engine, reader, FakeWriter(), keys, CollectorRegistry())
serve(create, listen, threads=6)
"""

# Minutes of work, all of it in the engine.
ENDLESS = " + ".join(["quantile_over_time(0.5, up[2h])"] * 400)


class Served:
    """An API with one place for queries, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.port, self._log, self._out = free_port(), folder / "queries.log", folder / "out"
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _SERVED, str(self.port), str(folder)],
                cwd=ROOT, stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def get(self, path: str, **params: Any) -> requests.Response:
        return requests.get(f"http://127.0.0.1:{self.port}{path}", params, timeout=60)

    def is_ready(self) -> bool:
        try:
            return self.get("/-/ready").ok
        except requests.RequestException:
            return False

    def metric(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def ask(self, **params: Any) -> socket.socket:
        """Asks for a range, and does not wait for the answer."""
        asked = urlencode({"start": 0, "end": 20_000, "step": 10, **params})
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        head = (
            "POST /api/v1/query_range HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(asked)}\r\n"
        )
        connection.sendall(f"{head}\r\n{asked}".encode())
        return connection

    def logged(self) -> list[dict[str, Any]]:
        if not self._log.exists():
            return []
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def output(self) -> str:
        return self._out.read_text()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    server = Served(tmp_path)
    try:
        wait_for("the API", server.is_ready)
        yield server
    finally:
        server.process.send_signal(signal.SIGTERM)
        try:
            server.process.wait(20)
        finally:
            server.process.kill()
            server.process.wait()


def test_its_place_is_free_again_and_it_is_logged_as_canceled(served: Served) -> None:
    running, queued = "fleetpulse_api_queries_running", "fleetpulse_api_queries_queued"
    with served.ask(query=ENDLESS):
        wait_for("it to begin", lambda: served.metric(running) == 1)
        with served.ask(query="up"):
            wait_for("the next to wait", lambda: served.metric(queued) == 1)
        wait_for("the next to have left the queue", lambda: served.metric(queued) == 0)
        assert served.metric(running) == 1
    # The endless one's place, long before its time is over.
    assert served.get("/api/v1/query", query="1 + 1", timeout="30s").ok
    assert served.metric('fleetpulse_api_queries_total{status="canceled"}') == 2
    statuses = [(one["params"]["query"], one["status"]) for one in served.logged()]
    assert statuses[:2] == [("up", "canceled"), (ENDLESS, "canceled")]
    assert served.logged()[0]["error"] == "query was canceled in query queue"
    assert served.logged()[1]["series"] == 50


def test_a_big_answer_is_made_no_further(served: Served) -> None:
    with served.ask(query="up", step=2) as connection:
        first = connection.recv(1000)
    assert first.startswith(b"HTTP/1.1 200 OK")
    assert b"Transfer-Encoding: chunked" in first
    whole = served.get("/api/v1/query_range", query="up", start=0, end=20_000, step=2)
    assert len(whole.json()["data"]["result"]) == 50
    assert "Traceback" not in served.output()


def test_a_client_that_is_there_has_not_left() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not has_left(ours)
        theirs.sendall(b"GET / HTTP/1.1\r\n")  # the next request, before the answer
        assert not has_left(ours)
        assert ours.recv(3) == b"GET"
    again, gone = socket.socketpair()
    with again:
        gone.close()
        assert has_left(again)
    assert has_left(again)  # closed by ourselves
