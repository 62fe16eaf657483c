"""Quantiles and fractions of classic histograms."""

import numpy as np
import pytest

from fleetpulse.promql.buckets import Repairs, bucket_fraction, bucket_quantile
from tests.frames_fakes import context, evaluate, show

INF = float("inf")
NAN = float("nan")


def quantile(wanted: float, *buckets: tuple[float, float]) -> float:
    bounds, counts = np.array(buckets, dtype=np.float64).T
    times = np.zeros(1, dtype=np.int64)
    with np.errstate(all="ignore"):
        found = bucket_quantile(np.array([wanted]), bounds, counts[:, None], times, Repairs())
    return float(found[0])


USUAL = [(1, 10), (2, 30), (4, 40), (INF, 50)]
QUANTILES = [
    pytest.param(0.1, USUAL, 0.5, id="the lowest bucket begins at 0"),
    pytest.param(0.4, USUAL, 1.5, id="inside a bucket"),
    pytest.param(0.2, USUAL, 1.0, id="on a bound"),
    pytest.param(0.0, USUAL, 0.0, id="the least"),
    pytest.param(0.9, USUAL, 4.0, id="in the last bucket: the bound before"),
    pytest.param(1.0, USUAL, 4.0, id="the most"),
    pytest.param(-0.1, USUAL, -INF, id="below 0"),
    pytest.param(1.1, USUAL, INF, id="above 1"),
    pytest.param(NAN, USUAL, NAN, id="no number"),
    pytest.param(0.5, [(-1, 10), (INF, 10)], -1.0, id="a lowest bound below 0"),
    pytest.param(0.75, [(-1, 10), (1, 20), (INF, 20)], 0.0, id="a bucket across 0"),
    pytest.param(0.5, [(1, 0), (INF, 0)], NAN, id="no observations"),
    pytest.param(0.5, [(1, 10), (2, 20)], NAN, id="no last bucket"),
    pytest.param(0.5, [(INF, 10)], NAN, id="only one bucket"),
    pytest.param(-1, [(1, 10)], -INF, id="below 0 of no histogram"),
    pytest.param(0.5, [(1, 10), (2, 8), (4, 20), (INF, 20)], 1.0, id="made monotonic"),
    pytest.param(0.75, [(1, 10), (2, 8), (4, 20), (INF, 20)], 3.0, id="above what was raised"),
]


@pytest.mark.parametrize(("wanted", "buckets", "expected"), QUANTILES)
def test_quantile(wanted: float, buckets: list[tuple[float, float]], expected: float) -> None:
    assert quantile(wanted, *buckets) == pytest.approx(expected, nan_ok=True)


def fraction(lower: float, upper: float, *buckets: tuple[float, float]) -> float:
    bounds, counts = np.array(buckets, dtype=np.float64).T
    with np.errstate(all="ignore"):
        found = bucket_fraction(np.array([lower]), np.array([upper]), bounds, counts[:, None])
    return float(found[0])


BELOW_ZERO = [(-2, 10), (0, 20), (INF, 40)]
FRACTIONS = [
    pytest.param(0, 1, USUAL, 0.2, id="one bucket"),
    pytest.param(0, 3, USUAL, 0.7, id="half of a bucket"),
    pytest.param(-INF, INF, USUAL, 1.0, id="all"),
    pytest.param(-5, 0, USUAL, 0.0, id="nothing below 0"),
    pytest.param(4, INF, USUAL, 0.2, id="the last bucket"),
    pytest.param(100, 200, USUAL, 0.0, id="no values are in the last bucket's midst"),
    pytest.param(3, 3, USUAL, 0.0, id="no width"),
    pytest.param(3, 1, USUAL, 0.0, id="upside down"),
    pytest.param(NAN, 1, USUAL, NAN, id="no number below"),
    pytest.param(0, NAN, USUAL, NAN, id="no number above"),
    pytest.param(0, 1, [(1, 10)], NAN, id="no last bucket"),
    pytest.param(0, 1, [(1, 0), (INF, 0)], NAN, id="no observations"),
    pytest.param(-INF, -1, BELOW_ZERO, 0.375, id="up to a bucket below 0"),
    pytest.param(-INF, -3, BELOW_ZERO, 0.25, id="the lowest bucket has no lower end"),
]


