"""Rows of values as text: whatever shares an answer with a row, it is written value by value."""

import json
import math

import numpy as np
import pytest

from api.jsonvalues import data_json
from api.valuetexts import time_marks, value_text, value_texts
from fleetpulse.model import Labels, Series
from fleetpulse.promql.result import Matrix

ROWS = [
    pytest.param([5.0, 5.0, 5.0], id="one whole number"),
    pytest.param([math.nan, math.nan, math.nan], id="no number, three times"),
    pytest.param([1e-5, 1e-5, 1e-5], id="one small number"),
    pytest.param([0.0, -0.0, 0.0], id="a zero with a sign among zeros"),
    pytest.param([1.0, 2.0, -3.0], id="whole numbers"),
    pytest.param([1.0, -0.0, 3.0], id="a zero with a sign among whole numbers"),
    pytest.param([2.0**53, 1.0, 2.0], id="larger than every whole number that is a float"),
    pytest.param([1e18, 1e19, 1e300], id="beyond 64 bits"),
    pytest.param([math.inf, 1.0, 2.0], id="infinity among whole numbers"),
    pytest.param([0.5, 1.0, 10.0], id="whole numbers among others"),
    pytest.param([0.5, 0.25, 1e16], id="one with an exponent at the end"),
    pytest.param([1e-7, 0.25, 100.5], id="one with an exponent at the start"),
    pytest.param([-0.0, 0.5, 0.25], id="a zero with a sign among fractions"),
    pytest.param([2.0**53, 2.0**53 + 2, 0.5], id="too large for the quick way, among fractions"),
    pytest.param([2.0**53, 2.0**53 + 2, -0.0], id="none of them for the quick way"),
]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_is_written_as_each_of_its_values(row: list[float]) -> None:
    times = np.arange(3, dtype=np.int64) * 1000
    others = [[0.125, 7.0, 1e-9], row, [1.0, 1.0, 1.0]]
    series = [Series(Labels.of(a=str(k)), times, np.array(one)) for k, one in enumerate(others)]
    found = json.loads(data_json(Matrix(series)))["result"]
    for one, values in zip(found, others, strict=True):
        assert one["values"] == [[at, value_text(value)] for at, value in enumerate(values)]


@pytest.mark.parametrize("row", ROWS)
def test_values_of_an_instant_are_written_as_each(row: list[float]) -> None:
    assert value_texts(np.array(row)) == [value_text(value) for value in row]


@pytest.mark.filterwarnings("error")
def test_no_nan_is_warned_of_whatever_its_bits() -> None:
    signalling = np.array([0x7FF0000000000003], dtype=np.int64).view(np.float64)
    row = np.array([signalling[0], 1.0])
    assert value_texts(row) == ["NaN", "1"]
    matrix = Matrix([Series(Labels.of(), np.array([0, 1000]), row)])
    assert data_json(matrix).endswith('"values":[[0,"NaN"],[1,"1"]]}]}')


@pytest.mark.parametrize(
    ("times", "marks"),
    [
        pytest.param([1000, 2000], ['[[1,"', '"],[2,"'], id="whole seconds"),
        pytest.param([1000, 2500], ['[[1,"', '"],[2.500,"'], id="a fraction among them"),
        pytest.param([-1000], ['[[-1,"'], id="before 1970"),
    ],
)
def test_marks_stand_between_values(times: list[int], marks: list[str]) -> None:
    assert time_marks(np.array(times, dtype=np.int64)) == marks


def test_many_series_of_the_same_times_are_all_there() -> None:
    times = np.arange(1000, dtype=np.int64) * 1000
    series = [Series(Labels.of(a=str(k)), times, times + 0.5 * k) for k in range(100)]
    found = json.loads(data_json(Matrix(series)))["result"]
    assert [one["metric"]["a"] for one in found] == [str(k) for k in range(100)]
    assert [one["values"][-1][1] for one in found[:3]] == ["999000", "999000.5", "999001"]
