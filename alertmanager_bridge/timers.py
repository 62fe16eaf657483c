"""What is due when: a heap of times, moved by whoever asks. It has no clock of its own."""

import heapq
import itertools
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Timers(Generic[K]):
    """One time for each key. Not safe for threads: its owner holds a lock."""

    def __init__(self) -> None:
        self._due: dict[K, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._turn = itertools.count()  # keys themselves need no order

    def set(self, key: K, due: float) -> None:
        """Makes key due at a time, in place of its former one."""
        turn = next(self._turn)
        self._due[key] = (due, turn)
        heapq.heappush(self._heap, (due, turn, key))
        if len(self._heap) > 4 * len(self._due) + 64:
            self._heap = [(at, nth, each) for each, (at, nth) in self._due.items()]
            heapq.heapify(self._heap)

    def cancel(self, key: K) -> None:
        self._due.pop(key, None)

    def shift(self, seconds: float) -> None:
        """Moves all times."""
        self._due = {key: (at + seconds, nth) for key, (at, nth) in self._due.items()}
        self._heap = [(at, nth, key) for key, (at, nth) in self._due.items()]
        heapq.heapify(self._heap)

    def next_due(self) -> float | None:
        while self._heap and self._stale():
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> Iterator[K]:
        """Keys whose time has come, earliest first; each is forgotten as it is given out."""
        while (due := self.next_due()) is not None and due <= now:
            key = heapq.heappop(self._heap)[2]
            del self._due[key]
            yield key

    def _stale(self) -> bool:
        due, turn, key = self._heap[0]
        return self._due.get(key) != (due, turn)
