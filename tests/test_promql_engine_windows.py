"""Range functions against a plain reading of their definitions, one window at a time."""

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest

from fleetpulse.model import STALE_NAN, Labels, is_stale
from fleetpulse.promql.engine import Engine
from fleetpulse.promql.result import Matrix
from tests.promql_fakes import FakeReader, series

Samples = Sequence[tuple[int, float]]  # (ms, value)
Window = tuple[Samples, int, int]  # samples, start, end
Reference = Callable[[Window], float | None]


def extrapolated(window: Window, *, counter: bool) -> float | None:
    samples, start, end = window
    if len(samples) < 2:
        return None
    values = [value for _, value in samples]
    gained = values[-1] - values[0]
    if counter:
        gained += sum(a for a, b in pairwise(values) if b < a)
    sampled = (samples[-1][0] - samples[0][0]) / 1000
    between = sampled / (len(samples) - 1)
    before, after = (samples[0][0] - start) / 1000, (end - samples[-1][0]) / 1000
    before = between / 2 if before >= between * 1.1 else before
    after = between / 2 if after >= between * 1.1 else after
    if counter and gained > 0 and values[0] >= 0:
        before = min(before, sampled * values[0] / gained)
    return gained * (sampled + before + after) / sampled


def rate(window: Window) -> float | None:
    gained = extrapolated(window, counter=True)
    return None if gained is None else gained / ((window[2] - window[1]) / 1000)


def irate(window: Window) -> float | None:
    if len(window[0]) < 2:
        return None
    (before_at, before), (at, value) = window[0][-2:]
    return (value if value < before else value - before) / ((at - before_at) / 1000)


def regression(window: Window, origin: int) -> tuple[float, float]:
    xs = [(at - origin) / 1000 for at, _ in window[0]]
    ys = [value for _, value in window[0]]
    n = len(xs)
    covariance = math.fsum(x * y for x, y in zip(xs, ys, strict=True))
    covariance -= math.fsum(xs) * math.fsum(ys) / n
    slope = covariance / (math.fsum(x * x for x in xs) - math.fsum(xs) ** 2 / n)
    return slope, math.fsum(ys) / n - slope * math.fsum(xs) / n


def deriv(window: Window) -> float | None:
    return regression(window, window[0][0][0])[0] if len(window[0]) > 1 else None


def predict(window: Window) -> float | None:
    if len(window[0]) < 2:
        return None
    slope, now = regression(window, window[2])
    return now + 600 * slope


def of_values(work: Callable[[list[float]], float]) -> Reference:
    def reference(window: Window) -> float | None:
        return work([value for _, value in window[0]]) if window[0] else None

    return reference


