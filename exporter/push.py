"""Push mode: makes a page at its interval and sends what is on the spool, oldest first.

A page is stored at the time it was made, however late it arrives: the request carries that time,
and an id by which the API knows a page that comes a second time.
"""

import gzip
import json
import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from exporter.post import Answer, Post, Verdict
from fleetpulse.errors import StartError, StorageError
from fleetpulse.model import MetricFamily, counter, gauge
from fleetpulse.service import STOP_DEADLINE, Periodic
from fleetpulse.storage.spool import Spool

log = logging.getLogger(__name__)

_FIRST_DELAY, _LONGEST_DELAY = 1.0, 60.0  # seconds between attempts, doubling
_LONGEST_RETRY_AFTER = 3600.0


@dataclass(frozen=True, slots=True)
class PushPage:
    """A page on the spool. at: Unix seconds; body: the text format, gzipped."""

    batch_id: str
    at: float
    body: bytes

    @classmethod
    def made(cls, text: bytes, at: float) -> "PushPage":
        # Level 1 is a third of the default's CPU for a page a tenth larger; mtime for equal bytes.
        return cls(uuid.uuid4().hex, at, gzip.compress(text, 1, mtime=0))

    def encode(self) -> bytes:
        head = json.dumps({"batch_id": self.batch_id, "at": self.at})
        return head.encode() + b"\n" + self.body

    @classmethod
    def decode(cls, payload: bytes) -> "PushPage":
        """ValueError where payload is none of encode()'s."""
        head, _, body = payload.partition(b"\n")
        try:
            fields = json.loads(head)
            return cls(str(fields["batch_id"]), float(fields["at"]), body)
        except (ValueError, TypeError, KeyError) as err:
            raise ValueError(f"not a page of ours: {err}") from err


class Backoff:
    """Waits that double, with jitter, so that a fleet does not return in step."""

    def __init__(self, rand: Callable[[], float] = random.random) -> None:
        self._rand, self._delay = rand, _FIRST_DELAY

    def reset(self) -> None:
        self._delay = _FIRST_DELAY

    def next(self, retry_after: float | None) -> float:
        """Seconds to wait; never less than the server asked for, within reason."""
        wait = self._delay * (0.5 + self._rand() / 2)
        self._delay = min(self._delay * 2, _LONGEST_DELAY)
        return max(wait, min(retry_after or 0.0, _LONGEST_RETRY_AFTER))


