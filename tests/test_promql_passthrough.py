import json
from typing import Any

import numpy as np
import pytest

from fleetpulse.errors import QueryError, StorageError
from fleetpulse.model import Labels
from fleetpulse.promql.answers import ShapeError, lifted, result_of
from fleetpulse.promql.passthrough import PassThrough
from fleetpulse.promql.result import Matrix, Result, Scalar, String, Vector
from fleetpulse.storage.promapi.client import PromApiClient
from tests.promapi_fakes import FakeStore, Told, config, fake_store, told

AT_MS = 1_700_000_000_123


def engine(store: FakeStore, **more: Any) -> PassThrough:
    return PassThrough(PromApiClient(config(store.url)), "vm", **more)


def data(kind: str, result: Any, **more: Any) -> dict[str, Any]:
    return {"data": {"resultType": kind, "result": result}, **more}


UP = {"metric": {"__name__": "up", "job": "x"}}


def test_a_matrix_has_arrays() -> None:
    rows = [{**UP, "values": [[1.5, "NaN"], [3, "+Inf"]]}, {"metric": {}, "values": []}]
    found = result_of(data("matrix", rows, warnings=["w"], infos=["i"]))
    assert isinstance(found.data, Matrix)
    (series,) = found.data.series
    assert series.labels == Labels.of(UP["metric"])
    assert series.times_ms.tolist() == [1500, 3000]
    assert np.isnan(series.values[0])
    assert series.values[1] == np.inf
    assert (found.warnings, found.infos) == (("w",), ("i",))


LIFTED = [
    pytest.param(b'"values":[[1,"2"],[3.5,"NaN"]]', b'"values":0', id="samples are taken out"),
    pytest.param(b'"values":[]', b'"values":[]', id="none are not"),
    pytest.param(b'"values":[[1, "2"]]', b'"values":[[1, "2"]]', id="nor such with blanks"),
    pytest.param(
        rb'"a":"\"values\":[[1,\"2\"]]"', rb'"a":"\"values\":[[1,\"2\"]]"', id="nor a text"
    ),
]


@pytest.mark.parametrize(("body", "left"), LIFTED)
def test_samples_are_lifted_from_the_json(body: bytes, left: bytes) -> None:
    found, samples = lifted(body)
    assert found == left
    assert len(samples) == (found != body)


def test_lifted_samples_are_read() -> None:
    rows = b'[{"metric":{"a":"b"},"values":[[1.5,"2e-3"],[3,"-Inf"]]}]'
    found, samples = lifted(rows)
    matrix = result_of(data("matrix", json.loads(found)), samples).data
    assert isinstance(matrix, Matrix)
    assert matrix.series[0].times_ms.tolist() == [1500, 3000]
    assert matrix.series[0].values.tolist() == [0.002, -np.inf]


def test_the_other_types() -> None:
    assert result_of(data("scalar", [5, "1.5"])) == Result(Scalar(5000, 1.5))
    assert result_of(data("string", [5, "x"])) == Result(String(5000, "x"))
    vector = result_of(data("vector", [{**UP, "value": [5.25, "-Inf"]}])).data
    assert isinstance(vector, Vector)
    assert (vector.at_ms, vector.values.tolist()) == (5250, [-np.inf])


def test_a_partial_answer_warns() -> None:
    found = result_of(data("vector", [], isPartial=True))
    assert found.warnings == ("the answer is partial: a storage node did not answer",)


SHAPES = [
    pytest.param({}, "no data.result", id="no data"),
    pytest.param({"data": {"resultType": "vector"}}, "no data.result", id="no result"),
    pytest.param(data("streams", []), "resultType is 'streams'", id="another type"),
    pytest.param(data("matrix", [{**UP, "values": [[1, "x"]]}]), "no matrix", id="no number"),
    pytest.param(
        data("matrix", [{**UP, "values": [[2, "1"], [1, "1"]]}]), "do not rise", id="times fall"
    ),
    pytest.param(data("matrix", [{**UP}]), "no matrix", id="no values"),
    pytest.param(data("matrix", {"a": 1}), "no matrix", id="no list"),
    pytest.param(data("vector", [{"value": [1, "1"]}]), "no vector", id="no labels"),
    pytest.param(
        data("vector", [{**UP, "value": [1, "1"]}, {**UP, "value": [2, "1"]}]),
        "times differ",
        id="two times",
    ),
    pytest.param(data("scalar", [1]), "no scalar", id="no value"),
]


