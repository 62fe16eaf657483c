"""Aggregations: groups, values step by step, parameters, and what they warn of."""

import numpy as np
import pytest

from fleetpulse.errors import QueryError
from fleetpulse.promql import aggregate
from fleetpulse.promql.frames import ScalarFrame
from fleetpulse.promql.syntax import Aggregate, Number, parse
from tests.frames_fakes import context, evaluate, frame, show

REQUESTS = """
    r{job="api",i="1"} 1 2 _
    r{job="api",i="2"} 3 _ _
    r{job="web",i="1"} 5 NaN 7
    r{job="web",i="2"} 5 6 _
"""

GROUPED = [
    pytest.param("sum(r)", ["{} 14 NaN 7"], id="all rows"),
    pytest.param("sum by () (r)", ["{} 14 NaN 7"], id="by nothing"),
    pytest.param("sum by (job) (r)", ['{job="api"} 4 2 _', '{job="web"} 10 NaN 7'], id="by"),
    pytest.param("sum by (job, none) (r)", ['{job="api"} 4 2 _', '{job="web"} 10 NaN 7'],
                 id="a label that no row has"),
    pytest.param("sum without (i) (r)", ['{job="api"} 4 2 _', '{job="web"} 10 NaN 7'],
                 id="without"),
    pytest.param("sum without () (r{job='api'})",
                 ['{i="1", job="api"} 1 2 _', '{i="2", job="api"} 3 _ _'],
                 id="without nothing: the name goes"),
    pytest.param("sum by (__name__) (r)", ["r 14 NaN 7"], id="by the name"),
    pytest.param("sum by (__name__) (-r)", ["{} -14 NaN -7"], id="by a name that is dropped"),
    pytest.param("sum(none)", [], id="of nothing"),
    pytest.param("avg by (job) (r)", ['{job="api"} 2 2 _', '{job="web"} 5 NaN 7'], id="avg"),
    pytest.param("min(r)", ["{} 1 2 7"], id="min passes over NaN"),
    pytest.param("max(r)", ["{} 5 6 7"], id="max passes over NaN"),
    pytest.param("max(r{job='web',i='1'})", ["{} 5 NaN 7"], id="max of nothing but NaN"),
    pytest.param("count by (i) (r)", ['{i="1"} 2 2 1', '{i="2"} 2 1 _'], id="count"),
    pytest.param("group by (i) (r)", ['{i="1"} 1 1 1', '{i="2"} 1 1 _'], id="group"),
    pytest.param("stdvar(r{job='api'})", ["{} 1 0 _"], id="stdvar"),
    pytest.param("stddev(r{i='1'} * 2)", ["{} 4 NaN 0"], id="stddev"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "expected"), GROUPED)
def test_groups(query: str, expected: list[str]) -> None:
    assert show(evaluate(query, REQUESTS)) == expected


def column(*values: str) -> str:
    return "\n".join(f'x{{i="{i}"}} {value}' for i, value in enumerate(values))


BIG = "9.988465674311579e+307"
NUMBERS = [
    pytest.param("sum(x)", ("2", "1e100", "8", "-1e100"), "10", id="sum loses nothing"),
    pytest.param("avg(x)", ("2", "1e100", "8", "-1e100"), "2.5", id="avg loses nothing"),
    pytest.param("sum(x)", ("0.1",) * 10, "1", id="sum of tenths"),
    pytest.param("sum(x)", ("Inf", "2"), "+Inf", id="sum with infinity"),
    pytest.param("sum(x)", ("Inf", "-Inf"), "NaN", id="infinities cancel out"),
    pytest.param("sum(x)", (f"-{BIG}", f"-{BIG}", BIG), "-Inf", id="sum overflows in order"),
    pytest.param("avg(x)", (f"-{BIG}", f"-{BIG}", BIG, BIG), "0", id="avg does not overflow"),
    pytest.param("avg(x)", (BIG,) * 4, "9.98846567431e+307", id="avg of big numbers"),
    pytest.param("avg(x)", ("Inf", "0", "Inf"), "+Inf", id="avg with infinity"),
    pytest.param("avg(x)", ("0", "-Inf", "1"), "-Inf", id="avg with minus infinity"),
    pytest.param("avg(x)", ("Inf", "-Inf"), "NaN", id="avg of both infinities"),
    pytest.param("avg(x)", ("NaN", "1"), "NaN", id="avg with NaN"),
    pytest.param("stdvar(x)", ("13.3",) * 3, "0", id="variance of equal values is exactly 0"),
    pytest.param("stdvar(x)", ("1e9", "1e9", "1000000003"), "2", id="variance far from 0"),
    pytest.param("stddev(x)", ("Inf", "1"), "NaN", id="stddev with infinity"),
    pytest.param("stddev(x)", ("1", "NaN"), "NaN", id="stddev with NaN"),
    pytest.param("quantile(0.5, x)", ("4", "0", "1"), "1", id="the middle"),
    pytest.param("quantile(0.8, x)", ("0", "1", "4"), "2.8", id="between two values"),
    pytest.param("quantile(0.8, x)", ("NaN", "1", "0"), "0.6", id="NaN is the smallest"),
    pytest.param("quantile(0.2, x)", ("NaN", "1", "0"), "NaN", id="between NaN and a value"),
    pytest.param("quantile(0.5, x)", ("-Inf", "NaN", "3"), "-Inf", id="NaN is below -Inf"),
    pytest.param("quantile(1, x)", ("Inf", "1"), "NaN", id="infinity by a weight of 0"),
    pytest.param(
        "quantile(0, x)", ("Inf", "1"), "NaN", id="a neighbour's infinity by a weight of 0"
    ),
]


