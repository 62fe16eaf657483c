import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.jsonvalues import data_json, seconds, value_text
from fleetpulse.model import Labels, Series
from fleetpulse.promql.result import Matrix, Scalar, String, Vector
from tests.api_fakes import series

# What Prometheus writes for a vector of these; test_api_serving.py asks the real one.
VALUES = [
    pytest.param(1.0, "1", id="no decimals"),
    pytest.param(-0.0, "-0", id="minus zero"),
    pytest.param(0.1 + 0.2, "0.30000000000000004", id="shortest exact"),
    pytest.param(1e-5, "0.00001", id="small without an exponent"),
    pytest.param(1e-6, "0.000001", id="the smallest without one"),
    pytest.param(9.9e-7, "9.9e-07", id="below it, with one"),
    pytest.param(1e15, "1000000000000000", id="large"),
    pytest.param(123456789012345678.0, "123456789012345680", id="larger than 2^53"),
    pytest.param(1e20, "100000000000000000000", id="the last power without an exponent"),
    pytest.param(1e21, "1e+21", id="the first with one"),
    pytest.param(math.inf, "+Inf", id="infinity"),
    pytest.param(-math.inf, "-Inf", id="minus infinity"),
    pytest.param(math.nan, "NaN", id="no number"),
]


@pytest.mark.parametrize(("value", "text"), VALUES)
def test_a_value_is_written_as_prometheus_does(value: float, text: str) -> None:
    assert value_text(value) == text
    matrix = Matrix([series(Labels.of(a="b"), (0, value), (1000, 1.0))])
    pairs = json.loads(data_json(matrix))["result"][0]["values"]
    assert pairs == [[0, text], [1, "1"]]


@given(st.lists(st.floats(allow_subnormal=True), min_size=1, max_size=20))
def test_every_value_reads_back_the_same(values: list[float]) -> None:
    times = np.arange(len(values), dtype=np.int64) * 1000
    matrix = Matrix([Series(Labels(), times, np.array(values, dtype=np.float64))])
    pairs = json.loads(data_json(matrix))["result"][0]["values"]
    for (_, text), value in zip(pairs, values, strict=True):
        assert float(text) == value or (math.isnan(value) and text == "NaN")


@given(st.lists(st.floats(), min_size=1, max_size=20))
def test_many_values_are_written_as_one_is(values: list[float]) -> None:
    times = np.arange(len(values), dtype=np.int64) * 1000
    matrix = Matrix([Series(Labels(), times, np.array(values))])
    pairs = json.loads(data_json(matrix))["result"][0]["values"]
    assert [text for _, text in pairs] == [value_text(value) for value in values]


@pytest.mark.parametrize(
    ("at_ms", "text"),
    [(0, "0"), (1500, "1.500"), (1_700_000_000_001, "1700000000.001"), (-1500, "-1.500")],
)
def test_times_are_seconds_with_milliseconds(at_ms: int, text: str) -> None:
    assert seconds(at_ms) == text


def test_a_matrix_of_series_with_their_own_times() -> None:
    data = Matrix(
        [
            series(Labels.of(a="1"), (1000, 1.0), (2000, 2.0)),
            series(Labels.of(a="2"), (2000, 3.5)),
            series(Labels.of(a="3"), (2000, 4.0)),
            series(Labels.of(a="4")),
        ]
    )
    assert json.loads(data_json(data)) == {
        "resultType": "matrix",
        "result": [
            {"metric": {"a": "1"}, "values": [[1, "1"], [2, "2"]]},
            {"metric": {"a": "2"}, "values": [[2, "3.5"]]},
            {"metric": {"a": "3"}, "values": [[2, "4"]]},
            {"metric": {"a": "4"}, "values": []},
        ],
    }


def test_a_vector_keeps_its_order() -> None:
    labels = [Labels.of(x="b"), Labels.of(x="a")]
    data = Vector(1500, labels, np.array([1e22, 2.0]))
    assert json.loads(data_json(data)) == {
        "resultType": "vector",
        "result": [
            {"metric": {"x": "b"}, "value": [1.5, "1e+22"]},
            {"metric": {"x": "a"}, "value": [1.5, "2"]},
        ],
    }


def test_scalar_and_string() -> None:
    assert json.loads(data_json(Scalar(1000, 2.0))) == {
        "resultType": "scalar",
        "result": [1, "2"],
    }
    large = json.loads(data_json(Scalar(1000, 1e22)))["result"]
    assert large == [1, "10000000000000000000000"]
    assert json.loads(data_json(String(1000, 'a "b"\n'))) == {
        "resultType": "string",
        "result": [1, 'a "b"\n'],
    }


def test_empty_answers_are_lists() -> None:
    assert json.loads(data_json(Matrix([])))["result"] == []
    assert json.loads(data_json(Vector(0, [], np.zeros(0))))["result"] == []


def test_labels_are_escaped_and_never_taken_for_values() -> None:
    odd = Labels.of(a='x.0"', b="ü\n\\")
    found = json.loads(data_json(Matrix([series(odd, (0, 1.0))])))
    assert found["result"][0]["metric"] == {"a": 'x.0"', "b": "ü\n\\"}
