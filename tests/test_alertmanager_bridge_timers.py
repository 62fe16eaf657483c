"""The heap of due times, and the thread that waits for them."""

import threading
import time

import pytest

from alertmanager_bridge.loop import Loop
from alertmanager_bridge.sender import backoff
from alertmanager_bridge.timers import Timers


def test_keys_come_in_the_order_of_their_times() -> None:
    timers: Timers[str] = Timers()
    for key, due in (("c", 3), ("a", 1), ("b", 2)):
        timers.set(key, due)
    assert timers.next_due() == 1
    assert list(timers.pop_due(2)) == ["a", "b"]
    assert list(timers.pop_due(2)) == []
    assert timers.next_due() == 3


def test_a_new_time_takes_the_place_of_the_old_one() -> None:
    timers: Timers[str] = Timers()
    timers.set("a", 1)
    timers.set("a", 5)
    assert list(timers.pop_due(4)) == []
    timers.set("a", 2)
    assert list(timers.pop_due(9)) == ["a"]
    assert timers.next_due() is None


def test_a_cancelled_key_never_comes() -> None:
    timers: Timers[str] = Timers()
    timers.set("a", 1)
    timers.cancel("a")
    timers.cancel("b")
    assert (timers.next_due(), list(timers.pop_due(9))) == (None, [])


def test_moving_a_time_again_and_again_does_not_fill_the_memory() -> None:
    timers: Timers[str] = Timers()
    for due in range(10_000):
        timers.set("a", due)
    assert len(timers._heap) < 200
    assert timers.next_due() == 9_999


BACKOFFS = [
    pytest.param(1, 0.5, 1, id="first"),
    pytest.param(2, 1, 2, id="doubles"),
    pytest.param(6, 16, 32, id="sixth"),
    pytest.param(7, 30, 60, id="at most a minute"),
    pytest.param(5000, 30, 60, id="however often"),
]


@pytest.mark.parametrize(("attempts", "low", "high"), BACKOFFS)
def test_backoff(attempts: int, low: float, high: float) -> None:
    assert backoff(attempts, lambda: 0.0) == low
    assert backoff(attempts, lambda: 1.0) == high


def test_a_loop_goes_on_after_an_error_and_is_woken(caplog: pytest.LogCaptureFixture) -> None:
    turns: list[int] = []
    errors, third = threading.Event(), threading.Event()

    def turn() -> float | None:
        turns.append(len(turns))
        if len(turns) == 1:
            raise ZeroDivisionError("bug")
        if len(turns) == 3:
            third.set()
        return 1000.0

    loop = Loop("loop", turn, errors.set)
    loop.start()
    assert errors.wait(10)
    loop.wake()
    loop.wake()
    while not third.wait(0.01):
        loop.wake()
    loop.end()
    assert loop.join(time.monotonic() + 10)
    assert "bug" in caplog.text


def test_a_loop_that_never_began_can_be_ended() -> None:
    loop = Loop("loop", lambda: None, lambda: None)
    loop.end()
    assert loop.join(0)
