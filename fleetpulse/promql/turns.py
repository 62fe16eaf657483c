"""A number of places to work at, and the queue for them: first come, first served."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LOOK = 0.05  # seconds between two looks at whether to go on waiting


class Turns:
    """Safe from any thread. Whoever waits may leave at any time, and takes nobody's turn along."""

    def __init__(self, places: int) -> None:
        self._lock = threading.Lock()  # guards the two below
        self._free = places
        self._waiting: deque[threading.Event] = deque()

    @contextmanager
    def turn(self, check: Callable[[], None]) -> Iterator[None]:
        """One of the places. check is called now and then while waiting; what it raises ends it."""
        check()
        self._take(check)
        try:
            yield
        finally:
            self._give_back()

    def _take(self, check: Callable[[], None]) -> None:
        with self._lock:
            if self._free:
                self._free -= 1
                return
            mine = threading.Event()
            self._waiting.append(mine)
        try:
            while not mine.wait(_LOOK):
                check()
        except BaseException:
            self._leave(mine)
            raise

    def _leave(self, mine: threading.Event) -> None:
        with self._lock:
            if mine in self._waiting:
                self._waiting.remove(mine)
                return
        # Its turn came just as it gave up.
        self._give_back()

    def _give_back(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._free += 1
