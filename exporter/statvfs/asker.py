"""Asks statvfs(2) of mounts whose server may be gone, when it never returns.

That happens in a child process. One that gets no answer in time stays behind at its mount: as long
as it is stuck there, so would another be, and the mount is not asked again before it is back.
"""

import errno
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from exporter.statvfs.pool import Pool, Worker
from exporter.statvfs.process import Answer, Child, ChildDiedError, start, wait

_CHILDREN = 8  # processes at the most, those that are stuck included
_SHARE = 20  # a mount that takes longer than this part of the time holds up no other
# Seconds after which a mount is asked anew although its child is still stuck. Who unmounts lazily
# and mounts again leaves the child at a mount that nobody else can see any more.
_ANEW = 60.0

_SILENT = TimeoutError(errno.ETIMEDOUT, "no answer in time")
_CROWDED = OSError(errno.EAGAIN, "not asked, since too many mounts do not answer")
_NO_CHILD = OSError(errno.ECHILD, "not asked, since there is no process for it")
_DIED = OSError(errno.ECHILD, "the process that asked died")


@dataclass(slots=True)
class _Turn:
    """One ask(): what is still to be asked, and what was answered."""

    mounts: Mapping[bytes, Hashable]
    waiting: deque[bytes]
    end: float
    answers: dict[bytes, Answer] = field(default_factory=dict)
    retried: set[bytes] = field(default_factory=set)


class Asker:
    """Asks all mounts within the timeout together; one that answers no more is then skipped.

    One child asks one mount after the other. While all that are at work are slow, another one
    goes on with the rest, up to the limit. Any thread may call ask() and close().
    """

    def __init__(
        self,
        timeout: float,
        *,
        start: Callable[[], Child] = start,
        wait: Callable[[Iterable[Child], float], None] = wait,
        clock: Callable[[], float] = time.monotonic,
        limit: int = _CHILDREN,
    ) -> None:
        self._timeout, self._patience = timeout, timeout / _SHARE
        self._wait, self._clock = wait, clock
        self._pool = Pool(start, wait, limit)
        self._busy: dict[bytes, Worker] = {}  # by path, of the ask() under way
        self._stuck: dict[bytes, Worker] = {}  # by path, left behind by earlier ones
        self._lock = threading.Lock()  # guards all of these
        self._closed = False

    @property
    def children(self) -> int:
        """Processes that there are now."""
        return self._pool.size

    def ask(self, mounts: Mapping[bytes, Hashable]) -> dict[bytes, Answer]:
        """mounts: path → what is mounted there, by which a new mount is told from an old one.

        RuntimeError after close(): that mounts were at fault would be a lie.
        """
        with self._lock:
            if not mounts and not self._pool.size:
                return {}
            if self._closed:
                raise RuntimeError("closed; nothing can be asked any more")
            now = self._clock()
            self._pool.tidy()
            self._look_after_stuck(mounts, now)
            waiting = deque(path for path in mounts if path not in self._stuck)
            turn = _Turn(mounts, waiting, now + self._timeout)
            self._run(turn)
            self._pool.tidy(1 if mounts else 0)
            return {path: turn.answers.get(path, _SILENT) for path in mounts}

    def close(self) -> None:
        """Kills all children, after an ask() under way; does not wait for what the kernel keeps."""
        with self._lock:
            self._closed = True
            for worker in self._stuck.values():
                self._pool.end(worker)
            self._stuck.clear()
            self._pool.close()

    def _run(self, turn: _Turn) -> None:
        try:
            self._hand_out(turn)
            while self._busy and (left := turn.end - self._clock()) > 0:
                # A slow one is not waited for while others wait for their turn.
                seconds = min(left, self._patience) if turn.waiting else left
                self._wait([worker.child for worker in self._busy.values()], seconds)
                self._take(turn)
                self._hand_out(turn)
        finally:
            self._stuck.update(self._busy)
            self._busy.clear()
        why = _CROWDED if self._pool.size >= self._pool.limit else _NO_CHILD
        turn.answers.update(dict.fromkeys(turn.waiting, why))

    def _hand_out(self, turn: _Turn) -> None:
        now = self._clock()
        while turn.waiting and self._all_slow(now) and (worker := self._pool.take(now)):
            path = turn.waiting.popleft()
            try:
                worker.ask(path, turn.mounts[path], now)
            except ChildDiedError as err:
                self._lost(turn, worker, err)
            else:
                self._busy[path] = worker

    def _all_slow(self, now: float) -> bool:
        return all(now - worker.since >= self._patience for worker in self._busy.values())

    def _take(self, turn: _Turn) -> None:
        for path, worker in list(self._busy.items()):
            try:
                answer = worker.answer()
            except ChildDiedError as err:
                del self._busy[path]
                self._lost(turn, worker, err)
                continue
            if answer is not None:
                del self._busy[path]
                self._pool.give_back(worker)
                turn.answers[path] = answer

    def _lost(self, turn: _Turn, worker: Worker, err: ChildDiedError) -> None:
        """A child died over a path: another one is asked, once."""
        self._pool.lost(worker, err, self._clock())
        if worker.path in turn.retried:
            turn.answers[worker.path] = _DIED
            return
        turn.retried.add(worker.path)
        turn.waiting.appendleft(worker.path)

    def _look_after_stuck(self, mounts: Mapping[bytes, Hashable], now: float) -> None:
        for path, worker in list(self._stuck.items()):
            if mounts.get(path) != worker.mount:  # unmounted, or another one is there now
                del self._stuck[path]
                self._pool.end(worker)
            elif self._is_back(worker):
                del self._stuck[path]
            elif now - worker.since >= _ANEW:
                self._relieve(worker, now)

    def _is_back(self, worker: Worker) -> bool:
        """What it answers is of long ago: the mount is asked again."""
        try:
            back = worker.answer() is not None
        except ChildDiedError:
            self._pool.end(worker)
            return True
        if back:
            self._pool.give_back(worker)
        return back

    def _relieve(self, worker: Worker, now: float) -> None:
        """Puts another child in a stuck one's place; what becomes of it, the next ask() sees."""
        crowded = self._pool.size > self._pool.limit // 2
        # Where a child cannot be killed, one more is enough: the mount would eat up all.
        if crowded or self._pool.lingers(worker.path):
            return
        relief = self._pool.take(now)
        if relief is None:
            return
        del self._stuck[worker.path]
        self._pool.end(worker)
        try:
            relief.ask(worker.path, worker.mount, now)
        except ChildDiedError as err:
            self._pool.lost(relief, err, now)
        else:
            self._stuck[worker.path] = relief
