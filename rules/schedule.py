"""When groups are evaluated, and the threads that do it.

Every group has a slot of its own in its interval, by a hash of its file and name, so that groups
do not all come at once, and come at the same times after a restart.
"""

import hashlib
import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from fleetpulse.service import STOP_DEADLINE

log = logging.getLogger(__name__)

# The longest that a thread sleeps: within it, a step of the clock is noticed.
_LONGEST_SLEEP = 1.0


class Slots:
    """The times at which one group is due, in whole milliseconds of Unix time."""

    def __init__(self, key: str, interval: float) -> None:
        self._interval = max(1, round(interval * 1000))
        digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
        self._offset = int.from_bytes(digest, "big") % self._interval

    def next_after(self, now_ms: int) -> int:
        """The first slot after now."""
        return now_ms - (now_ms - self._offset) % self._interval + self._interval

    def following(self, slot: int, now_ms: int) -> tuple[int, int]:
        """The slot to come once the one given is done, and how many were missed meanwhile.

        Where some were missed, it is the latest that has passed: that turn comes at once.
        """
        passed = (now_ms - slot) // self._interval
        if passed < 0:
            # The clock was set back: the old slots would be far ahead.
            return self.next_after(now_ms), 0
        return slot + max(1, passed) * self._interval, max(0, passed - 1)

    def is_far(self, slot: int, now_ms: int) -> bool:
        """Whether the slot is further ahead than any can be, unless the clock was set back."""
        return slot - now_ms > 2 * self._interval


class Turn(Protocol):
    """What is evaluated at its slots."""

    def evaluate(self, at: float) -> None:
        """One turn, at its slot's Unix time in seconds."""


class _Entry:
    """A group on the timetable. removed is guarded by the timetable's lock."""

    def __init__(self, key: str, turn: Turn, slots: Slots) -> None:
        self.key, self.turn, self.slots = key, turn, slots
        self.removed = False
        self.running = False


class Timetable:
    """Runs turns at their slots, with a few threads: those of one group never at the same time."""

    name = "rule groups"

    def __init__(
        self,
        threads: int,
        on_missed: Callable[[str, int], None],
        now: Callable[[], float] = time.time,
    ) -> None:
        self._threads = [
            threading.Thread(target=self._run, name=f"rules-{number}", daemon=True)
            for number in range(threads)
        ]
        self._on_missed = on_missed
        self._now = now
        self._changed = threading.Condition()
        self._due: list[tuple[int, int, _Entry]] = []  # a heap; a number parts equal times
        self._numbers = itertools.count()
        self._entries: dict[str, _Entry] = {}
        self._stopping = False

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def add(self, key: str, turn: Turn, interval: float) -> None:
        """Puts a group on the timetable, from its next slot on."""
        entry = _Entry(key, turn, Slots(key, interval))
        with self._changed:
            self._entries[key] = entry
            self._push(entry, entry.slots.next_after(self._now_ms()))

    def remove(self, key: str) -> None:
        """Takes a group off; comes back once its turn, if it has one, is over."""
        with self._changed:
            entry = self._entries.pop(key, None)
            if entry is not None:
                entry.removed = True
                self._changed.wait_for(lambda: not entry.running)

    def stop(self, within: float = STOP_DEADLINE) -> None:
        """Begins no further turn, and waits so many seconds for those under way."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        deadline = time.monotonic() + within
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _push(self, entry: _Entry, slot: int) -> None:
        heapq.heappush(self._due, (slot, next(self._numbers), entry))
        self._changed.notify_all()

    def _now_ms(self) -> int:
        return int(self._now() * 1000)

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            slot, entry = taken
            try:
                entry.turn.evaluate(slot / 1000)
            except Exception:  # the group's next turn must come
                log.exception("group %s failed; its next turn comes as planned", entry.key)
            self._done(slot, entry)

    def _take(self) -> tuple[int, _Entry] | None:
        """Waits for the next slot that is due; None at the end."""
        with self._changed:
            while not self._stopping:
                wait = _LONGEST_SLEEP
                if self._due:
                    slot, number, entry = self._due[0]
                    now = self._now_ms()
                    if entry.removed:
                        heapq.heappop(self._due)
                        continue
                    if slot <= now:
                        heapq.heappop(self._due)
                        entry.running = True
                        return slot, entry
                    if entry.slots.is_far(slot, now):
                        new = (entry.slots.next_after(now), number, entry)
                        heapq.heapreplace(self._due, new)
                        continue
                    wait = min(wait, (slot - now) / 1000)
                self._changed.wait(wait)
        return None

    def _done(self, slot: int, entry: _Entry) -> None:
        following, missed = entry.slots.following(slot, self._now_ms())
        if missed:
            self._on_missed(entry.key, missed)
        with self._changed:
            entry.running = False
            if not entry.removed:
                self._push(entry, following)
            self._changed.notify_all()
