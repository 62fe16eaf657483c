"""The API over real sockets, asked by the tools that people use."""

import http.client
import json
import math
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from api.jsonvalues import scalar_text, value_text
from fleetpulse.promql.result import Matrix, Result
from fleetpulse.values import ListenAddress
from tests.api_fakes import NOW, NOW_MS, Api, bearer, labels, series, vector

pytestmark = pytest.mark.integration


class Served:
    """An API on a free port, in a thread."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._server = make_server("127.0.0.1", 0, api.app, threaded=True)
        self.address = ListenAddress("127.0.0.1", self._server.server_port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    running = Served(Api(tmp_path, push={"servers": [{"name": "web1"}]}))
    yield running
    running.close()


def post(served: Served, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", served.address.port, timeout=20)
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_many_push_at_the_same_time_and_none_is_lost(served: Served) -> None:
    headers = {**bearer(served.api.key("push", "web1")), "Content-Type": "text/plain"}
    codes: list[int] = []

    def push(worker: int) -> None:
        for turn in range(5):
            path = f"/api/v1/metrics?server=web1&batch_id={worker}-{turn}"
            body = f"a{worker} {turn} {NOW_MS - turn}\n".encode()
            codes.append(post(served, path, body, headers)[0])

    workers = [threading.Thread(target=push, args=(worker,)) for worker in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert codes == [202] * 40
    assert sum(name[0] == "a" for name, _ in served.api.writer.samples()) == 40


def promtool(*arguments: str) -> str:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("needs the program promtool (Debian package prometheus)")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=30)
    return done.stdout + done.stderr


@pytest.mark.peer
def test_promtool_reads_the_answers(served: Served) -> None:
    up = labels("up", job="node")
    engine = served.api.engine
    engine.answers["up"] = Result(vector(NOW_MS, (up, 1.0)))
    engine.answers["up * 2"] = Result(Matrix([series(up, (NOW_MS, 2.5), (NOW_MS + 500, 3.0))]))
    # promtool asks for series of the last year or so.
    served.api.reader.held = [series(up, (round(time.time() * 1000), 1.0))]
    url = served.address.url
    assert promtool("query", "instant", url, "up") == (f'up{{job="node"}} => 1 @[{NOW:.0f}]\n')
    times = [f"--start={NOW:.0f}", f"--end={NOW + 1:.0f}", "--step=500ms"]
    found = promtool("query", "range", *times, url, "up * 2")
    assert found == f'up{{job="node"}} =>\n2.5 @[{NOW:.0f}]\n3 @[{NOW:.0f}.5]\n'
    assert 'job="node"' in promtool("query", "series", "--match=up", url)
    assert promtool("query", "labels", url, "job") == "node\n"


@pytest.mark.peer
def test_promtool_shows_our_errors(served: Served) -> None:
    found = promtool("query", "series", "--match=up{", served.address.url)
    assert "bad_data" in found
    assert "match[]" in found


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[str]:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("needs the program prometheus (Debian package prometheus)")
    (tmp_path / "prometheus.yml").write_text("{}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (tmp_path / "prometheus.log").open("wb") as output:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}/-/ready")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            assert time.monotonic() < deadline, "it did not become ready"
            time.sleep(0.05)


ODD = [0.0, -0.0, 1.0, 0.1, 1e-4, 1e-5, 1e-6, 9.9e-7, 1e-300, 1e15, 123456789012345678.0, 1e16]
ODD += [1e20, 1e21, 1.5e300, math.inf, -math.inf, math.nan, 2 / 3, -1e-5, 12345.678]


@pytest.mark.peer
def test_values_are_written_as_prometheus_writes_them(prometheus: str) -> None:
    for value in ODD:
        assert asked(prometheus, repr(value)) == [1.5, scalar_text(value)]
        (one,) = asked(prometheus, f"vector({value!r})")
        assert one == {"metric": {}, "value": [1.5, value_text(value)]}


def asked(prometheus: str, expr: str) -> Any:
    query = urllib.parse.urlencode({"query": expr, "time": "1.5"})
    with urllib.request.urlopen(f"{prometheus}/api/v1/query?{query}", timeout=5) as response:
        return json.load(response)["data"]["result"]
