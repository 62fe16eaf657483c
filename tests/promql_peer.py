"""A real Prometheus over given samples, and its answers in a form that can be compared."""

import contextlib
import math
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

from fleetpulse.model import Labels, Series
from fleetpulse.promql.result import Matrix, Scalar, String, Vector

# Values by time, in ms.
Row = dict[int, float]

NEEDS_PEER = [
    pytest.mark.peer,
    pytest.mark.integration,
    pytest.mark.skipif(
        not (shutil.which("prometheus") and shutil.which("promtool")),
        reason="prometheus and promtool are not installed (Debian package prometheus)",
    ),
]


def open_metrics(held: Sequence[Series]) -> str:
    lines = []
    for one in sorted(held, key=lambda one: one.labels):
        # This reader of OpenMetrics takes no blank after a comma.
        name = str(one.labels).replace(", ", ",")
        for at, value in zip(one.times_ms.tolist(), one.values.tolist(), strict=True):
            lines.append(f"{name} {value!r} {at / 1000:.3f}")
    return "\n".join([*lines, "# EOF\n"])


@contextlib.contextmanager
def prometheus(folder: Path, page: Path, config: str = "scrape_configs: []\n") -> Iterator["Peer"]:
    """One that holds the samples of an OpenMetrics page, on a free port of loopback."""
    (folder / "prometheus.yml").write_text(config)
    data = folder / "data"
    importing = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(page), str(data)]
    subprocess.run(importing, check=True, capture_output=True, timeout=60)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with _running(folder, data, address), requests.Session() as session:
        _wait_until_ready(f"http://{address}/-/ready")
        yield Peer(f"http://{address}/api/v1", session)


@contextlib.contextmanager
def _running(folder: Path, data: Path, address: str) -> Iterator[None]:
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


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.RequestException):
            if requests.get(url, timeout=2).status_code == 200:
                return
        time.sleep(0.1)
    raise AssertionError(f"{url} did not answer in time")


class Peer:
    def __init__(self, url: str, session: requests.Session) -> None:
        self._url, self._session = url, session

    def ask(self, path: str, asked: Any = (), method: str = "GET") -> requests.Response:
        """Any page of its API; a POST sends a form. A path that begins with / is of the server."""
        url = self._url.removesuffix("/api/v1") + path if path[:1] == "/" else f"{self._url}/{path}"
        where = {"data": asked} if method == "POST" else {"params": asked}
        return self._session.request(method, url, timeout=20, allow_redirects=False, **where)

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> "Answer":
        times = {"start": start_ms / 1000, "end": end_ms / 1000, "step": step_ms / 1000}
        return self._asked("query_range", {"query": query, **times})

    def instant(self, query: str, at_ms: int) -> "Answer":
        return self._asked("query", {"query": query, "time": at_ms / 1000})

    def _asked(self, path: str, asked: Mapping[str, Any]) -> "Answer":
        body = self._session.get(f"{self._url}/{path}", params=asked, timeout=20).json()
        if body["status"] != "success":
            # The range endpoint says only what is wrong, the other which parameter it is in.
            return str(body["error"]).removeprefix('invalid parameter "query": ')
        return _rows(body["data"]["resultType"], body["data"]["result"])


# A fault's text, or rows in the order of the answer; a scalar is a row without labels.
Answer = str | dict[Labels, Row]


def _rows(kind: str, result: Any) -> dict[Labels, Row]:
    if kind == "scalar":
        return {Labels(): {round(result[0] * 1000): float(result[1])}}
    return {
        Labels.of(row["metric"]): {
            round(at * 1000): float(value) for at, value in row.get("values") or [row["value"]]
        }
        for row in result
    }


def ours(data: Scalar | String | Vector | Matrix) -> dict[Labels, Row]:
    """An answer of this engine in the same form."""
    match data:
        case Scalar():
            return {Labels(): {data.at_ms: data.value}}
        case Vector():
            values = data.values.tolist()
            return {row: {data.at_ms: one} for row, one in zip(data.labels, values, strict=True)}
        case Matrix():
            return {
                one.labels: dict(zip(one.times_ms.tolist(), one.values.tolist(), strict=True))
                for one in data.series
            }
        case String():
            raise AssertionError("no string is asked for")


def difference(wanted: dict[Labels, Row], got: dict[Labels, Row]) -> str:
    """What the two do not have in common, in a line; empty where they are the same."""
    if wanted.keys() != got.keys():
        missing, extra = wanted.keys() - got.keys(), got.keys() - wanted.keys()
        return f"missing {[*map(str, missing)][:3]}, unexpected {[*map(str, extra)][:3]}"
    for labels, row in wanted.items():
        if row.keys() != got[labels].keys():
            return f"{labels}: other times: {sorted(row.keys() ^ got[labels].keys())[:5]}"
        for at, value in row.items():
            if not _close(value, got[labels][at]):
                return f"{labels} at {at}: got {got[labels][at]!r}, expected {value!r}"
    return ""


def _close(wanted: float, got: float) -> bool:
    if math.isnan(wanted) or math.isnan(got):
        return math.isnan(wanted) and math.isnan(got)
    return wanted == got or math.isclose(wanted, got, rel_tol=1e-9, abs_tol=1e-12)
