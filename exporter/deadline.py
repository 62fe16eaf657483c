"""Runs jobs of which any may hang: each has a deadline, none is started twice at a time."""

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from threading import Thread
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

# A job that takes longer than this, in seconds, no longer holds up those behind it.
_PATIENCE = 0.25


class OverdueError(Exception):
    """A job that did not end in time."""


class Outcome(NamedTuple, Generic[T]):
    """What became of a job: its value, or the error it raised, and the seconds it took."""

    value: T | None
    error: Exception | None
    seconds: float


class Runner(Generic[T]):
    """Runs jobs one after the other in a thread, in further threads where one is slow.

    In sequence because under the interpreter's lock nothing is gained by running short jobs at
    once, and each one's duration is then its own. A job past its deadline is left behind and is
    not started again before it has returned; so there are never more threads than jobs.
    run() may be called by one thread at a time, close() by any.
    """

    def __init__(
        self,
        name: str,
        timeout: float,
        *,
        patience: float = _PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        start_thread: Callable[[Thread], None] = Thread.start,
    ) -> None:
        self._name, self._timeout, self._clock = name, timeout, clock
        self._start_thread = start_thread
        self._patience = min(patience, timeout)
        # Guards _stuck and the round under way. A plain lock, since it is taken once a job.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._stuck: dict[str, float] = {}  # when a job began that was left behind
        self._idle: _Inbox[T] | None = None  # of the one lane that waits for the next run
        self._closed = False

    def run(self, jobs: Mapping[str, Callable[[], T]]) -> dict[str, Outcome[T]]:
        """An outcome for every job, in their order, within little more than the timeout."""
        with self._lock:
            turn = _Round[T]({key: job for key, job in jobs.items() if key not in self._stuck})
            while len(turn.outcomes) < len(turn.jobs):
                # One time for both: a job that became slow between two would be waited for until
                # it is overdue, and with it all behind it.
                now = self._clock()
                self._tend(turn, now)
                if len(turn.outcomes) < len(turn.jobs):
                    self._changed.wait(self._next_look(turn, now))
            # Those that were stuck may be back by now; their next turn is then the next run's.
            stuck: Outcome[T] = Outcome(
                None, OverdueError("still stuck since an earlier turn"), 0.0
            )
            return {key: turn.outcomes.get(key, stuck) for key in jobs}

    def close(self) -> None:
        """No thread waits for a next run any more. Those that are stuck end when they are back."""
        with self._lock:
            self._closed = True
            if self._idle is not None:
                self._idle.put(None)
                self._idle = None

    def _tend(self, turn: "_Round[T]", now: float) -> None:
        for key, started in list(turn.running.items()):
            if now - started >= self._timeout:
                del turn.running[key]
                self._stuck[key] = started
                late = OverdueError(f"no answer within {self._timeout:g} s")
                turn.outcomes[key] = Outcome(None, late, now - started)
        slow = all(now - started >= self._patience for started in turn.running.values())
        if slow and (following := turn.take(now)) is not None:
            try:
                self._hand_over(turn, following)
            except RuntimeError as err:  # no further thread can be had
                self._put_back(turn, following, err)

    def _put_back(self, turn: "_Round[T]", key: str, err: RuntimeError) -> None:
        """A lane that is at work may get to it yet; where there is none, nothing will."""
        del turn.running[key]
        if turn.running:
            turn.waiting.appendleft(key)
        else:
            turn.outcomes[key] = Outcome(None, err, 0.0)

    def _hand_over(self, turn: "_Round[T]", key: str) -> None:
        if self._idle is not None:
            inbox, self._idle = self._idle, None
        else:
            inbox = queue.SimpleQueue()
            lane = partial(self._lane, inbox)
            self._start_thread(Thread(target=lane, name=f"{self._name}-lane", daemon=True))
        inbox.put((turn, key))

    def _next_look(self, turn: "_Round[T]", now: float) -> float:
        """Seconds until a running job will have become slow or overdue."""
        waits = [started + self._timeout - now for started in turn.running.values()]
        if turn.waiting:
            waits += [started + self._patience - now for started in turn.running.values()]
        return max(0.001, min((wait for wait in waits if wait > 0), default=0.001))

    def _lane(self, inbox: "_Inbox[T]") -> None:
        stays = True
        while stays and (work := inbox.get()) is not None:
            turn, key = work
            following: str | None = key
            while following is not None:
                outcome = self._attempt(turn.jobs[following])
                with self._lock:
                    following, stays = self._settle(turn, following, outcome, inbox)

    def _settle(
        self, turn: "_Round[T]", key: str, outcome: Outcome[T], inbox: "_Inbox[T]"
    ) -> tuple[str | None, bool]:
        """Notes what became of a job; answers the lane's next, and whether it waits if none."""
        if key not in turn.running:  # left behind; another lane has long taken over
            del self._stuck[key]
            return None, False
        del turn.running[key]
        turn.outcomes[key] = outcome
        following = turn.take(self._clock())
        # One lane stays: a thread a run would cost more than most of the jobs.
        stays = following is None and self._idle is None and not self._closed
        if stays:
            self._idle = inbox
        if len(turn.outcomes) == len(turn.jobs):  # run() sleeps until then, or until late
            self._changed.notify_all()
        return following, stays

    def _attempt(self, job: Callable[[], T]) -> Outcome[T]:
        started = self._clock()
        try:
            value = job()
        except Exception as err:  # noqa: BLE001 - the caller logs and counts it; the others go on
            return Outcome(None, err, self._clock() - started)
        return Outcome(value, None, self._clock() - started)


class _Round(Generic[T]):
    """The jobs of one run(): waiting, running since when, done."""

    def __init__(self, jobs: Mapping[str, Callable[[], T]]) -> None:
        self.jobs = jobs
        self.waiting = deque(jobs)
        self.running: dict[str, float] = {}
        self.outcomes: dict[str, Outcome[T]] = {}

    def take(self, now: float) -> str | None:
        if not self.waiting:
            return None
        key = self.waiting.popleft()
        self.running[key] = now
        return key


_Inbox = queue.SimpleQueue[tuple[_Round[T], str] | None]