def variance(values: list[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / len(values)


def quantile(q: float, values: list[float]) -> float:
    ordered = sorted(values)
    rank = q * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] * (1 - (rank - low)) + ordered[high] * (rank - low)


def mad(values: list[float]) -> float:
    median = quantile(0.5, values)
    return quantile(0.5, [abs(value - median) for value in values])


def smoothed(window: Window) -> float | None:
    values = [value for _, value in window[0]]
    if len(values) < 2:
        return None
    before, level, slope = 0.0, values[0], values[1] - values[0]
    for i, value in enumerate(values[1:]):
        if i:
            slope = 0.4 * (level - before) + 0.6 * slope
        before, level = level, 0.3 * value + 0.7 * (level + slope)
    return level


def falls(values: list[float]) -> float:
    return sum(b < a for a, b in pairwise(values))


def moves(values: list[float]) -> float:
    return sum(b != a for a, b in pairwise(values))


FUNCTIONS: dict[str, Reference] = {
    "rate(x[{}])": rate,
    "increase(x[{}])": lambda window: extrapolated(window, counter=True),
    "delta(x[{}])": lambda window: extrapolated(window, counter=False),
    "irate(x[{}])": irate,
    "deriv(x[{}])": deriv,
    "predict_linear(x[{}], 600)": predict,
    "sum_over_time(x[{}])": of_values(math.fsum),
    "avg_over_time(x[{}])": of_values(lambda values: math.fsum(values) / len(values)),
    "min_over_time(x[{}])": of_values(min),
    "max_over_time(x[{}])": of_values(max),
    "count_over_time(x[{}])": of_values(len),
    "first_over_time(x[{}])": of_values(lambda values: values[0]),
    "last_over_time(x[{}])": of_values(lambda values: values[-1]),
    "stdvar_over_time(x[{}])": of_values(variance),
    "quantile_over_time(0.37, x[{}])": of_values(lambda values: quantile(0.37, values)),
    "mad_over_time(x[{}])": of_values(mad),
    "resets(x[{}])": of_values(falls),
    "changes(x[{}])": of_values(moves),
    "double_exponential_smoothing(x[{}], 0.3, 0.4)": smoothed,
}


def counter(rng: random.Random) -> Samples:
    """Irregular times with gaps, falls, repeats and an end now and then."""
    at, value = 0, 0.0
    samples = []
    for _ in range(900):
        at += rng.choice([9_990, 10_000, 10_000, 10_010, 70_000])
        value = 0.0 if rng.random() < 0.03 else value + rng.choice([0.0, 1.0, 12.25])
        samples.append((at, STALE_NAN if rng.random() < 0.02 else value))
    return samples


def gauge(rng: random.Random) -> Samples:
    """Around zero, so that sums all but cancel."""
    return [(at * 10_000, rng.gauss(0.0, 1.0) * 10 ** rng.randint(-3, 3)) for at in range(1200)]


def cancelling(rng: random.Random) -> Samples:
    """Of alternating sign: a plain sum would lose what is left over."""
    return [(at * 10_000, (-1) ** at * 1e8 + rng.random()) for at in range(1200)]


def lofty(rng: random.Random) -> Samples:
    """Small changes far from zero: the mean dwarfs the deviation."""
    return [(at * 10_000, 1e7 + rng.gauss(0.0, 10.0)) for at in range(1200)]


def level(_: random.Random) -> Samples:
    return [(at * 10_000, 0.1) for at in range(1200)]


def windows(samples: Samples, times: range, length: int) -> list[Window]:
    live = [(at, value) for at, value in samples if not is_stale(value)]
    at = [time for time, _ in live]
    return [
        (live[bisect_right(at, end - length) : bisect_right(at, end)], end - length, end)
        for end in times
    ]


# Few samples a window, some hundred, and far more samples a window than steps.
SHAPES = [
    pytest.param("1m", 60_000, range(600_000, 3_000_000, 7_000), id="short windows"),
    pytest.param("1h", 3_600_000, range(600_000, 9_000_000, 170_000), id="long windows"),
    pytest.param("2h", 7_200_000, range(8_000_000, 8_000_001, 60_000), id="one long window"),
]


@pytest.mark.parametrize("make", [counter, gauge, cancelling, lofty, level])
@pytest.mark.parametrize(("text", "length", "times"), SHAPES)
@pytest.mark.parametrize("query", FUNCTIONS)
def test_function_equals_its_definition(
    query: str, text: str, length: int, times: range, make: Callable[[random.Random], Samples]
) -> None:
    samples = make(random.Random(7))
    engine = Engine(FakeReader([series(Labels.of(__name__="x"), samples)]), experimental=True)
    result = engine.range(query.format(text), times.start, times[-1], times.step)
    assert isinstance(result.data, Matrix)
    (answer,) = result.data.series
    got = dict(zip(answer.times_ms.tolist(), answer.values.tolist(), strict=True))
    for window in windows(samples, times, length):
        wanted = FUNCTIONS[query](window)
        at = window[2]
        if wanted is None:
            assert at not in got
        else:
            assert got[at] == pytest.approx(wanted, rel=1e-9, abs=1e-12), at


@pytest.mark.parametrize(
    "func", ["sum_over_time", "avg_over_time", "min_over_time", "rate", "stdvar_over_time"]
)
def test_series_of_one_target_do_not_disturb_each_other(func: str) -> None:
    """A NaN, an Inf or a marker in one series leaves those with the same times as they are."""
    times = [at * 10_000 for at in range(400)]
    plain = [(at, float(i)) for i, at in enumerate(times)]
    odd = {100: math.nan, 120: math.inf, 140: -math.inf, 160: STALE_NAN}
    strange = [(at, odd.get(i, float(i))) for i, at in enumerate(times)]
    alone = Engine(FakeReader([series(Labels.of(__name__="x", n="1"), plain)]))
    held = [series(Labels.of(__name__="x", n="1"), plain)]
    held += [series(Labels.of(__name__="x", n=str(n)), strange) for n in (2, 3)]
    together = Engine(FakeReader(held))
    query = f'{func}(x{{n=~".*"}}[5m])'
    wanted = alone.range(query, 0, 4_000_000, 15_000).data
    got = together.range(query, 0, 4_000_000, 15_000).data
    assert isinstance(wanted, Matrix)
    assert isinstance(got, Matrix)
    assert len(got.series) == 3
    assert got.series[0].values.tolist() == wanted.series[0].values.tolist()


def test_infinite_reset_does_not_spoil_later_windows() -> None:
    samples = [(0, 1.0), (10_000, math.inf), *((at * 10_000, float(at)) for at in range(2, 30))]
    engine = Engine(FakeReader([series(Labels.of(__name__="x"), samples)]), experimental=True)
    data = engine.range("increase(x[30s])", 60_000, 200_000, 10_000).data
    assert isinstance(data, Matrix)
    assert data.series[0].values.tolist() == pytest.approx([3.0] * 15)