@pytest.mark.parametrize(("answer", "message"), SHAPES)
def test_other_shapes_are_refused(answer: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        result_of(answer)


@pytest.mark.integration
def test_an_instant_query_goes_through_as_it_stands() -> None:
    answer = told(**data("vector", [{**UP, "value": [1700000000.123, "1"]}]))
    with fake_store(lambda _: answer) as store:
        found = engine(store).instant('up{job="x"} offset 5m', AT_MS, timeout=7, tier="raw")
    assert isinstance(found.data, Vector)
    assert found.data.at_ms == AT_MS
    (asked,) = store.of("/api/v1/query")
    assert asked.method == "POST"
    assert asked.of("query") == ['up{job="x"} offset 5m']
    assert asked.of("time") == ["1700000000.1234"]
    assert asked.of("timeout")[0].startswith(("6.9", "7.0"))
    assert asked.of("nocache") + asked.of("latency_offset") == ["1", "1ms"]
    assert not asked.of("max_lookback")


@pytest.mark.integration
def test_a_range_query_goes_through_with_its_look_back() -> None:
    answer = told(**data("matrix", [{**UP, "values": [[1, "1"]]}]))
    with fake_store(lambda _: answer) as store:
        found = engine(store, lookback_ms=1_000).range("up", 0, 10_000, 2_500, lookback_ms=60_000)
    assert isinstance(found.data, Matrix)
    (asked,) = store.of("/api/v1/query_range")
    assert asked.of("start") + asked.of("end") + asked.of("step") == ["0.0004", "10.0004", "2.500"]
    assert asked.of("max_lookback") == asked.of("lookback_delta") == ["60.000"]


SCALARS = [
    pytest.param("1 + 1", [{"metric": {}, "value": [5, "2"]}], 2.0, id="a vector of one is it"),
    pytest.param("scalar(none)", [], np.nan, id="an empty one is NaN"),
]


@pytest.mark.integration
@pytest.mark.parametrize(("expr", "rows", "wanted"), SCALARS)
def test_a_scalar_is_a_scalar_whatever_the_store_calls_it(
    expr: str, rows: list[Any], wanted: float
) -> None:
    with fake_store(lambda _: told(**data("vector", rows))) as store:
        found = engine(store).instant(expr, AT_MS).data
    assert isinstance(found, Scalar)
    np.testing.assert_equal((found.at_ms, found.value), (AT_MS, wanted))


REFUSAL = told(None, 422, errorType="422", error="cannot parse")


@pytest.mark.integration
def test_a_fault_of_syntax_names_its_place() -> None:
    with (
        fake_store(lambda _: REFUSAL) as store,
        pytest.raises(QueryError, match=r"^1:4: parse error: unexpected") as caught,
    ):
        engine(store).instant("up{", AT_MS)
    assert caught.value.error_type == "bad_data"


@pytest.mark.integration
def test_what_only_the_store_can_read_is_its_own_to_judge() -> None:
    with fake_store(lambda _: told(**data("vector", []))) as store:
        engine(store).instant("WITH (x = up) x default 0", AT_MS)
    assert store.asked[0].of("query") == ["WITH (x = up) x default 0"]


@pytest.mark.integration
def test_a_refusal_of_something_well_formed_is_the_stores() -> None:
    with (
        fake_store(lambda _: REFUSAL) as store,
        pytest.raises(QueryError, match=r"^victoriametrics at .*: cannot parse") as caught,
    ):
        engine(store).instant("up", AT_MS)
    assert caught.value.error_type == "execution"


@pytest.mark.integration
@pytest.mark.parametrize(
    "answer", [told({"resultType": "vector", "result": [3]}), told({}), told([])]
)
def test_a_wrong_shape_names_the_store(answer: Told) -> None:
    with (
        fake_store(lambda _: answer) as store,
        pytest.raises(StorageError, match=r"^vm: the answer has another shape.*check storage\.url"),
    ):
        engine(store).instant("up", AT_MS)


@pytest.mark.integration
def test_a_range_that_is_no_list_of_samples_is_a_wrong_shape() -> None:
    rows = b'{"resultType":"matrix","result":[{"metric":{},"values":[[1]]}]}'
    with (
        fake_store(lambda _: Told(200, b'{"status":"success","data":%b}' % rows)) as store,
        pytest.raises(StorageError, match="no matrix"),
    ):
        engine(store).range("up", 0, 10, 1)


@pytest.mark.integration
def test_a_range_query_has_a_matrix() -> None:
    with (
        fake_store(lambda _: told(**data("vector", []))) as store,
        pytest.raises(StorageError, match="no matrix"),
    ):
        engine(store).range("up", 0, 10, 1)


@pytest.mark.integration
def test_a_slow_store_is_a_timeout() -> None:
    with (
        fake_store(lambda _: Told(held=True)) as store,
        pytest.raises(QueryError) as caught,
    ):
        engine(store).instant("up", AT_MS, timeout=0.2)
    assert caught.value.error_type == "timeout"


RANGES = [
    pytest.param((0, 10, 0), "step", id="no step"),
    pytest.param((10, 0, 1), "before start", id="an end before the start"),
]


@pytest.mark.parametrize(("times", "message"), RANGES)
def test_ranges_are_checked_here(times: tuple[int, int, int], message: str) -> None:
    passing = PassThrough(PromApiClient(config()), "vm")
    with pytest.raises(QueryError, match=message):
        passing.range("up", *times)
