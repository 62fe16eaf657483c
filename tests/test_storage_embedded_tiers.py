"""Tiers: what windows of five minutes answer is what the samples would have."""

import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fleetpulse.model import STALE_NAN, Labels, Page
from fleetpulse.promql.engine import Engine
from fleetpulse.promql.result import Matrix, Vector
from fleetpulse.storage.base import Tier
from fleetpulse.storage.embedded import CompactionLimits, EmbeddedStore
from tests.store_fakes import MINUTE, line, opened, timed_page

HOUR, DAY = 60 * MINUTE, 1440 * MINUTE
DAY0 = 19_676 * DAY  # a midnight
ALL = CompactionLimits(min_age=0, gather=0)
TARGET = Labels.of(job="a", instance="x")

SAME = (
    "m", "min_over_time(m[15m])", "max_over_time(m[1h])", "sum_over_time(m[30m])",
    "count_over_time(m[5m])", "avg_over_time(m[2h])", "last_over_time(m[10m])",
    "present_over_time(m[20m])", "absent_over_time(m[5m])", "max_over_time(m[10m] offset 1h)",
    "sum(m)", "max_over_time(m[1d:15m])",
)  # fmt: skip


def answers(
    store: EmbeddedStore, expr: str, times: tuple[int, int, int], tier: Tier
) -> dict[Labels, dict[int, float]]:
    data = Engine(store).range(expr, *times, tier=tier).data
    assert isinstance(data, Matrix)
    return {
        one.labels: dict(zip(one.times_ms.tolist(), one.values.tolist(), strict=True))
        for one in data.series
    }


def assert_same(store: EmbeddedStore, expr: str, times: tuple[int, int, int]) -> None:
    raw = answers(store, expr, times, "raw")
    for tier in ("auto", "5m"):
        tiers = answers(store, expr, times, tier)
        assert tiers.keys() == raw.keys(), expr
        for labels, found in raw.items():
            assert tiers[labels].keys() == found.keys(), expr
            for at, value in found.items():
                assert tiers[labels][at] == pytest.approx(value, rel=1e-9, nan_ok=True), expr


# In seconds of the day; borders of windows, spans and days are among them.
AT = st.one_of(
    st.integers(-4, 300).map(lambda k: k * 300_000),
    st.integers(-600_000, DAY + HOUR),
    st.sampled_from([0, 1, -1, DAY, DAY + 1, DAY - 1, 2 * HOUR]),
)
VALUE = st.one_of(
    st.just(STALE_NAN), st.floats(-1e6, 1e6), st.integers(0, 5).map(float), st.just(math.inf)
)
SAMPLES = st.lists(st.tuples(st.sampled_from("mmn"), AT, VALUE), min_size=1, max_size=60)


def page_of(samples: list[tuple[str, int, float]]) -> Page:
    return timed_page(
        TARGET, [(line(name, k=str(at % 2)), DAY0 + at, value) for name, at, value in samples]
    )


@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(rounds=st.lists(SAMPLES, min_size=1, max_size=3), until=st.integers(0, 60))
def test_windows_tell_what_samples_would(
    rounds: list[list[tuple[str, int, float]]], until: int
) -> None:
    """Late samples, resets, gaps and markers; each round comes after the tiers of the last."""
    with (
        tempfile.TemporaryDirectory() as folder,
        opened(Path(folder, "x.db"), now_ms=DAY0 + 3 * DAY) as store,
    ):
        for samples in rounds:
            store.write([page_of(samples)])
            store.compact(ALL)
        for expr in SAME:
            end = DAY0 + DAY - until * 300_000
            assert_same(store, expr, (end - 20 * HOUR, end + 2 * HOUR, 600_000))
            assert_same(store, expr, (DAY0 - 1200_000, DAY0 + 2 * DAY, HOUR))


@settings(max_examples=100, deadline=None)
@given(
    steps=st.lists(st.integers(0, 50), min_size=300, max_size=500),
    every=st.sampled_from([10_000, 15_000, 60_000]),
    resets=st.sets(st.integers(1, 499)),
    shift=st.integers(0, 9_999),
)
def test_rate_differs_by_the_border_intervals_at_most(
    steps: list[int], every: int, resets: set[int], shift: int
) -> None:
    values, total = [], 1000.0
    for at, step in enumerate(steps):
        total = float(step) if at in resets else total + step
        values.append(total)
    samples = [("m", shift + at * every, value) for at, value in enumerate(values)]
    samples.append(("m", DAY + HOUR, 0.0))
    with (
        tempfile.TemporaryDirectory() as folder,
        opened(Path(folder, "x.db"), now_ms=DAY0 + 3 * DAY) as store,
    ):
        store.write([timed_page(TARGET, [(line("m"), DAY0 + at, v) for _, at, v in samples])])
        store.compact(ALL)
        end = DAY0 + len(steps) * every // 300_000 * 300_000
        times = (DAY0 + 3_600_000, max(end, DAY0 + 3_600_000), 300_000)
        raw = answers(store, "increase(m[30m])", times, "raw")
        tiers = answers(store, "increase(m[30m])", times, "5m")
    for labels, found in raw.items():
        for at, value in found.items():
            assert tiers[labels][at] == pytest.approx(value, abs=50 * 3.2, rel=1e-9)


def fill(store: EmbeddedStore, days: int, every: int = MINUTE) -> None:
    """A counter that rises by one a second, and a gauge, from DAY0 on, a few ms off the border."""
    times = np.arange(7, days * DAY, every)
    for part in np.array_split(times, days):
        samples = [(line("c_total"), DAY0 + at, at / 1000) for at in part.tolist()]
        samples += [(line("g"), DAY0 + at, float(at // HOUR % 24)) for at in part.tolist()]
        store.write([timed_page(TARGET, samples)])
    store.compact(ALL)


def instant(store: EmbeddedStore, expr: str, at_ms: int, tier: Tier = "auto") -> list[float]:
    data = Engine(store).instant(expr, at_ms, tier=tier).data
    assert isinstance(data, Vector)
    return [float(value) for value in data.values]