@pytest.mark.parametrize(("query", "values", "expected"), NUMBERS)
def test_numbers(query: str, values: tuple[str, ...], expected: str) -> None:
    assert show(evaluate(query, column(*values))) == [f"{{}} {expected}"]


TOP = """
    x{i="1"} 10
    x{i="2"} NaN
    x{i="3"} 30
    x{i="4"} 20
    x{i="5"} 30
"""
PICKED = [
    pytest.param("topk(2, x)", "35", id="topk in its order, the first of equals first"),
    pytest.param("topk(1, x)", "3", id="the first of equals"),
    pytest.param("topk(9, x)", "35412", id="NaN comes last"),
    pytest.param("bottomk(2, x)", "14", id="bottomk in its order"),
    pytest.param("bottomk(9, x)", "14352", id="NaN comes last here too"),
    pytest.param("bottomk(1.9, x)", "1", id="k is cut to a whole number"),
    pytest.param("topk(0, x)", "", id="none"),
    pytest.param("topk(-1, x)", "", id="less than none"),
    pytest.param("limitk(2, x)", "12", id="limitk takes the first"),
    pytest.param("limit_ratio(1, x)", "12345", id="all"),
    pytest.param("limit_ratio(-1, x)", "12345", id="all, from the other end"),
    pytest.param("limit_ratio(0, x)", "", id="a share of nothing"),
]


@pytest.mark.parametrize(("query", "expected"), PICKED)
def test_picked_rows(query: str, expected: str) -> None:
    found = show(evaluate(query, TOP))
    assert "".join(line[line.index('"') + 1] for line in found) == expected
    assert all(line.startswith("x{") for line in found)


def test_topk_of_groups_comes_group_by_group() -> None:
    rows = """
        x{g="a",i="1"} 1
        x{g="b",i="1"} 9
        x{g="a",i="2"} 2
        x{g="b",i="2"} 8
    """
    assert show(evaluate("topk by (g) (1, x)", rows)) == ['x{g="a", i="2"} 2', 'x{g="b", i="1"} 9']


def test_k_may_change_from_step_to_step() -> None:
    rows = """
        x{i="1"} 1 5 3 _
        x{i="2"} 2 4 2 7
    """
    data = frame(rows)
    for op, expected in {
        "topk": ['x{i="1"} _ 5 3 _', 'x{i="2"} 2 _ 2 _'],
        "bottomk": ['x{i="1"} 1 _ 3 _', 'x{i="2"} _ 4 2 _'],
        "limitk": ['x{i="1"} 1 5 3 _', 'x{i="2"} _ _ 2 _'],
    }.items():
        node = Aggregate(op, Number(0), Number(0))
        k = ScalarFrame(np.array([1.0, 1.0, 2.0, 0.0]))
        assert show(aggregate.aggregate(context(4), node, data, k)) == expected


def test_quantile_may_change_from_step_to_step() -> None:
    node, data = Aggregate("quantile", Number(0), Number(0)), frame("x 1 1\ny 2 2\nz 3 _")
    ctx = context(2)
    found = aggregate.aggregate(ctx, node, data, ScalarFrame(np.array([0.5, 2.0])))
    assert show(found) == ["{} 2 +Inf"]
    assert list(ctx.annotations.warnings) == [
        "PromQL warning: quantile value should be between 0 and 1, got 2"
    ]