@pytest.mark.parametrize(("lower", "upper", "buckets", "expected"), FRACTIONS)
def test_fraction(
    lower: float, upper: float, buckets: list[tuple[float, float]], expected: float
) -> None:
    assert fraction(lower, upper, *buckets) == pytest.approx(expected, nan_ok=True)


BUCKETS = """
    h_bucket{job="a",le="1"} 10 10 _
    h_bucket{job="a",le="2"} 30 _ 30
    h_bucket{job="a",le="+Inf"} 40 20 40
    h_bucket{job="b",le="1.0"} 1 1 _
    h_bucket{job="b",le="1"} 1 1 _
    h_bucket{job="b",le="+Inf"} 4 4 _
"""
OVER_FRAMES = [
    pytest.param(
        "histogram_quantile(0.5, h_bucket)",
        ['{job="a"} 1.5 1 1.33333333333', '{job="b"} 1 1 _'],
        id="buckets come and go, and two ways to write a bound are one",
    ),
    pytest.param(
        "histogram_quantile(time() / 60, h_bucket{job='b'})",
        ['{job="b"} 0 1 _'],
        id="the quantile may change",
    ),
    pytest.param(
        "histogram_fraction(0, 1, h_bucket)",
        ['{job="a"} 0.25 0.5 0.375', '{job="b"} 0.5 0.5 _'],
        id="fraction",
    ),
    pytest.param(
        "histogram_quantiles(h_bucket{job='b'}, 'q', 0, 0.25)",
        ['{job="b", q="0.0"} 0 0 _', '{job="b", q="0.25"} 0.5 0.5 _'],
        id="quantiles",
    ),
    pytest.param(
        "histogram_quantiles(h_bucket{job='b'}, 'q', time() / 240)",
        ['{job="b", q="0.0"} 0 _ _', '{job="b", q="0.25"} _ 0.5 _'],
        id="quantiles that change have rows of their own",
    ),
    pytest.param("histogram_quantile(0.5, none)", [], id="nothing"),
]


@pytest.mark.parametrize(("query", "expected"), OVER_FRAMES)
def test_over_frames(query: str, expected: list[str]) -> None:
    assert show(evaluate(query, BUCKETS)) == expected


@pytest.mark.parametrize("bound", ["", "x", " 1", "1e999", "١", "nan"])
def test_rows_without_a_bound_are_left_out(bound: str) -> None:
    ctx = context()
    assert show(evaluate("histogram_quantile(0.5, h)", f'h{{le="{bound}"}} 1', ctx)) == []
    assert list(ctx.annotations.warnings) == [
        f'PromQL warning: bucket label "le" is missing or has a malformed value of "{bound}"'
        ' for metric name "h" (1:25)'
    ]


def test_repairs_are_told_of_once_for_all_steps_and_quantiles() -> None:
    rows = """
        h{i="1",le="1"} 10 10 10
        h{i="1",le="2"} 8 10 10
        h{i="1",le="5"} 9 10 4.5
        h{i="1",le="+Inf"} 20 20 20
        h{i="2",le="1"} 1 1 1
        h{i="2",le="+Inf"} 1 2 1.0000000000001
    """
    ctx = context(3)
    evaluate("histogram_quantiles(h, 'q', 0.5, 0.9)", rows, ctx)
    assert list(ctx.annotations.infos) == [
        "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see "
        "https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) "
        'for metric name "h", from buckets 2 to 5, with a max diff of 5.5, over 4 samples from '
        "1970-01-01T00:00:00Z to 1970-01-01T00:02:00Z (1:21)"
    ]


def test_differences_of_rounding_are_evened_out_silently() -> None:
    ctx = context()
    rows = 'h{le="1"} 1.0000000000001\nh{le="2"} 1\nh{le="+Inf"} 2'
    assert show(evaluate("histogram_quantile(0.25, h)", rows, ctx)) == ["{} 0.5"]
    assert not ctx.annotations.infos


@pytest.mark.parametrize("wanted", ["-0.1", "1.01", "NaN"])
def test_quantiles_out_of_range_are_warned_of(wanted: str) -> None:
    ctx = context()
    evaluate(f"histogram_quantile({wanted}, none)", "x 1", ctx)
    (warning,) = ctx.annotations.warnings
    assert warning.startswith(
        f"PromQL warning: quantile value should be between 0 and 1, got {wanted}"
    )
