"""What the API tells of its queries: stats, the log, the top list, metrics; and big answers."""

import io
import json
import math
import os
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from api.answers import answer
from api.queryrecord import QueryRecord
from api.respond import success
from api.topqueries import TopQueries
from fleetpulse.errors import QueryError, StorageError
from fleetpulse.model import Labels, Series
from fleetpulse.promql.result import Matrix, Result, Scalar, Vector
from fleetpulse.promql.stats import QueryStats
from tests.api_fakes import NOW, NOW_MS, Api, bearer, labels, series, vector

STATS = QueryStats(
    queued=0.25, store=0.5, evaluated=1.0, shaped=0.125, samples=7, peak=40, series=3,
    per_step=((1000, 3), (1500, 4)),
)  # fmt: skip


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return Api(tmp_path)


def data_of(api: Api, path: str) -> Any:
    answered = api.client().get(f"/api/v1/{path}").json
    assert answered is not None
    return answered["data"]


# As Debian's Prometheus has them.
TIMINGS = {
    "evalTotalTime": 1.625, "resultSortTime": 0.125, "queryPreparationTime": 0.5,
    "innerEvalTime": 1.0, "execQueueTime": 0.25, "execTotalTime": 1.875,
}  # fmt: skip


def test_stats_are_told_where_they_are_asked_for(api: Api) -> None:
    api.engine.answers["up"] = Result(vector(0), stats=STATS)
    assert "stats" not in data_of(api, "query?query=up")
    told = data_of(api, "query?query=up&stats=1")["stats"]
    assert told["timings"] == TIMINGS
    assert told["samples"] == {
        "totalQueryableSamplesPerStep": [[1, 3], [1.5, 4]],
        "totalQueryableSamples": 7,
        "peakSamples": 40,
    }
    # A store that answers for itself tells nothing.
    assert "stats" not in data_of(api, "query?query=down&stats=all")
    assert "stats" in data_of(api, "query_range?query=up&start=0&end=1&step=1&stats=all")


LOOKBACKS = [
    pytest.param("", None, id="none"),
    pytest.param("&lookback_delta=1m", 60_000, id="a duration"),
    pytest.param("&lookback_delta=0.5", 500, id="seconds"),
    pytest.param("&lookback_delta=0.0001", 1, id="not less than a millisecond"),
    pytest.param("&lookback_delta=0", None, id="zero is as configured"),
    pytest.param("&lookback_delta=-5", None, id="so is less"),
]


@pytest.mark.parametrize(("given", "passed"), LOOKBACKS)
def test_a_look_back_is_passed_on(api: Api, given: str, passed: int | None) -> None:
    api.client().get(f"/api/v1/query?query=up{given}")
    api.client().get(f"/api/v1/query_range?query=up&start=0&end=1&step=1{given}")
    assert api.engine.lookbacks == [passed, passed]


def many(count: int, points: int) -> Result:
    times = np.arange(points, dtype=np.int64) * 500
    rows = [
        Series(labels("up", i=str(i), text="\udcff,]}"), times + (i % 2), times * 0.1 + i)
        for i in range(count)
    ]
    return Result(Matrix(rows), ("careful",), (), STATS)


BIG = [
    pytest.param(many(300, 1000), id="many series"),
    pytest.param(many(3, 120_001), id="long series"),
    pytest.param(Result(Matrix([series(labels("a"), (0, 1.0)), *many(1, 300_000).data.series])),  # type: ignore[union-attr]
                 id="a short and a long one"),
    pytest.param(Result(Vector(0, [Labels.of(i=str(i)) for i in range(50_000)],
                 np.arange(50_000.0))), id="a vector"),
]  # fmt: skip


@pytest.mark.parametrize("result", BIG)
def test_a_big_answer_comes_in_pieces_and_says_the_same(api: Api, result: Result) -> None:
    with api.app.test_request_context():
        whole = answer(result, {"a": 1})
        assert whole.is_streamed
        pieces = list(whole.response)
    body = json.loads(b"".join(p if isinstance(p, bytes) else p.encode() for p in pieces))
    assert max(map(len, pieces)) < 3_000_000
    assert body["status"] == "success"
    assert body.get("warnings", []) == list(result.warnings)
    assert body["data"]["stats"] == {"a": 1}
    shown = body["data"]["result"]
    if isinstance(result.data, Vector):
        assert [row["value"][1] for row in shown] == [str(i) for i in range(50_000)]
        return
    assert isinstance(result.data, Matrix)
    assert len(shown) == len(result.data.series)
    for row, of in zip(shown, result.data.series, strict=True):
        assert row["metric"]["__name__"] == of.labels.name
        assert [round(at * 1000) for at, _ in row["values"]] == of.times_ms.tolist()
        assert [float(value) for _, value in row["values"]] == of.values.tolist()


SMALL = [
    pytest.param(Result(Scalar(0, math.inf)), id="a scalar"),
    pytest.param(Result(Matrix([])), id="an empty matrix"),
    pytest.param(Result(vector(0)), id="an empty vector"),
]


