from pathlib import Path
from typing import Any

import pytest

from fleetpulse.errors import QueryError, StorageError
from fleetpulse.model import Labels, Metadata
from fleetpulse.promql.result import Matrix, Result
from tests.api_fakes import NOW, NOW_MS, Api, labels, series, vector


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return Api(tmp_path)


def test_an_instant_query(api: Api) -> None:
    api.engine.answers["up"] = Result(vector(1500, (labels("up", job="a"), 1.0)))
    answer = api.client().get("/api/v1/query?query=up&time=1.5&timeout=5s")
    assert answer.json == {
        "status": "success",
        "data": {
            "resultType": "vector",
            "result": [{"metric": {"__name__": "up", "job": "a"}, "value": [1.5, "1"]}],
        },
    }
    assert answer.content_type == "application/json"
    assert api.engine.asked == [("up", 1500, 5.0)]


def test_without_a_time_it_is_now_and_the_timeout_is_the_configured(api: Api) -> None:
    api.client().get("/api/v1/query?query=up")
    api.client().get("/api/v1/query?query=up&timeout=1h")
    assert api.engine.asked == [("up", NOW_MS, 120.0)] * 2


def test_a_range_query(api: Api) -> None:
    api.engine.answers["up"] = Result(Matrix([series(labels("up"), (0, 1.0), (15000, 0.0))]))
    answer = api.client().get("/api/v1/query_range?query=up&start=0&end=20&step=15s")
    assert answer.json is not None
    assert answer.json["data"] == {
        "resultType": "matrix",
        "result": [{"metric": {"__name__": "up"}, "values": [[0, "1"], [15, "0"]]}],
    }
    assert api.engine.asked == [("up", 0, 20_000, 15_000, 120.0)]


def test_forms_count_as_parameters(api: Api) -> None:
    client = api.client()
    client.post("/api/v1/query?time=7", data={"query": "up"})
    client.post("/api/v1/query_range", data={"query": "up", "start": "1", "end": "2", "step": "1"})
    assert api.engine.asked == [("up", 7000, 120.0), ("up", 1000, 2000, 1000, 120.0)]


def test_warnings_and_infos_are_passed_on(api: Api) -> None:
    api.engine.answers["up"] = Result(vector(0), warnings=("careful",), infos=("by the way",))
    answer = api.client().get("/api/v1/query?query=up").json
    assert answer is not None
    assert (answer["warnings"], answer["infos"]) == (["careful"], ["by the way"])
    assert "warnings" not in (api.client().get("/api/v1/query?query=down").json or {})


LIMITS = [
    pytest.param("", 3, False, id="none"),
    pytest.param("&limit=0", 3, False, id="zero is all"),
    pytest.param("&limit=3", 3, False, id="just enough"),
    pytest.param("&limit=2", 2, True, id="fewer"),
]


@pytest.mark.parametrize(("limit", "count", "warned"), LIMITS)
def test_a_limit_cuts_and_says_so(api: Api, limit: str, count: int, warned: bool) -> None:
    names = [labels("up", i=str(i)) for i in range(3)]
    api.engine.answers["v"] = Result(vector(0, *((name, 1.0) for name in names)))
    api.engine.answers["m"] = Result(Matrix([series(name, (0, 1.0)) for name in names]))
    for path in ("query?query=v", "query_range?query=m&start=0&end=1&step=1"):
        answer = api.client().get(f"/api/v1/{path}{limit}").json
        assert answer is not None
        assert len(answer["data"]["result"]) == count
        assert ("warnings" in answer) == warned


