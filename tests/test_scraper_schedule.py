"""When turns come: on a grid, spread, and never made up for."""

import pytest

from scraper.schedule import Schedule, next_turn

TURNS = [
    pytest.param(100.0, 10.0, 0.0, 110.0, id="a turn at this very moment is over"),
    pytest.param(101.0, 10.0, 0.5, 105.0, id="later in this interval"),
    pytest.param(106.0, 10.0, 0.5, 115.0, id="in the next interval"),
    pytest.param(100.0, 10.0, 0.123456, 101.2, id="on a tick"),
    pytest.param(100.0, 1.0, 0.123456, 100.123456, id="a short interval has no ticks"),
]


@pytest.mark.parametrize(("now", "interval", "offset", "expected"), TURNS)
def test_next_turn(now: float, interval: float, offset: float, expected: float) -> None:
    assert next_turn(now, interval, offset, tick=0.1) == pytest.approx(expected)


def test_a_target_comes_at_once_and_then_every_interval_at_its_place() -> None:
    schedule: Schedule[str] = Schedule(tick=0.1)
    schedule.add("a", 10.0, 0.37, now=1_700_000_000.0)
    planned = [
        at - 1_700_000_000.0
        for tenth in range(1000)
        for _, at, missed in schedule.due(1_700_000_000.0 + tenth / 10)
        if missed == 0
    ]
    places = [0.0037, *(3.7 + 10 * turn for turn in range(10))]
    assert planned == pytest.approx(places, abs=1e-5)


def test_a_regular_turn_right_after_the_first_is_left_out() -> None:
    schedule: Schedule[str] = Schedule(tick=0.1)
    schedule.add("a", 10.0, 0.0, now=9.8)
    planned = [at for second in range(9, 40) for _, at, _ in schedule.due(second + 0.9)]
    assert planned == [9.8, 20.0, 30.0]


def test_missed_turns_are_counted_and_not_made_up() -> None:
    schedule: Schedule[str] = Schedule(tick=0.1)
    schedule.add("a", 10.0, 0.0, now=5.0)
    assert [turn[1:] for turn in schedule.due(5.0)] == [(5.0, 0)]
    assert [turn[1:] for turn in schedule.due(45.0)] == [(10.0, 3)]
    assert list(schedule.due(49.9)) == []
    assert [turn[1:] for turn in schedule.due(50.0)] == [(50.0, 0)]


def test_first_turns_of_many_are_at_most_so_many_a_second() -> None:
    schedule: Schedule[int] = Schedule(tick=0.1)
    for key in range(1000):
        schedule.add(key, 60.0, key / 1000, now=0.05)
    seen: set[int] = set()
    firsts = []
    for second in range(1, 11):
        new = {key for key, *_ in schedule.due(second + 0.05)} - seen
        firsts.append(len(new))
        seen |= new
    assert len(seen) == 1000
    assert max(firsts) <= 400  # and not a thousand at once


def test_many_targets_spread_and_come_in_order() -> None:
    schedule: Schedule[int] = Schedule(tick=0.1)
    for key in range(100):
        schedule.add(key, 10.0, (key + 0.5) / 100, now=0.05)
    list(schedule.due(10.05))  # the first turn of each is over
    assert [key for key, *_ in schedule.due(20.05)] == [*range(1, 100), 0]


def test_a_new_target_with_a_long_interval_need_not_wait_for_it() -> None:
    schedule: Schedule[str] = Schedule(tick=0.1)
    schedule.add("a", 3600.0, 0.5, now=10.0)
    assert [key for key, *_ in schedule.due(15.1)] == ["a"]


def test_a_clock_set_back_does_not_stop_the_turns() -> None:
    schedule: Schedule[str] = Schedule(tick=0.1)
    schedule.add("a", 10.0, 0.0, now=100_000.0)
    assert [turn[1] for turn in schedule.due(100_001.0)] == [100_000.0]
    assert list(schedule.due(50_001.0)) == []
    assert [turn[1] for turn in schedule.due(50_010.0)] == [50_010.0]


def test_a_target_that_is_removed_or_paced_anew() -> None:
    schedule: Schedule[str] = Schedule(tick=0.1)
    schedule.add("a", 10.0, 0.0, now=1.0)
    schedule.add("b", 10.0, 0.0, now=1.0)
    schedule.remove_all({"a"})
    schedule.add("b", 5.0, 0.0, now=1.0)
    schedule.add("b", 5.0, 0.0, now=1.0)
    assert [(key, at) for key, at, _ in schedule.due(1.0)] == [("b", 1.0)]
    assert [(key, at) for key, at, _ in schedule.due(5.0)] == [("b", 5.0)]
    assert len(schedule) == 1
