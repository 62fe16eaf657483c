"""Tiers: what windows of five minutes answer is what the samples would have."""

import math
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from fleetpulse.errors import QueryError
from fleetpulse.matchers import Matcher
from fleetpulse.model import STALE_NAN, Labels, Page
from fleetpulse.promql.engine import Engine
from fleetpulse.promql.result import Matrix, Vector
from fleetpulse.storage.base import Tier
from fleetpulse.storage.embedded import CompactionLimits, EmbeddedStore, Keeping, verify
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


@settings(max_examples=30, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
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


@settings(max_examples=20, deadline=None)
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


# Expression, time, what tiers and samples say: a second a second, three days, samples for one.
GONE = [
    pytest.param("g", DAY0 + 5 * HOUR, [4.0], id="plain: the last value of the window before"),
    pytest.param("g", DAY0 + 5 * HOUR + 7, [4.0], id="a window that is not over does not count"),
    pytest.param("min_over_time(g[1d])", DAY0 + DAY, [0.0], id="min"),
    pytest.param("max_over_time(g[1d])", DAY0 + DAY, [23.0], id="max"),
    pytest.param("count_over_time(g[1d])", DAY0 + DAY, [1440.0], id="count"),
    pytest.param("avg_over_time(g[2h])", DAY0 + 4 * HOUR, [2.5], id="avg"),
    pytest.param("increase(c_total[1h])", DAY0 + 4 * HOUR, [3600.0], id="increase"),
    pytest.param("rate(c_total[30m15s])", DAY0 + 4 * HOUR, [1.0], id="rate, to the nearest"),
    pytest.param("rate(c_total[2d])", DAY0 + 3 * DAY, [1.0], id="rate over the border"),
    pytest.param("changes(g[1d])", DAY0 + DAY, [], id="needs samples, which are gone"),
    pytest.param("timestamp(g)", DAY0 + 5 * HOUR, [], id="so do times"),
    pytest.param("g", DAY0 - MINUTE, [], id="before the first sample"),
]


@pytest.fixture(scope="module")
def three_days(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    path = tmp_path_factory.mktemp("tiers") / "x.db"
    with opened(path, now_ms=DAY0 + 3 * DAY + 2 * HOUR) as store:
        fill(store, 3)
        store.expire(Keeping(raw=1 * 86400, tiers=30 * 86400))
        yield store


@pytest.mark.parametrize(("expr", "at_ms", "expected"), GONE)
def test_what_is_gone_is_answered_from_windows(
    three_days: EmbeddedStore, expr: str, at_ms: int, expected: list[float]
) -> None:
    assert instant(three_days, expr, at_ms) == pytest.approx(expected, rel=1e-3)


def test_only_samples_where_that_is_asked_for(three_days: EmbeddedStore) -> None:
    assert instant(three_days, "max_over_time(g[1d])", DAY0 + DAY, "raw") == []


def test_where_samples_are_rates_are_theirs(three_days: EmbeddedStore) -> None:
    times = (DAY0 + DAY, DAY0 + 3 * DAY, 6 * HOUR)
    found = answers(three_days, "rate(c_total[1h])", times, "auto")
    raw = answers(three_days, "rate(c_total[1h])", times, "raw")
    for labels, values in raw.items():
        assert len(found[labels]) == 9 > len(values) > 3
        for at, value in values.items():
            if at > DAY0 + 2 * DAY + 3 * HOUR:
                assert found[labels][at] == value


def test_a_gap_counts_only_where_the_range_covers_it(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db", now_ms=DAY0 + 3 * DAY) as store:
        ats = [*range(0, HOUR, MINUTE), *range(4 * HOUR, 5 * HOUR, MINUTE)]
        samples = [(line("c_total"), DAY0 + 7 + at, at / 1000) for at in ats]
        store.write([timed_page(TARGET, [*samples, (line("z"), DAY0 + 3 * DAY, 1.0)])])
        store.compact(ALL)
        at = DAY0 + 4 * HOUR + 30 * MINUTE
        assert instant(store, "increase(c_total[1h])", at, "5m") == [29 * 60.0]
        assert instant(store, "increase(c_total[4h])", at, "5m") == [4 * 3600.0]


# Written after samples (a minute each, value 1) have expired: at, value, what the hour then holds.
LATE = [
    pytest.param(10 * HOUR + 7, 5.0, (61.0, 5.0), id="where there was nothing, it is one more"),
    pytest.param(2 * HOUR + 30_000, 5.0, (61.0, 5.0), id="between the others too"),
]


@pytest.mark.parametrize(("at", "value", "expected"), LATE)
def test_late_samples_reach_tiers_of_expired_ones(
    tmp_path: Path, at: int, value: float, expected: tuple[float, float]
) -> None:
    keeping = Keeping(raw=86400, tiers=30 * 86400)
    with opened(tmp_path / "x.db", now_ms=DAY0 + 9 * DAY) as store:
        hours = (at // HOUR,) if at < 5 * HOUR else (1, 2)
        ats = [hour * HOUR + k * MINUTE + 7 for hour in hours for k in range(60)]
        store.write([timed_page(TARGET, [(line("m"), DAY0 + one, 1.0) for one in ats])])
        store.compact(ALL)
        store.expire(keeping)
        store.write([timed_page(TARGET, [(line("m"), DAY0 + at, value)])])

        store.compact(ALL)
        store.expire(keeping)

        total = sum(instant(store, "count_over_time(m[1d])", DAY0 + DAY))
        assert total - (60 if at > 5 * HOUR else 0) == expected[0]
        assert instant(store, "max_over_time(m[1d])", DAY0 + DAY) == [expected[1]]
        assert instant(store, "count_over_time(m[1d])", DAY0 + DAY, "raw") == []


def test_a_backlog_of_an_expired_day_makes_its_tiers(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db", now_ms=DAY0 + 9 * DAY) as store:
        store.expire(Keeping(raw=86400, tiers=30 * 86400))
        fill(store, 1)
        store.expire(Keeping(raw=86400, tiers=30 * 86400))
        assert instant(store, "count_over_time(g[1d])", DAY0 + DAY) == [1440.0]


def test_tiers_of_a_span_deleted_twice_are_not_made_twice(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db", now_ms=DAY0 + 3 * DAY) as store:
        fill(store, 1)
        assert store.compact(ALL).tiers == 0
        store.write([timed_page(TARGET, [(line("g"), DAY0 + 7, 99.0)])])
        assert store.compact(ALL).tiers == 2
        assert instant(store, "max_over_time(g[1d])", DAY0 + DAY) == [99.0]
        assert instant(store, "count_over_time(g[1d])", DAY0 + DAY) == [1440.0]


def test_what_is_deleted_is_gone_from_tiers_too(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db", now_ms=DAY0 + 3 * DAY) as store:
        fill(store, 2)
        store.delete([Matcher("__name__", "=", "g")], DAY0 + HOUR, DAY0 + 3 * HOUR)
        store.compact(ALL)
        for tier in ("raw", "5m"):
            assert instant(store, "count_over_time(g[4h])", DAY0 + 4 * HOUR, tier) == [120.0]
            assert instant(store, "count_over_time(c_total[4h])", DAY0 + 4 * HOUR, tier) == [240.0]


def test_what_is_deleted_after_its_samples_expired_is_gone(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db", now_ms=DAY0 + 9 * DAY) as store:
        fill(store, 2)
        store.expire(Keeping(raw=86400, tiers=30 * 86400))
        store.delete([Matcher("__name__", "=", "c_total")], DAY0 + HOUR + 1, DAY0 + 3 * HOUR)
        store.compact(ALL)
        assert instant(store, "count_over_time(c_total[4h])", DAY0 + 4 * HOUR) == [120.0]
        assert instant(store, "increase(c_total[30m])", DAY0 + 4 * HOUR) == [1800.0]


def test_a_damaged_tier_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with opened(path, now_ms=DAY0 + 3 * DAY) as store:
        fill(store, 2)
        with closing(sqlite3.connect(path)) as db, db:
            spoilt = "CAST(replace(hex(vals), '00', '07') AS BLOB)"
            db.execute(f"UPDATE tier SET vals = {spoilt} WHERE line = 1 AND span = 19676")
        found = instant(store, "count_over_time({job='a'}[1d])", DAY0 + DAY)
        assert found == [1440.0]
    assert len(verify(path).findings) == 1


@pytest.mark.parametrize("query", ["m", "max_over_time(m[1d])", "rate(m[1d])"])
def test_windows_count_against_the_limit_of_samples(tmp_path: Path, query: str) -> None:
    samples = [("m", at * 5 * MINUTE, float(at)) for at in range(288)]
    with opened(tmp_path / "x.db", now_ms=DAY0 + 3 * DAY) as store:
        store.write([page_of(samples)])
        store.compact(ALL)
        times = DAY0 + 12 * HOUR, DAY0 + DAY, 5 * MINUTE
        assert Engine(store).range(query, *times, tier="5m").data
        with pytest.raises(QueryError, match="too many samples") as caught:
            Engine(store, max_samples=100).range(query, *times, tier="5m")
    # By the store, that is, before it holds them all.
    assert "more than 100" not in str(caught.value)


def test_the_oldest_is_told_of_tiers_too(tmp_path: Path) -> None:
    now = DAY0 + 10 * DAY
    with opened(tmp_path / "x.db", now_ms=now) as store:
        for at in (DAY0 + HOUR, now - MINUTE):
            store.write([Page.of(TARGET, at, {line("m"): 1.0})])
        store.compact(ALL)
        store.expire(Keeping(raw=86_400, tiers=40 * 86_400))
        assert store.stats().oldest_ms == DAY0
        assert (store.stats().newest_ms or 0) >= now - MINUTE
