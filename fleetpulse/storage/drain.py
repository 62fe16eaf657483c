"""Empties a spool of lines into a remote store: in batches, with back-off, losing nothing.

A line is what a payload can be split into: text up to its line feed, or a frame of another format.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from fleetpulse.errors import StorageError
from fleetpulse.storage.spool import Spool

log = logging.getLogger(__name__)

_MAX_BACKOFF = 60.0  # seconds
_TYPICAL_LINE = 120  # bytes
_MAX_BISECTION = 500  # requests spent on the search for one batch's bad lines


class SendError(StorageError):
    """A batch that the store did not take.

    rejected: its lines are at fault, or their number; else the moment or the settings are, and
    the same batch may pass later. retry_after: seconds, as the store asked.
    """

    def __init__(
        self, message: str, *, rejected: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message, retriable=not rejected)
        self.rejected, self.retry_after = rejected, retry_after


class Send(Protocol):
    def __call__(self, lines: bytes, timeout: float) -> None:
        """Hands lines over; back only once the store has them. SendError else."""


class Tally(Protocol):
    """Is told what became of lines."""

    def sent(self, lines: int) -> None: ...
    def failed(self) -> None: ...
    def rejected(self, line: bytes, reason: str) -> None: ...


def text_lines(payload: bytes) -> list[bytes]:
    """The lines of a text, with their ends."""
    return payload.splitlines(keepends=True)


class Drain:
    """Sends what a spool holds, oldest first. A payload leaves the spool once all of it is taken.

    A batch that failed half-way is sent again as a whole: the same samples at the same times.
    turn() may be called from any thread; one works at a time.
    """

    def __init__(
        self,
        spool: Spool,
        send: Send,
        tally: Tally,
        *,
        batch_size: int,
        timeout: float,
        split: Callable[[bytes], list[bytes]] = text_lines,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spool, self._send, self._tally, self._split = spool, send, tally, split
        self._batch_size, self._timeout, self._clock = batch_size, timeout, clock
        self._working = threading.Lock()
        self._failures, self._not_before = 0, 0.0
        self._interrupted = False

    def interrupt(self) -> None:
        """Ends a turn() under way after its present batch; there are no turns after this."""
        self._interrupted = True

    def turn(self) -> None:
        """Sends everything there is, unless a failure is so fresh that it is better to wait."""
        if self._clock() >= self._not_before and self._working.acquire(blocking=False):
            try:
                self._empty(deadline=None)
            finally:
                self._working.release()

    def finish(self, seconds: float) -> None:
        """A last try for so many seconds. What is left stays in the spool."""
        deadline = self._clock() + seconds
        if self._working.acquire(timeout=seconds):
            try:
                self._empty(deadline)
            finally:
                self._working.release()

    def _empty(self, deadline: float | None) -> None:
        try:
            while not (self._interrupted and deadline is None) and self._send_some(deadline):
                if self._failures:
                    log.info("the store takes samples again")
                self._failures, self._not_before = 0, 0.0
        except StorageError as err:
            self._back_off(err)

    def _back_off(self, err: StorageError) -> None:
        delay = min(_MAX_BACKOFF, 2.0**self._failures)
        asked = err.retry_after if isinstance(err, SendError) else None
        delay = min(max(delay, asked or 0.0), 10 * _MAX_BACKOFF)
        self._failures = min(self._failures + 1, 10)
        self._not_before = self._clock() + delay
        self._tally.failed()
        log.warning("%s; %d batches wait on disk, next try in %.0f s", err, len(self._spool), delay)

    def _send_some(self, deadline: float | None) -> bool:
        """Sends about one batch. False where nothing is left, or no time."""
        timeout = self._timeout
        if deadline is not None:
            timeout = min(timeout, deadline - self._clock())
        payloads = self._spool.peek(self._how_many()) if timeout > 0 else []
        taken, lines = self._fitting(payloads)
        if not taken:
            return False
        bad: list[tuple[bytes, str]] = []
        for start in range(0, len(lines), self._batch_size):
            part = lines[start : start + self._batch_size]
            bad += _Bisection(self._send, timeout).deliver(part)
        self._spool.ack(taken)
        # Only now that the batch will not come again: each bad line is told once.
        self._tally.sent(len(lines) - len(bad))
        for line, reason in bad:
            self._tally.rejected(line, reason)
        return True

    def _fitting(self, payloads: Sequence[tuple[int, bytes]]) -> tuple[list[int], list[bytes]]:
        """Ids and lines of the first payloads that fit into a batch; of one at least."""
        taken: list[int] = []
        lines: list[bytes] = []
        for item, payload in payloads:
            more = self._split(payload)
            if taken and len(lines) + len(more) > self._batch_size:
                break
            taken.append(item)
            lines += more
        return taken, lines

    def _how_many(self) -> int:
        """How many payloads make about one batch, by their mean size."""
        mean = self._spool.size_bytes / max(1, len(self._spool))
        return max(1, int(self._batch_size * _TYPICAL_LINE / max(1.0, mean)))


class _Bisection:
    """Delivers lines, halving what is rejected until only the bad ones are left over."""

    def __init__(self, send: Send, timeout: float) -> None:
        self._send, self._timeout = send, timeout
        self._requests = 0

    def deliver(self, lines: Sequence[bytes]) -> list[tuple[bytes, str]]:
        """The lines that the store will never take, each with its reason."""
        self._requests += 1
        try:
            self._send(b"".join(lines), self._timeout)
        except SendError as err:
            if not err.rejected:
                raise
            if len(lines) == 1 or self._requests >= _MAX_BISECTION:
                return [(line, str(err)) for line in lines]
            middle = len(lines) // 2
            return self.deliver(lines[:middle]) + self.deliver(lines[middle:])
        return []