BAD = [
    pytest.param("query", "query", id="no query"),
    pytest.param("query?query=%20", "query", id="a blank query"),
    pytest.param("query?query=up&time=noon", "time", id="a time"),
    pytest.param("query?query=up&timeout=x", "timeout", id="a timeout"),
    pytest.param("query?query=up&tier=1h", "tier", id="a tier"),
    pytest.param("query?query=up&timeout=0", "timeout", id="no timeout at all"),
    pytest.param("query?query=up&limit=-1", "limit", id="a negative limit"),
    pytest.param("query?query=up&lookback_delta=x", "lookback delta", id="a look-back"),
    pytest.param("query_range?query=up&end=1&step=1", "start", id="no start"),
    pytest.param("query_range?query=up&start=1&step=1", "end", id="no end"),
    pytest.param("query_range?query=up&start=1&end=2", "step", id="no step"),
    pytest.param("query_range?query=up&start=1&end=2&step=0", "step", id="step zero"),
    pytest.param("query_range?query=up&start=1&end=2&step=-5", "step", id="a negative step"),
    pytest.param("query_range?query=up&start=2&end=1&step=1", "end", id="end before start"),
    pytest.param("query_range?query=up&start=0&end=11001&step=1", "11,000 points", id="points"),
    pytest.param("series", "no match[] parameter provided", id="no match[]"),
    pytest.param("series?match[]=up%7B", "match[]", id="a selector that is none"),
    pytest.param("series?match[]=rate(up[5m])", "match[]", id="an expression"),
    pytest.param("labels?match[]=%7Ba=~%22.*%22%7D", "match[]", id="a selector of everything"),
    pytest.param("labels?start=x", "'start': cannot parse", id="a start of labels"),
    pytest.param("labels?match[]=%7B%7D", "non-empty matcher", id="an empty selector of labels"),
    pytest.param("label/U__/values", 'invalid label name: "U__"', id="an empty label name"),
    pytest.param("metadata?limit=x", "limit must be a number", id="a limit of metadata"),
    pytest.param(
        "metadata?limit_per_metric=x", "limit_per_metric must be", id="another limit of metadata"
    ),
]


@pytest.mark.parametrize(("path", "message"), BAD)
def test_a_bad_parameter_is_named(api: Api, path: str, message: str) -> None:
    answer = api.client().get(f"/api/v1/{path}")
    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["errorType"] == "bad_data"
    assert message in answer.json["error"]
    assert api.engine.asked == []


def test_eleven_thousand_points_are_just_allowed(api: Api) -> None:
    answer = api.client().get("/api/v1/query_range?query=up&start=0&end=11000&step=1")
    assert answer.status_code == 200


FAILURES: list[Any] = [
    pytest.param(QueryError("bad_data", "x"), 400, "bad_data", id="syntax"),
    pytest.param(QueryError("execution", "x"), 422, "execution", id="execution"),
    pytest.param(QueryError("timeout", "x"), 503, "timeout", id="timeout"),
    pytest.param(QueryError("canceled", "x"), 499, "canceled", id="cancelled"),
    pytest.param(QueryError("unavailable", "x"), 503, "unavailable", id="not to be had"),
    pytest.param(StorageError("x", retriable=True), 503, "unavailable", id="store is busy"),
    pytest.param(StorageError("x", retriable=False), 500, "internal", id="store is broken"),
]


@pytest.mark.parametrize(("failure", "code", "kind"), FAILURES)
def test_failures_have_prometheus_codes(api: Api, failure: Exception, code: int, kind: str) -> None:
    api.engine.answers["up"] = failure
    answer = api.client().get("/api/v1/query?query=up")
    assert answer.status_code == code
    # A fault of the expression is one of the parameter.
    error = 'invalid parameter "query": x' if kind == "bad_data" else "x"
    assert answer.json == {"status": "error", "errorType": kind, "error": error}


@pytest.fixture
def stocked(api: Api) -> Api:
    api.reader.held = [
        series(labels("up", job="a", instance="1"), (1000, 1.0)),
        series(labels("up", job="b", instance="2"), (2000, 1.0)),
        series(labels("load", job="a", instance="1"), (3000, 1.0)),
    ]
    return api


CATALOG = [
    pytest.param("labels", ["__name__", "instance", "job"], id="all label names"),
    pytest.param("label/job/values", ["a", "b"], id="all values of one"),
    pytest.param("label/job/values?match[]=load", ["a"], id="values where a selector matches"),
    pytest.param("label/__name__/values", ["load", "up"], id="metric names"),
    pytest.param("label/none/values", [], id="a label that nobody has"),
    pytest.param("label/__name__/values?start=2.5", ["load"], id="since a time"),
    pytest.param("label/__name__/values?end=2", ["up"], id="until a time"),
    pytest.param(
        "series?match[]=load",
        [{"__name__": "load", "instance": "1", "job": "a"}],
        id="series",
    ),
    pytest.param(
        'series?match[]=load&match[]={__name__="up",job!="b"}',
        [
            {"__name__": "load", "instance": "1", "job": "a"},
            {"__name__": "up", "instance": "1", "job": "a"},
        ],
        id="series of several selectors",
    ),
    pytest.param("series?match[]=nothing", [], id="no series"),
    pytest.param("series?match[]=up&start=5&end=4", [], id="series, the end before the start"),
    pytest.param("labels?start=5&end=4", [], id="names, the end before the start"),
    pytest.param("label/job/values?start=5&end=4", [], id="values, the end before the start"),
]


