"""Empties a spool into a remote store: in batches, with back-off, losing nothing.

A line is what a payload can be split into: text up to its line feed, or a frame of another format.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fleetpulse.errors import StorageError
from fleetpulse.storage.bisection import Bad, deliver
from fleetpulse.storage.sending import Fault, Send, SendError
from fleetpulse.storage.spool import Spool

__all__ = ["Drain", "Fault", "Send", "SendError", "Tally", "text_lines"]

log = logging.getLogger(__name__)

_MAX_BACKOFF = 60.0  # seconds
_MAX_ASKED = 3600.0  # seconds that a store may ask us to wait
_TOLD_EVERY = 600.0  # seconds between two log lines about settings that the store refuses
_SMALLER_FOR = 600.0  # seconds for which batches stay small after one was too large
_MOST_PAYLOADS = 1_000  # in one batch


class Tally(Protocol):
    """Is told what became of lines."""

    def sent(self, lines: int) -> None: ...
    def failed(self, fault: Fault) -> None: ...
    def rejected(self, line: bytes, reason: str) -> None: ...
    def blocked(self, blocked: bool) -> None:
        """Whether the store refuses us because of the settings."""


def text_lines(payload: bytes) -> list[bytes]:
    """The lines of a text, with their ends."""
    return payload.splitlines(keepends=True)


class Drain:
    """Sends what a spool holds, oldest first. A payload leaves the spool once all of it is taken.

    A batch that failed half-way is sent again as a whole: the same samples at the same times.
    split: a payload's lines; StorageError where it is damaged: it is dropped and counted.
    turn() may be called from any thread; one works at a time. jitter: 0 to 1, at random, so that
    those who lost a store at the same time do not come back at the same time.
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
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._spool, self._send, self._tally, self._split = spool, send, tally, split
        self._timeout, self._clock, self._jitter = timeout, clock, jitter
        self._size = BatchSize(batch_size, clock)
        self._working = threading.Lock()
        self._failures, self._not_before = 0, 0.0
        self._told_at: float | None = None  # of settings that the store refuses
        self._interrupted = False

    def interrupt(self) -> None:
        """Ends a turn() under way after its present request; there are no turns after this."""
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
                self._works()
        except StorageError as err:
            if not self._interrupted or deadline is not None:  # else finish() tries again
                self._back_off(err)

    def _works(self) -> None:
        if self._failures:
            log.info("the store takes samples again")
        if self._told_at is not None:
            self._tally.blocked(False)
        self._failures, self._not_before, self._told_at = 0, 0.0, None

    def _back_off(self, err: StorageError) -> None:
        fault = err.fault if isinstance(err, SendError) else "moment"
        asked = err.retry_after if isinstance(err, SendError) else None
        self._tally.failed(fault)
        if fault == "settings":
            delay = _MAX_BACKOFF  # asking more often would change nothing
            self._tell_blocked(err)
        else:
            delay = min(_MAX_BACKOFF, 2.0**self._failures)
            delay *= 1 - self._jitter() / 2
            log.warning(
                "%s; %d batches wait on disk, next try in %.0f s", err, len(self._spool),
                max(delay, asked or 0.0),
            )  # fmt: skip
        self._failures = min(self._failures + 1, 10)
        self._not_before = self._clock() + max(delay, min(asked or 0.0, _MAX_ASKED))

    def _tell_blocked(self, err: StorageError) -> None:
        now = self._clock()
        self._tally.blocked(True)
        if self._told_at is None or now - self._told_at >= _TOLD_EVERY:
            self._told_at = now
            log.error(
                "%s; nothing is sent until that is mended: %d batches wait on disk, none is lost",
                err, len(self._spool),
            )  # fmt: skip

    def _send_some(self, deadline: float | None) -> bool:
        """Sends about one batch. False where nothing is left, or no time."""
        timeout = self._timeout
        if deadline is not None:
            timeout = min(timeout, deadline - self._clock())
        batch = self._next() if timeout > 0 else _Batch()
        self._spool.discard(batch.damaged)
        if not batch.ids:
            return bool(batch.damaged)
        bad = self._deliver(batch.lines, timeout, lambda: self._stopped(deadline))
        self._spool.ack(batch.ids)
        # Only now that the batch will not come again: each bad line is told once.
        self._tally.sent(len(batch.lines) - len(bad))
        for line, reason in bad:
            self._tally.rejected(line, reason)
        return True

    def _stopped(self, deadline: float | None) -> bool:
        return self._interrupted if deadline is None else self._clock() >= deadline

    def _deliver(
        self, lines: Sequence[bytes], timeout: float, stopped: Callable[[], bool]
    ) -> list[Bad]:
        """All lines, as many at a time as the store takes; those that it will never take."""
        bad: list[Bad] = []
        done = 0
        while done < len(lines):
            part = lines[done : done + self._size.now]
            try:
                bad += deliver(part, self._send, timeout, stopped)
            except SendError as err:
                if err.fault != "size":
                    raise
                if len(part) > 1:
                    self._size.halve(len(part))
                    continue
                bad.append((part[0], str(err)))
            done += len(part)
        return bad

    def _next(self) -> "_Batch":
        """The first payloads that fit into a batch; one at least."""
        batch, size = _Batch(), self._size.now
        for item, payload in self._spool.peek(self._how_many(size)):
            try:
                more = self._split(payload)
            except StorageError as err:
                log.error("%s: dropped a batch that is damaged: %s", self._spool.path, err)
                batch.damaged.append(item)
                continue
            if batch.lines and len(batch.lines) + len(more) > size:
                break
            batch.ids.append(item)
            batch.lines += more
        return batch

    def _how_many(self, size: int) -> int:
        """How many payloads make about one batch, by their mean units; one more to see the end."""
        mean = self._spool.units / max(1, len(self._spool))
        return min(_MOST_PAYLOADS, 1 + int(size / max(1.0, mean)))


@dataclass(slots=True)
class _Batch:
    """ids of payloads and the lines in them; ids of those that cannot be read any more."""

    ids: list[int] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)


class BatchSize:
    """How many lines go out at once: fewer for a while after the store found a batch too large."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self._most, self._clock = most, clock
        self._size, self._until = most, 0.0

    @property
    def now(self) -> int:
        if self._size < self._most and self._clock() >= self._until:
            self._size = min(self._most, 2 * self._size)
            self._until = self._clock() + _SMALLER_FOR
        return self._size

    def halve(self, too_many: int) -> None:
        """too_many, at least 2: the lines of the batch that was too large."""
        self._size, self._until = too_many // 2, self._clock() + _SMALLER_FOR
        log.warning("the store finds %d samples too many at once: %d now", too_many, self._size)