@pytest.mark.parametrize("result", SMALL)
def test_a_small_answer_comes_at_once(api: Api, result: Result) -> None:
    with api.app.test_request_context():
        assert not answer(result).is_streamed


# ---------------------------------------------------------------- the log


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def logged(tmp_path: Path) -> tuple[Api, Path]:
    path = tmp_path / "queries.log"
    return Api(tmp_path, query={"log": str(path)}), path


def test_each_query_is_logged_as_prometheus_does(logged: tuple[Api, Path]) -> None:
    api, path = logged
    key = api.key("read")
    api.engine.answers["up"] = Result(vector(0, (labels("up"), 1.0)), stats=STATS)
    api.client().get("/api/v1/query?query=up&time=1.5", headers=bearer(key))
    api.engine.answers["up * 2"] = QueryError("execution", "too much")
    api.client().post("/api/v1/query_range?query=up+*+2&start=0&end=60&step=15")
    first, second = lines(path)
    assert first["params"] == {
        "query": "up",
        "start": "1970-01-01T00:00:01.500Z",
        "end": "1970-01-01T00:00:01.500Z",
        "step": 0,
    }
    assert first["ts"] == "2023-11-14T22:13:20.000Z"
    assert first["httpRequest"] == {
        "clientIP": "127.0.0.1",
        "method": "GET",
        "path": "/api/v1/query",
    }
    assert (first["status"], first["resultSeries"]) == ("success", 1)
    assert first["duration"] >= 0
    assert len(first["key"]) > 4
    assert key not in path.read_text()
    assert second["params"]["step"] == 15
    assert (second["status"], second["error"]) == ("execution", "too much")
    assert second["httpRequest"]["method"] == "POST"
    assert set(second["stats"]) == {"timings", "samples"}


def test_a_log_that_was_moved_is_begun_anew(logged: tuple[Api, Path]) -> None:
    api, path = logged
    client = api.client()
    for turn in range(4):
        client.get(f"/api/v1/query?query={turn}")
        if turn == 1:
            path.rename(path.with_suffix(".1"))  # as logrotate does
        if turn == 2:
            os.truncate(path, 0)  # as its copytruncate does
    assert [one["params"]["query"] for one in lines(path.with_suffix(".1"))] == ["0", "1"]
    assert [one["params"]["query"] for one in lines(path)] == ["3"]