@pytest.mark.parametrize(("path", "expected"), CATALOG)
def test_the_catalog(stocked: Api, path: str, expected: Any) -> None:
    assert stocked.client().get(f"/api/v1/{path}").json == {"status": "success", "data": expected}


# How Prometheus 3 takes names that are no words: docs/instrumenting/escaping_schemes.md.
NAMES = [
    pytest.param("a.b ü", "a.b%20ü", id="as it is"),
    pytest.param("a.b ü", "U__a_2e_b_20__FC_", id="escaped"),
    pytest.param("a_b", "U__a__b", id="an underscore"),
    pytest.param("job", "U__job", id="escaped without need"),
    pytest.param("U__a_b", "U__a_b", id="no escape after all"),
    pytest.param("U___d800_", "U___d800_", id="no character"),
]


@pytest.mark.parametrize(("label", "written"), NAMES)
def test_a_label_with_any_name_has_values(api: Api, label: str, written: str) -> None:
    api.reader.held = [series(Labels.of({"__name__": "m", label: "x"}), (0, 1.0))]
    assert api.client().get(f"/api/v1/label/{written}/values").json == {
        "status": "success",
        "data": ["x"],
    }


def test_the_catalog_takes_forms(stocked: Api) -> None:
    data = {"match[]": ["load", "up"]}
    answer = stocked.client().post("/api/v1/series", data=data).json
    assert answer is not None
    assert len(answer["data"]) == 3


def test_the_catalog_has_limits(tmp_path: Path, stocked: Api) -> None:
    truncated = ["results truncated due to limit"]
    answer = stocked.client().get("/api/v1/labels?limit=2").json
    assert answer == {"status": "success", "data": ["__name__", "instance"], "warnings": truncated}
    small = Api(tmp_path, query={"max_items": 1})
    small.reader.held = stocked.reader.held
    assert small.client().get("/api/v1/labels").json == {
        "status": "success",
        "data": ["__name__"],
        "warnings": truncated,
    }


def test_metadata(api: Api) -> None:
    api.reader.known = {"b": Metadata("counter", "B.", "bytes"), "a": Metadata()}
    client = api.client()
    b = [{"type": "counter", "help": "B.", "unit": "bytes"}]
    a = [{"type": "unknown", "help": "", "unit": ""}]
    assert client.get("/api/v1/metadata").json == {"status": "success", "data": {"a": a, "b": b}}
    assert client.get("/api/v1/metadata?metric=b").json == {"status": "success", "data": {"b": b}}
    assert client.get("/api/v1/metadata?metric=c").json == {"status": "success", "data": {}}
    assert client.get("/api/v1/metadata?limit=1").json == {"status": "success", "data": {"a": a}}


def test_grafana_is_told_a_version_it_can_read(api: Api) -> None:
    answer = api.client().get("/api/v1/status/buildinfo").json
    assert answer is not None
    assert answer["data"]["version"].startswith("3.")
    assert api.client().get("/api/v1/query_exemplars?query=up").json == {
        "status": "success",
        "data": [],
    }


def test_the_clock_is_the_one_that_was_handed_in(api: Api) -> None:
    api.time = NOW + 5
    api.client().get("/api/v1/query?query=up")
    assert api.engine.asked[0][1] == NOW_MS + 5000


def test_a_query_says_what_may_stand_in_for_samples(api: Api) -> None:
    api.client().get("/api/v1/query?query=up&tier=raw")
    api.client().get("/api/v1/query_range?query=up&start=0&end=600&step=300&tier=5m")
    api.client().get("/api/v1/query?query=up")
    assert api.engine.tiers == ["raw", "5m", None]
