"""When each target's turn comes: spread over the interval, on a grid that a restart finds again."""

import heapq
import itertools
import math
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

# A new target is scraped once before its first regular turn: at once where there are few, so that
# a new fleet is seen within seconds, and at most so many a second where there are many.
_FIRST_WITHIN = 10.0
_FIRST_A_SECOND = 100
_APART = 1.0  # seconds between a first turn and a regular one

Key = TypeVar("Key", bound=Hashable)


def next_turn(now: float, interval: float, offset: float, tick: float) -> float:
    """The first time after now on the grid of an interval, at an offset (0 to 1) within it.

    Where the interval is long enough, turns fall on ticks: those who wake up every tick are then
    on time for all of them.
    """
    shift = offset * interval
    if interval >= 20 * tick:
        shift = math.floor(shift / tick) * tick
    return (math.floor((now - shift) / interval) + 1) * interval + shift


class Schedule(Generic[Key]):
    """The turns of all targets. Times are Unix seconds, as the grid outlives the process."""

    def __init__(self, tick: float) -> None:
        self._tick = tick
        self._turns: list[tuple[float, int, Key]] = []
        self._pace: dict[Key, tuple[float, float]] = {}
        self._order = itertools.count()  # keys of the same time need no order of their own
        self._latest = -math.inf

    def __len__(self) -> int:
        return len(self._pace)

    def add(self, key: Key, interval: float, offset: float, now: float) -> None:
        """A new target, or another pace for one that is there."""
        known = self._pace.get(key)
        if known == (interval, offset):
            return
        if known is not None:
            self.remove(key)
        self._pace[key] = (interval, offset)
        window = min(_FIRST_WITHIN, len(self._pace) / _FIRST_A_SECOND)
        due = next_turn(now, interval, offset, self._tick)
        self._push(min(due, now + offset * window), key)

    def remove(self, key: Key) -> None:
        if self._pace.pop(key, None) is not None:
            self._turns = [turn for turn in self._turns if turn[2] != key]
            heapq.heapify(self._turns)

    def remove_all(self, keys: set[Key]) -> None:
        for key in keys:
            self._pace.pop(key, None)
        self._turns = [turn for turn in self._turns if turn[2] not in keys]
        heapq.heapify(self._turns)

    def due(self, now: float) -> Iterator[tuple[Key, float, int]]:
        """Who is due: key, when it was to be, and how many turns after that one are missed.

        Missed turns are skipped: the next one comes after now.
        """
        self._follow_clock(now)
        while self._turns and self._turns[0][0] <= now:
            planned, _, key = heapq.heappop(self._turns)
            interval, offset = self._pace[key]
            # Not from planned itself: rounding could make it its own successor, and a regular turn
            # right after the first would find it still under way.
            apart = max(interval / 20, min(_APART, interval / 2))
            following = next_turn(planned + apart, interval, offset, self._tick)
            missed = max(0, math.floor((now - following) / interval) + 1)
            self._push(following + missed * interval, key)
            yield key, planned, missed

    def _follow_clock(self, now: float) -> None:
        """A clock set back would leave everyone waiting for the time it had before."""
        if now < self._latest - 1.0:
            self._turns = []
            for key, (interval, offset) in self._pace.items():
                self._push(next_turn(now, interval, offset, self._tick), key)
        self._latest = now

    def _push(self, due: float, key: Key) -> None:
        heapq.heappush(self._turns, (due, next(self._order), key))
