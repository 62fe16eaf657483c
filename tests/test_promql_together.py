"""Series of many targets, which the engine reckons together, as each of them alone."""

import numpy as np
import pytest

from fleetpulse.model import Labels, Series
from fleetpulse.promql.engine import Engine
from fleetpulse.promql.rangefunctions import RANGE_FUNCTIONS
from fleetpulse.promql.result import Matrix, Vector
from tests.promql_fakes import FakeReader

START_MS, STEP_MS, STEPS = 1_700_000_000_000, 15_000, 60
TARGETS, LINES = 9, 3
ARGUMENTS = {
    "quantile_over_time": "quantile_over_time(0.3, x{} [2m])",
    "predict_linear": "predict_linear(x{} [2m], 60)",
    "double_exponential_smoothing": "double_exponential_smoothing(x{} [2m], 0.5, 0.1)",
}


def moving(
    rng: np.random.Generator, samples: int, kind: int
) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Counters that reset, from zero and from afar, gauges, constants and what is no number."""
    steps = rng.integers(0, 4, samples).astype(float)
    match kind % 7:
        case 0:
            return np.cumsum(steps)
        case 1:
            return 1e6 + np.cumsum(steps)
        case 2:
            return np.cumsum(steps) % 23
        case 3:
            return np.full(samples, 5.0)
        case 4:
            return np.full(samples, np.inf)
        case 5:
            return np.where(rng.random(samples) < 0.1, np.nan, steps)
        case _:
            return steps - 2


def fleet() -> list[Series]:
    """Targets whose scrapes stand at one of a few places, and some that miss a scrape."""
    rng = np.random.default_rng(7)
    made = []
    for target in range(TARGETS):
        first = START_MS - 180_000 + (1_234, 1_777, 7_001)[target % 3]
        times = first + 10_000 * np.arange(100, dtype=np.int64)
        if target % 4 == 3:
            times = np.delete(times, rng.integers(0, 100, 8))
        for line in range(LINES):
            labels = Labels.of(__name__="x", target=str(target), line=str(line))
            values = moving(rng, len(times), target * LINES + line)
            made.append(Series(labels, times, values))
    return sorted(made, key=lambda series: series.labels)


def asked(engine: Engine, expr: str) -> dict[Labels, list[tuple[int, float]]]:
    result = engine.range(expr, START_MS, START_MS + STEPS * STEP_MS, STEP_MS)
    assert isinstance(result.data, Matrix)
    return {
        one.labels: list(zip(one.times_ms.tolist(), one.values.tolist(), strict=True))
        for one in result.data.series
    }


def asked_once(engine: Engine, expr: str) -> dict[Labels, float]:
    data = engine.instant(expr, START_MS + STEPS * STEP_MS).data
    assert isinstance(data, Vector)
    return dict(zip(data.labels, data.values.tolist(), strict=True))


@pytest.mark.parametrize("name", sorted(RANGE_FUNCTIONS))
def test_all_targets_answer_as_each_alone(name: str) -> None:
    engine = Engine(FakeReader(fleet()), experimental=True)
    expr = ARGUMENTS.get(name, name + "(x{} [2m])")
    together = asked(engine, expr)
    alone: dict[Labels, list[tuple[int, float]]] = {}
    for target in range(TARGETS):
        alone |= asked(engine, expr.replace("{}", f'{{target="{target}"}}'))
    assert together.keys() == alone.keys()
    for labels, pairs in together.items():
        np.testing.assert_allclose(pairs, alone[labels], rtol=1e-12)


@pytest.mark.parametrize("name", sorted(RANGE_FUNCTIONS))
def test_all_targets_answer_as_each_alone_at_one_time(name: str) -> None:
    engine = Engine(FakeReader(fleet()), experimental=True)
    expr = ARGUMENTS.get(name, name + "(x{} [2m])")
    together = asked_once(engine, expr.replace("{}", ""))
    alone: dict[Labels, float] = {}
    for target in range(TARGETS):
        alone |= asked_once(engine, expr.replace("{}", f'{{target="{target}"}}'))
    assert together.keys() == alone.keys()
    for labels, value in together.items():
        np.testing.assert_allclose(value, alone[labels], rtol=1e-12)


@pytest.mark.parametrize("op", ["sum", "avg", "min", "max", "count", "stddev"])
def test_groups_of_many_sizes_answer_as_each_alone(op: str) -> None:
    sizes = [1, 2, 3, 3, 7]
    times = np.array([START_MS], dtype=np.int64)
    series = [
        Series(
            Labels.of(__name__="y", group=str(group), row=str(row)),
            times,
            np.array([0.1 * (row + 1)]),
        )
        for group, size in enumerate(sizes)
        for row in range(size)
    ]
    engine = Engine(FakeReader(series))
    together = asked(engine, f"{op} by(group)(y)")
    for group in range(len(sizes)):
        alone = asked(engine, f'{op} by(group)(y{{group="{group}"}})')
        labels = Labels.of(group=str(group))
        np.testing.assert_allclose(together[labels], alone[labels], rtol=1e-15)