def test_a_log_that_cannot_be_written_fails_no_query(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    api = Api(tmp_path, query={"log": str(folder / "queries.log")})
    assert api.client().get("/api/v1/query?query=1").status_code == 200
    assert api.metric("fleetpulse_api_query_log_failures_total") == 1
    folder.mkdir()
    assert api.client().get("/api/v1/query?query=2").status_code == 200
    assert [one["params"]["query"] for one in lines(folder / "queries.log")] == ["2"]


def test_slow_and_costly_queries_alone(tmp_path: Path) -> None:
    path = tmp_path / "queries.log"
    api = Api(tmp_path, query={"log": str(path), "log_slower_than": "1h"})
    api.engine.answers |= {
        "canceled": QueryError("canceled", "x"),
        "bad": QueryError("bad_data", "x"),
        "many": QueryError("execution", "x"),
    }
    for query in ("up", "canceled", "bad", "many"):
        api.client().get(f"/api/v1/query?query={query}")
    assert [one["params"]["query"] for one in lines(path)] == ["canceled", "many"]


def test_the_log_may_be_standard_output(tmp_path: Path) -> None:
    api = Api(tmp_path, query={"log": "-"})
    with redirect_stdout(io.StringIO()) as out:
        api.client().get("/api/v1/query?query=up")
    assert json.loads(out.getvalue())["params"]["query"] == "up"


def test_times_that_no_calendar_has_are_logged_too(logged: tuple[Api, Path]) -> None:
    api, path = logged
    api.client().get("/api/v1/query?query=up&time=9000000000000")
    assert lines(path)[0]["params"]["start"] == "9000000000000.000"


# ---------------------------------------------------------------- metrics


ENDED: list[Any] = [
    pytest.param(None, "success", id="success"),
    pytest.param(QueryError("timeout", "x"), "timeout", id="timeout"),
    pytest.param(QueryError("canceled", "x"), "canceled", id="canceled"),
    pytest.param(StorageError("x", retriable=True), "unavailable", id="a store that is away"),
    pytest.param(StorageError("x", retriable=False), "internal", id="a broken store"),
]


@pytest.mark.parametrize(("failure", "status"), ENDED)
def test_queries_are_counted(api: Api, failure: Exception | None, status: str) -> None:
    if failure is not None:
        api.engine.answers["up"] = failure
    api.client().get("/api/v1/query?query=up")
    assert api.metric("fleetpulse_api_queries_total", status=status) == 1
    assert api.metric("fleetpulse_api_queries_running") == 0
    assert api.metric("fleetpulse_api_queries_queued") == 0
    assert api.metric("fleetpulse_api_queries_running_max") == 20
    count = "fleetpulse_api_query_duration_seconds_count"
    assert api.metric(count, slice="inner_eval") == 1


# ---------------------------------------------------------------- the top list


def record(query: str, seconds: float, at: float = NOW, range_s: int = 0) -> QueryRecord:
    return QueryRecord(query, 0, range_s * 1000, 1000 if range_s else 0, at, seconds)


# victoria-metrics 1.79 of Debian answers so, but for its numbers.
def test_top_queries_are_as_victoriametrics_has_them() -> None:
    top = TopQueries(now=lambda: NOW)
    for seconds in (0.5, 1.5):
        top.note(record("slow", seconds, range_s=3600))
    for _ in range(3):
        top.note(record("often", 0.002))
    top.note(record("long ago", 9.0, at=NOW - 601))
    top.note(record("quick", 0.0001))
    assert top.document(20, 600.0) == {
        "topN": "20",
        "maxLifetime": "10m0s",
        "search.queryStats.lastQueriesCount": 20_000,
        "search.queryStats.minQueryDuration": "1ms",
        "topByCount": [
            {"query": "often", "timeRangeSeconds": 0, "count": 3},
            {"query": "slow", "timeRangeSeconds": 3600, "count": 2},
        ],
        "topByAvgDuration": [
            {"query": "slow", "timeRangeSeconds": 3600, "avgDurationSeconds": 1.0, "count": 2},
            {"query": "often", "timeRangeSeconds": 0, "avgDurationSeconds": 0.002, "count": 3},
        ],
        "topBySumDuration": [
            {"query": "slow", "timeRangeSeconds": 3600, "sumDurationSeconds": 2.0, "count": 2},
            {"query": "often", "timeRangeSeconds": 0, "sumDurationSeconds": 0.006, "count": 3},
        ],
    }
    assert len(top.document(1, 600.0)["topByCount"]) == 1
    assert top.document(20, 1200.0)["topBySumDuration"][0]["query"] == "long ago"


def test_the_top_list_is_bounded_in_memory() -> None:
    top = TopQueries(now=lambda: NOW, max_bytes=10_000)
    for turn in range(30):
        top.note(record(f"{turn:0100}" * 10, 1.0))
    found = top.document(100, 600.0)["topByCount"]
    assert len(found) == 10
    assert {int(one["query"][:100]) for one in found} == set(range(20, 30))
    for _ in range(20_050):
        top.note(record("up", 1.0))
    assert top.document(5, 600.0)["topByCount"] == [
        {"query": "up", "timeRangeSeconds": 0, "count": 20_000}
    ]


def test_top_queries_over_http(api: Api) -> None:
    found = api.client().get("/api/v1/status/top_queries?topN=3&maxLifetime=1h")
    assert found.json is not None
    assert (found.json["topN"], found.json["maxLifetime"]) == ("3", "1h0m0s")
    assert found.json["topByCount"] == []
    for path in ("topN=x", "maxLifetime=x", "maxLifetime=0"):
        assert api.client().get(f"/api/v1/status/top_queries?{path}").status_code == 400


def test_other_endpoints_queries_count_as_well(logged: tuple[Api, Path]) -> None:
    api, path = logged
    assert api.client().get("/api/v1/servers").status_code == 200
    assert {one["httpRequest"]["path"] for one in lines(path)} == {"/api/v1/servers"}


def test_an_answer_of_too_many_points_for_people_is_refused(api: Api) -> None:
    api.reader.held = [series(labels("up"), (NOW_MS - 1000, 1.0))]
    times = np.arange(250_001, dtype=np.int64)
    rows = [Series(labels("up", instance=str(i)), times, times * 1.0) for i in range(4)]
    api.engine.answers["up{}"] = Result(Matrix(rows))
    refused = api.client().get("/api/v1/metrics?metric=up")
    assert refused.status_code == 400
    assert refused.json is not None
    assert "1,000,004 points" in refused.json["error"]


def test_a_success_is_told_from_text_and_from_objects_alike(api: Api) -> None:
    with api.app.test_request_context():
        assert (
            answer(Result(Matrix([]))).json == success({"resultType": "matrix", "result": []}).json
        )


def _asked_in_chunks(api: Api, form: bytes) -> Any:
    """As gunicorn hands on a body in chunks: it ends by itself, and no header tells where."""
    return api.client().post(
        "/api/v1/query",
        content_type="application/x-www-form-urlencoded",
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input": io.BytesIO(form), "wsgi.input_terminated": True},
    )


def test_a_form_of_unknown_length_is_never_cut_off(tmp_path: Path) -> None:
    api = Api(tmp_path)
    assert _asked_in_chunks(api, b"query=1&time=0").status_code == 200
    large = _asked_in_chunks(api, b"query=1&time=0&x=" + b"x" * (5 << 20))
    assert (large.status_code, large.json["errorType"]) == (413, "too_large")
