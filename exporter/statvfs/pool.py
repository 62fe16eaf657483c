"""The child processes that ask statvfs(2): some wait for work, some were killed and linger."""

import logging
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from exporter.statvfs.process import Answer, Child, ChildDiedError

log = logging.getLogger(__name__)

_PAUSE = 30.0  # seconds before a new child, when the last one came to nothing
# What was killed is gone at once, or sleeps in the kernel for nobody knows how long.
_FAREWELLS, _FAREWELL = 20, 0.01  # looks, seconds


@dataclass(slots=True, eq=False)
class Worker:
    """A child and what it was asked last."""

    child: Child
    path: bytes = b""
    mount: Hashable = None
    since: float = 0.0
    answered: bool = False  # ever

    def ask(self, path: bytes, mount: Hashable, now: float) -> None:
        self.path, self.mount, self.since = path, mount, now
        self.child.ask(path)

    def answer(self) -> Answer | None:
        answer = self.child.answer()
        self.answered = self.answered or answer is not None
        return answer


class Pool:
    """Starts children when they are needed, up to a limit, and buries them. For one thread."""

    def __init__(
        self,
        start: Callable[[], Child],
        wait: Callable[[Iterable[Child], float], None],
        limit: int,
    ) -> None:
        self._start, self._wait, self.limit = start, wait, limit
        self._idle: list[Worker] = []
        self._killed: list[Worker] = []  # and not gone yet
        self._at_work = 0
        self._no_start_before = float("-inf")

    @property
    def size(self) -> int:
        """All processes that there are, those at work or stuck included."""
        return len(self._idle) + len(self._killed) + self._at_work

    def take(self, now: float) -> Worker | None:
        """One without work; None where there can be no more."""
        if self._idle:
            worker = self._idle.pop()
        elif now < self._no_start_before or self.size >= self.limit:
            return None
        else:
            try:
                worker = Worker(self._start())
            except OSError as err:
                self._pause(now, f"no process can be started: {err}")
                return None
        self._at_work += 1
        return worker

    def give_back(self, worker: Worker) -> None:
        self._at_work -= 1
        self._idle.append(worker)

    def end(self, worker: Worker) -> None:
        """Of one that was taken: kills it. It counts until it is gone."""
        self._at_work -= 1
        if not worker.child.end():
            self._killed.append(worker)

    def lost(self, worker: Worker, err: ChildDiedError, now: float) -> None:
        """One that was taken has died. When it never did any work, so would the next one."""
        self.end(worker)
        if not worker.answered:
            self._pause(now, str(err))

    def lingers(self, path: bytes) -> bool:
        """Whether a child that was killed still sleeps in the kernel because of that path."""
        return any(worker.path == path for worker in self._killed)

    def tidy(self, kept: int | None = None) -> None:
        """Buries the dead, and lets go all idle ones but so many."""
        while kept is not None and len(self._idle) > kept:
            self._at_work += 1
            self.end(self._idle.pop())
        self._killed = [worker for worker in self._killed if not worker.child.end()]

    def close(self) -> None:
        """Of those at work, who took them has made an end."""
        self._no_start_before = float("inf")
        self.tidy(0)
        for _ in range(_FAREWELLS):
            if not self._killed:
                break
            self._wait((), _FAREWELL)
            self.tidy()

    def _pause(self, now: float, why: str) -> None:
        self._no_start_before = max(self._no_start_before, now + _PAUSE)
        log.warning("mounts that may hang are not asked for %g s: %s", _PAUSE, why)