def test_limit_ratio_takes_what_its_complement_leaves() -> None:
    rows = column(*["1"] * 100)
    chosen = show(evaluate("limit_ratio(0.3, x)", rows))
    left = show(evaluate("limit_ratio(-0.7, x)", rows))
    assert sorted(chosen + left) == sorted(show(frame(rows)))
    assert 15 < len(chosen) < 45


COUNTED = [
    pytest.param('count_values("v", x)', ['{v="1"} 2 1', '{v="2.5"} _ 1', '{v="NaN"} 1 _'],
                 id="all"),
    pytest.param('count_values by (g) ("v", x)',
                 ['{g="a", v="1"} 1 _', '{g="a", v="2.5"} _ 1', '{g="a", v="NaN"} 1 _',
                  '{g="b", v="1"} 1 1'], id="by"),
    pytest.param('count_values without (i) ("g", x)',
                 ['{g="1"} 2 1', '{g="2.5"} _ 1', '{g="NaN"} 1 _'], id="over a label that is"),
    pytest.param('count_values("v", x * 1e21)',
                 ['{v="1000000000000000000000"} 2 1', '{v="2500000000000000000000"} _ 1',
                  '{v="NaN"} 1 _'], id="no exponents"),
    pytest.param('count_values("v", none)', [], id="of nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "expected"), COUNTED)
def test_count_values(query: str, expected: list[str]) -> None:
    rows = """
        x{g="a",i="1"} 1 2.5
        x{g="a",i="2"} NaN _
        x{g="b",i="1"} 1 1
    """
    assert show(evaluate(query, rows)) == expected


WARNED = [
    pytest.param("quantile(NaN, x)", "quantile value should be between 0 and 1, got NaN", id="NaN"),
    pytest.param("quantile(1.5, x)", "quantile value should be between 0 and 1, got 1.5", id="big"),
    pytest.param("quantile(-1, x)", "quantile value should be between 0 and 1, got -1", id="neg"),
    pytest.param("limit_ratio(1.1, x)",
                 "ratio value should be between -1 and 1, got 1.1, capping to 1", id="ratio"),
    pytest.param("limit_ratio(-1.1, x)",
                 "ratio value should be between -1 and 1, got -1.1, capping to -1", id="neg ratio"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "warning"), WARNED)
def test_warnings(query: str, warning: str) -> None:
    ctx = context()
    evaluate(query, "x 1", ctx)
    # The parameter is the first in brackets, and the context adds where that stands.
    (found,) = ctx.annotations.warnings
    assert found.startswith(f"PromQL warning: {warning}")


REFUSED = [
    pytest.param("topk(NaN, x)", "Parameter value is NaN", id="topk"),
    pytest.param("limitk(NaN, none)", "Parameter value is NaN", id="limitk of nothing"),
    pytest.param("limit_ratio(NaN, none)", "Ratio value is NaN", id="limit_ratio of nothing"),
    pytest.param("topk(1e30, x)", "Scalar value 1e+30 overflows int64", id="too much"),
    pytest.param('count_values("", x)', 'invalid label name ""', id="no label"),
]


@pytest.mark.parametrize(("query", "message"), REFUSED)
def test_bad_parameters(query: str, message: str) -> None:
    with pytest.raises(QueryError) as fault:
        evaluate(query, "x 1")
    assert (fault.value.error_type, str(fault.value)) == ("execution", message)


def test_k_too_small_is_seen_only_beside_one_that_is_not() -> None:
    node = Aggregate("topk", Number(0), Number(0))
    k = ScalarFrame(np.array([1.0, -1e30]))
    with pytest.raises(QueryError, match=r"Scalar value -1e\+30 underflows int64"):
        aggregate.aggregate(context(2), node, frame("x 1 1"), k)


def test_an_unknown_aggregation_is_not_supported() -> None:
    with pytest.raises(QueryError, match="not supported: median") as fault:
        aggregate.aggregate(context(), Aggregate("median", Number(0)), frame("x 1"), None)
    assert fault.value.error_type == "bad_data"


@pytest.mark.parametrize("query", ["topk(1, x)", "quantile(1, x)", 'count_values("v", x)'])
def test_a_parameter_of_the_wrong_type(query: str) -> None:
    node = parse(query)
    assert isinstance(node, Aggregate)
    with pytest.raises(QueryError, match="the first argument has to be a"):
        aggregate.aggregate(context(), node, frame("x 1"), None)


def test_count_values_has_a_limit() -> None:
    rows = "x 1 2 3"
    assert len(show(evaluate('count_values("v", x)', rows, context(3, max_samples=57)))) == 3
    with pytest.raises(QueryError, match="would load too many samples"):
        evaluate('count_values("v", x)', rows, context(3, max_samples=56))