class Pusher:
    """Two threads: one makes pages on time, the other sends them as the network allows."""

    name = "push"

    def __init__(
        self,
        render: Callable[[], bytes],
        post: Post,
        open_spool: Callable[[], Spool],
        interval: float,
        refused_path: Path,
        *,
        now: Callable[[], float] = time.time,
        backoff: Backoff | None = None,
    ) -> None:
        self._render, self._post, self._open_spool = render, post, open_spool
        self.refused_path, self._now = refused_path, now
        self._backoff = backoff or Backoff()
        self._put_offs = 0  # since the last page that got through
        self._maker = Periodic("push-make", self.make, interval)
        self._sender = threading.Thread(target=self._send_loop, name="push-send", daemon=True)
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._spool: Spool | None = None
        self._trouble = self._refusal = self._unkept = ""  # what was logged last
        self.stats = PushStats()

    @property
    def trouble(self) -> str:
        """Why pages wait, or an empty string."""
        return self._trouble

    @property
    def waiting(self) -> int:
        return len(self._spool) if self._spool is not None else 0

    def open(self) -> None:
        """Opens the spool. StartError where it cannot be."""
        self._spool = self._open_spool()

    def start(self) -> None:
        self.open()
        self._sender.start()
        self._maker.start()

    def stop(self) -> None:
        """What is unsent stays on disk for the next start."""
        self._stopping.set()
        self._wake.set()
        end = time.monotonic() + STOP_DEADLINE
        self._maker.stop()
        if self._sender.is_alive():
            self._sender.join(max(0.1, end - time.monotonic()))
        if self._spool is not None:
            self._spool.close()

    def make(self) -> None:
        """Puts the page of this moment on the spool."""
        at = self._now()
        page = PushPage.made(self._render(), at)
        try:
            self.stats.dropped += self._queue().put(page.encode())
        except StorageError as err:
            self.stats.dropped += 1
            self._tell_unkept(str(err))
        else:
            self._tell_unkept("")
            self._wake.set()

    def _tell_unkept(self, reason: str) -> None:
        if reason and reason != self._unkept:
            log.error("pages cannot be kept and are lost: %s", reason)
        self._unkept = reason

    def send_waiting(self) -> float | None:
        """Sends what is there. Seconds until the next attempt; None when nothing is left."""
        spool = self._queue()
        while not self._stopping.is_set():
            oldest = spool.peek(1)
            if not oldest:
                return None
            [(number, payload)] = oldest
            answer = self._send(payload)
            if answer.verdict in (Verdict.SENT, Verdict.REFUSED):
                spool.ack([number])
            if answer.verdict is Verdict.LATER:
                self._put_off(answer)
                return self._backoff.next(answer.retry_after)
        return None

    def _send(self, payload: bytes) -> Answer:
        try:
            page = PushPage.decode(payload)
        except ValueError as err:
            answer = Answer(Verdict.REFUSED, str(err))
        else:
            answer = self._post.send(page.batch_id, page.at, page.body)
        if answer.verdict is not Verdict.LATER:
            self._backoff.reset()
            self._put_offs = 0
            self._tell("")
        if answer.verdict is Verdict.SENT:
            self._sent(answer)
        elif answer.verdict is Verdict.REFUSED:
            self._refused(payload, answer)
        return answer

    def _put_off(self, answer: Answer) -> None:
        self.stats.failed += 1
        self._put_offs += 1
        # After an outage the API sets the pace, page by page; that alone is no trouble.
        if not answer.paced or self._put_offs > 1:
            self._tell(answer.text)

    def _sent(self, answer: Answer) -> None:
        if answer.rejected and not self.stats.rejected_samples:
            log.warning("the API left %d samples out of a page; told once", answer.rejected)
        self.stats.sent += 1
        self.stats.rejected_samples += answer.rejected
        self.stats.last_success = self._now()
        self._refusal = ""

    def _refused(self, payload: bytes, answer: Answer) -> None:
        """Sets the page aside; there is one such file, the latest."""
        self.stats.refused += 1
        if answer.text != self._refusal:
            log.error("page refused, kept as %s: %s", self.refused_path, answer.text)
            self._refusal = answer.text
        try:
            self.refused_path.write_bytes(payload.partition(b"\n")[2])
        except OSError as err:
            log.warning("%s: %s", self.refused_path, err.strerror)

    def _tell(self, trouble: str) -> None:
        """Logs what is wrong when that changes, and its end."""
        if trouble == self._trouble:
            return
        if trouble:
            log.warning("pages wait on disk: %s", trouble)
        else:
            log.info("pages are taken again, %d waiting", self.waiting)
        self._trouble = trouble

    def _send_loop(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                pause = self.send_waiting()
            except Exception:
                if self._stopping.is_set():  # the spool was closed under a request that hung
                    return
                # The sender must go on: a fault in one turn is no reason to stop for good.
                log.exception("sending failed")
                self.stats.failed += 1
                pause = self._backoff.next(None)
            if pause is None:
                self._wake.wait()
            else:
                self._stopping.wait(pause)

    def _queue(self) -> Spool:
        if self._spool is None:
            raise StartError("the pusher is not started")
        return self._spool

    def families(self) -> Iterator[MetricFamily]:
        """The pusher's own metrics."""
        yield from self.stats.families()
        size = self._spool.size_bytes if self._spool is not None else 0
        yield gauge("fleetpulse_push_spool_pages", "Pages that wait on disk.", self.waiting)
        yield gauge("fleetpulse_push_spool_bytes", "Bytes of the pages that wait on disk.", size)


@dataclass(slots=True)
class PushStats:
    """What happened since the start."""

    sent: int = 0
    failed: int = 0
    dropped: int = 0
    refused: int = 0
    rejected_samples: int = 0
    last_success: float = 0.0

    def families(self) -> Iterator[MetricFamily]:
        for name, help_text, value in (
            ("pages_sent", "Pages that the API took.", self.sent),
            ("pages_failed", "Attempts to send a page that failed; it was kept.", self.failed),
            ("pages_dropped", "Pages dropped unsent because the spool was full.", self.dropped),
            ("pages_refused", "Pages the API refused for good; set aside.", self.refused),
            (
                "samples_rejected",
                "Samples the API left out of pages it took.",
                self.rejected_samples,
            ),
        ):
            yield counter(f"fleetpulse_push_{name}_total", help_text, value)
        yield gauge(
            "fleetpulse_push_last_success_timestamp_seconds",
            "When the API last took a page, in unixtime; 0 if never.",
            self.last_success,
        )
