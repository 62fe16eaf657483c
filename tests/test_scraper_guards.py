"""Guards: what would be too many series is left out, counted, and asked about again."""

import pytest
from prometheus_client import CollectorRegistry

from scraper.guards import Guards
from scraper.lines import Readers
from scraper.page import Outcome, Scrape, TargetPages
from tests.scraper_fakes import guards_of, job_of, samples_of, target_of


def pages_of(guards: Guards, address: str = "web-1:9100") -> TargetPages:
    return TargetPages(target_of(job_of(), address), Readers(), guards)


def page(*names: str) -> bytes:
    return "".join(f"{name} 1\n" for name in names).encode()


def stored(scrape: Scrape) -> dict[str, float | None]:
    """Value, or None for a marker, by name; the report left out."""
    return {
        labels.name: value
        for one in scrape.pages
        for labels, _, value in samples_of(one)
        if len(labels.name) == 1
    }


def take(pages: TargetPages, second: int, *names: str) -> dict[str, float | None]:
    return stored(pages.take(Outcome(second * 1000, 0.1, page(*names))))


# limits, pages in a row, and what of the last one is stored (1, or None for a marker)
CASES = [
    pytest.param({}, ["abc", "abcd"], "abcd", "", id="no limits"),
    pytest.param({"series_per_target": 2}, ["abc"], "ab", "", id="the first ones are taken"),
    pytest.param({"series_per_target": 2}, ["abc", "abc"], "ab", "", id="and stay"),
    pytest.param({"series_per_target": 2}, ["ab", "xab"], "ab", "", id="those there go on"),
    pytest.param({"series_per_target": 2}, ["abc", "bc"], "bc", "a", id="room is used"),
    pytest.param({"series_per_target": 2}, ["abc", "ab"], "ab", "", id="no marker for none"),
    pytest.param({"series": 2}, ["abc"], "ab", "", id="of all targets"),
    pytest.param({"new_series_per_minute": 1}, ["abc"], "abc", "", id="a first page is not new"),
    pytest.param({"new_series_per_minute": 1}, ["a", "abc"], "ab", "", id="new in a minute"),
    pytest.param({"new_series_per_minute": 1}, ["a", "b", "c"], "", "b", id="churn is stopped"),
]


@pytest.mark.parametrize(("limits", "pages", "kept", "ended"), CASES)
def test_what_a_guard_lets_in(
    limits: dict[str, int], pages: list[str], kept: str, ended: str
) -> None:
    target = pages_of(guards_of(**limits))
    for second, names in enumerate(pages):
        last = take(target, second, *names)
    assert last == {**dict.fromkeys(kept, 1.0), **dict.fromkeys(ended)}


def test_a_refusal_is_counted_with_its_job_and_told_in_the_scrape() -> None:
    registry = CollectorRegistry()
    target = pages_of(guards_of(registry=registry, series_per_target=1))
    scrape = target.take(Outcome(1000, 0.1, page("a", "b", "c")))
    assert scrape.refused == 2
    labels = {"job": "node", "guard": "target"}
    name = "fleetpulse_scraper_series_refused_total"
    assert registry.get_sample_value(name, labels) == 2
    assert registry.get_sample_value("fleetpulse_scraper_series") == 1


def test_new_series_are_let_in_when_the_minute_is_over() -> None:
    now = [0.0]
    target = pages_of(guards_of(clock=lambda: now[0], new_series_per_minute=1))
    take(target, 0, "a")
    assert take(target, 1, *"abc") == {"a": 1, "b": 1}
    now[0] = 61.0
    assert take(target, 2, *"abc") == {"a": 1, "b": 1, "c": 1}


def test_a_target_that_goes_makes_room_for_another() -> None:
    guards = guards_of(series=2)
    one, other = pages_of(guards), pages_of(guards, "web-2:9100")
    take(one, 0, *"ab")
    assert take(other, 0, *"ab") == {}
    one.gone(1000)
    assert take(other, 2, *"ab") == {"a": 1, "b": 1}


def test_what_was_refused_gets_no_marker_when_the_target_fails() -> None:
    target = pages_of(guards_of(series_per_target=1))
    take(target, 0, *"ab")
    failed = target.take(Outcome(1000, 0.1, reason="timeout", error="timed out"))
    assert stored(failed) == {"a": None}
