"""Slots and the threads that keep them."""

import threading
import time

import pytest

from rules.schedule import Slots, Timetable
from tests.support import wait_for

SECOND = 1000


def offset(slots: Slots) -> int:
    return slots.next_after(0) % (10 * SECOND)


def test_slots_lie_on_a_grid_of_the_interval() -> None:
    slots = Slots("a;g", 10)
    first = slots.next_after(1_700_000_000_000)
    assert 0 < first - 1_700_000_000_000 <= 10 * SECOND
    assert slots.next_after(first) == first + 10 * SECOND
    assert slots.next_after(first - 1) == first
    assert Slots("a;g", 10).next_after(1_700_000_000_000) == first


def test_groups_are_spread_over_the_interval() -> None:
    offsets = [offset(Slots(f"file;{number}", 10)) for number in range(100)]
    assert len({at // SECOND for at in offsets}) == 10


# The slot was at 100 s, the interval is 10 s: when the turn ended, what is next, what was missed.
FOLLOWING = [
    pytest.param(100.0, 110, 0, id="done in no time"),
    pytest.param(109.9, 110, 0, id="done just in time"),
    pytest.param(110.0, 110, 0, id="the next is due right now"),
    pytest.param(119.0, 110, 0, id="late, but nothing missed: the next comes at once"),
    pytest.param(125.0, 120, 1, id="one missed, the latest comes at once"),
    pytest.param(140.0, 140, 3, id="three missed"),
]


@pytest.mark.parametrize(("now", "expected", "missed"), FOLLOWING)
def test_missed_slots_are_skipped_and_counted(now: float, expected: int, missed: int) -> None:
    slots = Slots("a;g", 10)
    shift = offset(slots)
    following = slots.following(100 * SECOND + shift, round(now * SECOND) + shift)
    assert following == (expected * SECOND + shift, missed)


def test_a_clock_set_back_does_not_stop_the_turns() -> None:
    slots = Slots("a;g", 10)
    slot = slots.next_after(10_000_000)
    back = 5_000_000
    assert slots.following(slot, back) == (slots.next_after(back), 0)
    assert slots.is_far(slot, back)
    assert not slots.is_far(slots.next_after(back), back)


class Turns:
    """Notes the times of its turns; can fail, and can be held up."""

    def __init__(self, *, fails: bool = False) -> None:
        self.at: list[float] = []
        self.fails = fails
        self.gate = threading.Event()
        self.gate.set()
        self.inside = threading.Event()

    def evaluate(self, at: float) -> None:
        self.at.append(at)
        self.inside.set()
        self.gate.wait(10)
        if self.fails:
            raise RuntimeError("bug")


def test_turns_come_on_their_slots_even_after_a_failure() -> None:
    timetable = Timetable(2, lambda key, turns: None)
    good, bad = Turns(), Turns(fails=True)
    timetable.add("good", good, 0.05)
    timetable.add("bad", bad, 0.05)
    timetable.start()
    try:
        wait_for("three turns each", lambda: min(len(good.at), len(bad.at)) >= 3)
    finally:
        timetable.stop()
    slots = Slots("good", 0.05)
    for at in good.at:
        assert slots.next_after(round(at * 1000) - 1) == round(at * 1000)
    assert good.at == sorted(set(good.at))


def test_missed_turns_are_counted() -> None:
    missed: dict[str, int] = {}
    counted = threading.Event()

    def count(key: str, turns: int) -> None:
        missed[key] = missed.get(key, 0) + turns
        counted.set()

    timetable = Timetable(1, count)
    slow = Turns()
    slow.gate.clear()
    timetable.add("slow", slow, 0.01)
    timetable.start()
    try:
        assert slow.inside.wait(10)
        held_at = time.time()
        wait_for("some slots to pass", lambda: time.time() > held_at + 0.1)
        slow.gate.set()
        assert counted.wait(10)
    finally:
        timetable.stop()
    assert missed["slow"] >= 8


def test_remove_waits_for_the_turn_under_way() -> None:
    timetable = Timetable(1, lambda key, turns: None)
    turns = Turns()
    turns.gate.clear()
    timetable.add("g", turns, 0.01)
    timetable.start()
    removed = threading.Event()
    try:
        assert turns.inside.wait(10)

        def remove() -> None:
            timetable.remove("g")
            removed.set()

        remover = threading.Thread(target=remove)
        remover.start()
        assert not removed.wait(0.05)
        turns.gate.set()
        assert removed.wait(10)
        remover.join()
    finally:
        timetable.stop()
    assert len(turns.at) == 1


def test_a_group_may_be_exchanged_at_once() -> None:
    """The old one is still on the heap when the new one, with the same slot, joins it."""
    timetable = Timetable(1, lambda key, turns: None, now=lambda: 1000.0)
    for _ in range(3):
        timetable.add("g", Turns(), 10)
        timetable.remove("g")
