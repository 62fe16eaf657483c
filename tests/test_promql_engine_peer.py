"""The engine's answers beside a real Prometheus' over the same samples."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from fleetpulse.model import Labels, Series
from fleetpulse.promql.engine import Engine
from fleetpulse.promql.result import Matrix
from tests.promql_fakes import QUERIES, FakeReader, fleet

BASE_MS = 1_700_000_000_000
# No sample lies on the bound of a window: there Prometheus 2 and 3 differ.
START_MS, END_MS, STEP_MS = BASE_MS + 901_234, BASE_MS + 2_101_234, 37_000

pytestmark = [
    pytest.mark.peer,
    pytest.mark.integration,
    pytest.mark.skipif(
        not (shutil.which("prometheus") and shutil.which("promtool")),
        reason="prometheus and promtool are not installed (Debian package prometheus)",
    ),
]


def open_metrics(held: list[Series]) -> str:
    lines = []
    for one in sorted(held, key=lambda one: one.labels):
        for at, value in zip(one.times_ms.tolist(), one.values.tolist(), strict=True):
            # This reader of OpenMetrics takes no blank after a comma.
            name = str(one.labels).replace(", ", ",")
            lines.append(f"{name} {value!r} {at / 1000:.3f}")
    return "\n".join([*lines, "# EOF\n"])


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Prometheus that holds the fleet's samples."""
    folder = tmp_path_factory.mktemp("prometheus")
    page, data = folder / "page.txt", folder / "data"
    page.write_text(open_metrics(fleet(BASE_MS, ending=False)))
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")
    importing = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(page), str(data)]
    subprocess.run(importing, check=True, capture_output=True, timeout=60)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with running(folder, data, address):
        wait_until_ready(f"http://{address}/-/ready")
        yield f"http://{address}"


@contextlib.contextmanager
def running(folder: Path, data: Path, address: str) -> Iterator[None]:
    command = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address={address}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.RequestException):
            if requests.get(url, timeout=2).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError(f"{url} did not answer in time")


@pytest.mark.parametrize("query", QUERIES)
def test_range_equals_prometheus(peer: str, query: str) -> None:
    asked: dict[str, str | float] = {
        "query": query,
        "start": START_MS / 1000,
        "end": END_MS / 1000,
        "step": STEP_MS / 1000,
    }
    answer = requests.get(f"{peer}/api/v1/query_range", params=asked, timeout=20).json()
    assert answer["status"] == "success", answer
    wanted = {
        (Labels.of(row["metric"]), round(at * 1000)): float(value)
        for row in answer["data"]["result"]
        for at, value in row["values"]
    }
    data = (
        Engine(FakeReader(fleet(BASE_MS, ending=False))).range(query, START_MS, END_MS, STEP_MS)
    ).data
    assert isinstance(data, Matrix)
    got = {
        (one.labels, at): value
        for one in data.series
        for at, value in zip(one.times_ms.tolist(), one.values.tolist(), strict=True)
    }
    assert wanted
    assert got.keys() == wanted.keys()
    assert got == pytest.approx(wanted, rel=1e-9, abs=1e-12, nan_ok=True)
