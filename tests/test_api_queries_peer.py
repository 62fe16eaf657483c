"""Stats, errors and the top list beside Debian's Prometheus and VictoriaMetrics."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client import CollectorRegistry

from api.app import create_app
from api.config import ApiConfig
from api.keys import KeyStore
from fleetpulse.model import Labels
from fleetpulse.promql.engine import Engine
from tests.api_fakes import FakeWriter
from tests.peer_programs import served
from tests.promql_fakes import FakeReader, series
from tests.support import free_port

pytestmark = [pytest.mark.integration, pytest.mark.peer]

T0 = 1_700_000_000
# Off the edges of windows and steps, which version 3 moved.
AT = [T0 + 3 + 15 * i for i in range(40)]


def needed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"needs the program {program}")
    return found


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    (folder / "prometheus.yml").write_text("")
    lines = [f'up{{i="{i}"}} {i} {at}\n' for i in range(3) for at in AT]
    (folder / "samples.txt").write_text("# TYPE up gauge\n" + "".join(lines) + "# EOF\n")
    promtool = [needed("promtool"), "tsdb", "create-blocks-from", "openmetrics"]
    command = [*promtool, str(folder / "samples.txt"), str(folder / "data")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    program = [
        needed("prometheus"),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
        "--enable-feature=promql-per-step-stats",
    ]
    with served(program, f"http://127.0.0.1:{port}/-/ready"):
        yield f"http://127.0.0.1:{port}"


class Ours:
    def __init__(self, folder: Path) -> None:
        reader = FakeReader(
            series(Labels.of(__name__="up", i=str(i)), [(at * 1000, float(i)) for at in AT])
            for i in range(3)
        )
        config = ApiConfig.model_validate({"rate_limit": "unlimited"})
        keys = KeyStore(folder / "keys.json")
        engine, registry = Engine(reader), CollectorRegistry()
        app = create_app(config, engine, reader, FakeWriter(), keys, registry)
        self.client = app.test_client()

    def get(self, path: str, params: dict[str, Any]) -> tuple[int, Any]:
        answer = self.client.get(path, query_string=params)
        return answer.status_code, answer.json


@pytest.fixture
def ours(tmp_path: Path) -> Ours:
    return Ours(tmp_path)


RANGE = {"start": T0 + 300, "end": T0 + 360, "step": 20}
QUESTIONS = [
    pytest.param("query", {"query": "up", "time": T0 + 300}, id="an instant"),
    pytest.param("query", {"query": "1", "time": T0 + 300}, id="a scalar"),
    pytest.param("query", {"query": "up[1m]", "time": T0 + 300}, id="raw samples"),
    pytest.param("query_range", {"query": "up", **RANGE}, id="a selector"),
    pytest.param("query_range", {"query": "sum(rate(up[1m])) + 1", **RANGE}, id="a range"),
    pytest.param("query_range", {"query": f"up @ {T0 + 300}", **RANGE}, id="@"),
    pytest.param("query_range", {"query": "max_over_time(up[1m:13s])", **RANGE}, id="a subquery"),
]


@pytest.mark.parametrize("stats", ["1", "all"])
@pytest.mark.parametrize(("path", "params"), QUESTIONS)
def test_stats_have_prometheus_shape_and_counts(
    prometheus: str, ours: Ours, path: str, params: dict[str, Any], stats: str
) -> None:
    asked = {**params, "stats": stats}
    theirs = requests.get(f"{prometheus}/api/v1/{path}", asked, timeout=10).json()["data"]
    _, answer = ours.get(f"/api/v1/{path}", asked)
    mine = answer["data"]
    assert list(mine) == list(theirs)
    assert mine["result"] == theirs["result"]
    assert list(mine["stats"]) == list(theirs["stats"])
    assert list(mine["stats"]["timings"]) == list(theirs["stats"]["timings"])
    # What is held at a time is our own business.
    (here, there) = (dict(one["stats"]["samples"]) for one in (mine, theirs))
    assert list(here) == list(there)
    assert here.pop("peakSamples") >= 0
    there.pop("peakSamples")
    assert here == there


REFUSED = [
    pytest.param({"query": "rate(up)"}, id="a type"),
    pytest.param({"query": "up{"}, id="an end"),
    pytest.param({"query": "sum by up (x)"}, id="a word"),
]


@pytest.mark.parametrize("params", REFUSED)
def test_errors_are_prometheus(prometheus: str, ours: Ours, params: dict[str, Any]) -> None:
    theirs = requests.get(f"{prometheus}/api/v1/query", params, timeout=10)
    code, mine = ours.get("/api/v1/query", params)
    assert code == theirs.status_code
    assert mine["errorType"] == theirs.json()["errorType"]
    place = 'invalid parameter "query": 1:'
    assert mine["error"].startswith(place)
    assert theirs.json()["error"].startswith(place)


def test_top_queries_have_victoriametrics_shape(tmp_path: Path, ours: Ours) -> None:
    port = free_port()
    program = [
        needed("victoria-metrics"),
        f"-storageDataPath={tmp_path / 'data'}",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-search.queryStats.minQueryDuration=0s",
    ]
    with served(program, f"http://127.0.0.1:{port}/health") as url:
        base = url.removesuffix("/health")
        requests.get(f"{base}/api/v1/query", {"query": "up"}, timeout=10).raise_for_status()
        asked = {"topN": 5, "maxLifetime": "30m"}
        theirs = requests.get(f"{base}/api/v1/status/top_queries", asked, timeout=10).json()
    _, mine = ours.get("/api/v1/status/top_queries", asked)
    assert list(mine) == list(theirs)
    for name in ("topN", "maxLifetime", "search.queryStats.lastQueriesCount"):
        assert mine[name] == theirs[name]
    assert set(theirs["topByCount"][0]) == {"query", "timeRangeSeconds", "count"}
