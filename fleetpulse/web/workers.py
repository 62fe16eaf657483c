"""Threads for work that may block: begun as they are needed, gone when they idle."""

import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

log = logging.getLogger(__name__)

# What it returns, if anything, hands over the result. The thread counts as free by then: who asks
# again as soon as there is an answer is served by the same one, not by another that is begun.
HandOver = Callable[[], None]
Job = Callable[[], HandOver | None]


class Workers:
    """At most limit daemon threads. submit() from any thread.

    Not concurrent.futures: its threads are waited for at the interpreter's end, so that one that
    hangs in the kernel would hold up the process for good.
    """

    def __init__(self, name: str, limit: int, *, linger: float = 120.0) -> None:
        self._name, self._limit, self._linger = name, limit, linger
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()  # guards both counts
        self._threads = self._unfinished = 0

    @property
    def unfinished(self) -> int:
        """Jobs that run or wait."""
        return self._unfinished

    def submit(self, job: Job) -> None:
        with self._lock:
            self._unfinished += 1
            # As many threads as jobs, up to the limit: then none waits while one could run it.
            lacking = self._threads < min(self._unfinished, self._limit)
            self._threads += lacking
            name = f"{self._name}-{self._threads}"
        self._jobs.put(job)
        if lacking:
            self._begin(name)

    def close(self) -> None:
        """Ends the threads after what they are at; waits for none."""
        with self._lock:
            for _ in range(self._threads):
                self._jobs.put(None)

    def _begin(self, name: str) -> None:
        try:
            threading.Thread(target=self._run, name=name, daemon=True).start()
        except RuntimeError:  # the system has no more; the job waits for another thread
            log.exception("%s cannot begin a thread", self._name)
            with self._lock:
                self._threads -= 1

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=self._linger)
            except Empty:
                if self._may_leave():
                    return
                continue
            if job is None:
                with self._lock:
                    self._threads -= 1
                return
            self._do(job)
            # A job holds a whole page: not until the next one comes.
            del job

    def _do(self, job: Job) -> None:
        hand_over = None
        try:
            hand_over = job()
        except Exception:  # the thread must go on; the traceback says what happened
            log.exception("a job of %s failed", self._name)
        finally:
            with self._lock:
                self._unfinished -= 1
        if hand_over is not None:
            hand_over()

    def _may_leave(self) -> bool:
        with self._lock:
            if self._unfinished >= self._threads:  # a job is on its way to this thread
                return False
            self._threads -= 1
            return True
