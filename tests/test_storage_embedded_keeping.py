"""Retention by rules, of samples and tiers, and the largest size of the file."""

from pathlib import Path

import pytest

from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Page
from fleetpulse.storage.base import Hints
from fleetpulse.storage.embedded import CompactionLimits, EmbeddedStore, Keeping, Rule
from tests.store_fakes import FOR_EVER, FROM_EVER, line, opened

DAY = 86_400_000
DAY0 = 19_676 * DAY
WEB, DB = Labels.of(job="web"), Labels.of(job="db")
ALL = CompactionLimits(min_age=0, gather=0)
DAYS = 86_400.0


def a_fortnight(store: EmbeddedStore) -> None:
    """A sample of two lines of two targets a minute after each noon."""
    for day in range(14):
        at = DAY0 + day * DAY + DAY // 2 + 60_000
        lines = {line("cpu"): float(day), line("mem"): float(day)}
        store.write([Page.of(target, at, lines) for target in (WEB, DB)])
    store.compact(ALL)


def kept(store: EmbeddedStore, tier: str) -> dict[str, list[int]]:
    """By `name job`, the days of samples (raw) or windows (5m) that are there."""
    hints = Hints(step_ms=0 if tier == "raw" else 300_000, tier="raw" if tier == "raw" else "5m")
    found = store.select([], FROM_EVER if tier == "raw" else DAY0, FOR_EVER, hints)
    return {
        f"{one.labels.name} {one.labels.get('job')}": sorted(
            {(at - 1 - DAY0) // DAY for at in one.times_ms.tolist()}
        )
        for one in found
    }


def rule(text: str, raw: float, tiers: float = 30.0) -> Rule:
    name, _, value = text.partition("=")
    return Rule((Matcher(name, "=", value),), raw * DAYS, tiers * DAYS)


# Rules, then the first day of samples that is kept by series: it is the noon of day 14.
RULES = [
    pytest.param((), {"cpu web": 7, "cpu db": 7, "mem web": 7, "mem db": 7}, id="none"),
    pytest.param(
        (rule("__name__=cpu", 10),),
        {"cpu web": 4, "cpu db": 4, "mem web": 7, "mem db": 7},
        id="longer for a metric",
    ),
    pytest.param(
        (rule("job=db", 2),),
        {"cpu web": 7, "cpu db": 12, "mem web": 7, "mem db": 12},
        id="shorter for a target",
    ),
    pytest.param(
        (rule("__name__=cpu", 10), rule("job=db", 2)),
        {"cpu web": 4, "cpu db": 4, "mem web": 7, "mem db": 12},
        id="the first that matches counts",
    ),
]


@pytest.mark.parametrize(("rules", "expected"), RULES)
def test_rules_decide_how_long_samples_stay(
    tmp_path: Path, rules: tuple[Rule, ...], expected: dict[str, int]
) -> None:
    with opened(tmp_path / "x.db", now_ms=DAY0 + 14 * DAY + DAY // 2) as store:
        a_fortnight(store)
        keeping = Keeping(7 * DAYS, 30 * DAYS, rules)

        store.expire(keeping)

        assert kept(store, "raw") == {
            name: list(range(first, 14)) for name, first in expected.items()
        }
        store.expire(keeping)
        assert {name: days[0] for name, days in kept(store, "raw").items()} == expected
        assert set(map(len, kept(store, "5m").values())) == {14}


def test_tiers_have_a_retention_of_their_own(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db", now_ms=DAY0 + 14 * DAY + DAY // 2) as store:
        a_fortnight(store)
        rules = (rule("__name__=cpu", 1, tiers=12), rule("job=db", 1, tiers=0))
        store.expire(Keeping(1 * DAYS, 5 * DAYS, rules))
        found = {name: days[0] for name, days in kept(store, "5m").items()}
        assert found == {"cpu web": 2, "cpu db": 2, "mem web": 9, "mem db": 13}


def test_a_longer_retention_does_not_hide_what_tiers_know(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db", now_ms=DAY0 + 14 * DAY) as store:
        a_fortnight(store)
        store.expire(Keeping(2 * DAYS, 30 * DAYS))
        store.expire(Keeping(10 * DAYS, 30 * DAYS, (rule("job=db", 20),)))
        hints = Hints(step_ms=0, tier="auto")
        at = DAY0 + 5 * DAY + DAY // 2 + 360_000
        found = store.select([], at - 300_000, at, hints)
        assert [one.values.tolist() for one in found] == [[5.0]] * 4


def test_a_clock_that_was_wrong_hides_nothing_later(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    keeping = Keeping(2 * DAYS, 30 * DAYS)
    with opened(path, now_ms=DAY0 + 400 * DAY) as store:
        a_fortnight(store)
        store.expire(keeping)
    with opened(path, now_ms=DAY0 + 14 * DAY + DAY // 2) as store:
        a_fortnight(store)
        store.expire(keeping)
        assert kept(store, "raw")["cpu db"] == [12, 13]


def test_samples_wait_for_their_tiers(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db", now_ms=DAY0 + 14 * DAY + DAY // 2) as store:
        for k in range(24):
            at = DAY0 + 13 * DAY + DAY // 2 + k * 3_600_000
            store.write([Page.of(WEB, at, {line("cpu"): float(k)})])
        store.compact(ALL)
        store.expire(Keeping(3600, 30 * DAYS))
        # The day that is over has its tiers; today's samples are all there yet.
        assert kept(store, "raw")["cpu web"] == [13, 14]
        assert len(store.select([], FROM_EVER, FOR_EVER, Hints())[0].times_ms) == 12


def test_the_oldest_goes_where_the_file_would_be_too_large(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    lines = {line("m", n=str(number)): number / 7 for number in range(2000)}
    with opened(path, now_ms=DAY0 + 14 * DAY + DAY // 2) as store:
        for day in range(14):
            at = DAY0 + day * DAY
            store.write([Page.of(WEB, at + k * 60_000, lines) for k in range(1, 4)])
            store.compact(ALL)
    with opened(path, now_ms=DAY0 + 14 * DAY + DAY // 2) as store:  # the log is now empty
        size = store.stats().bytes - store.stats().free_bytes

        assert store.cap(2 * size) == 0
        assert store.cap(size // 2) > 0

        found = kept(store, "raw")["m web"]
        assert found == list(range(found[0], 14))
        assert 3 < found[0] < 12
        assert kept(store, "5m")["m web"] == found
    assert path.stat().st_size <= size // 2
