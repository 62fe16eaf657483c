"""Push mode: makes a page at its interval and sends what is on the spool, oldest first.

A page is stored at the time it was made, however late it arrives: the request carries that time,
and an id by which the API knows a page that comes a second time.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from exporter.families import Found
from exporter.push.backoff import Backoff
from exporter.push.news import News
from exporter.push.page import PushPage
from exporter.push.post import Post
from exporter.push.sender import Pause, Sender
from exporter.push.stats import PushStats
from fleetpulse.errors import StartError, StorageError
from fleetpulse.service import STOP_DEADLINE, Periodic
from fleetpulse.storage.spool import Spool

log = logging.getLogger(__name__)

# Seconds within which a page is made again, at least, and within which an attempt to send has ended
# one way or the other: time-outs count anew for each address of a name and each piece of an answer.
_MAKER_PATIENCE, _SENDER_PATIENCE = 30.0, 300.0
_AFTER_A_FAULT = 30.0


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
        steady: Callable[[], float] = time.monotonic,
        backoff: Backoff | None = None,
    ) -> None:
        self._render, self._open_spool, self._interval = render, open_spool, interval
        self._now, self._steady = now, steady
        self.stats = PushStats()
        self.sender = Sender(
            post, self.stats, refused_path, now=now, steady=steady, backoff=backoff
        )
        self._maker = Periodic("push-make", self.make, interval)
        self._thread = threading.Thread(target=self._send_loop, name="push-send", daemon=True)
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._spool: Spool | None = None
        self._unkept, self._dropping = News(steady), News(steady)
        self._dropped: dict[str, int] = {}  # as of the last turn
        self._made_at: float | None = None  # by the steady clock; None before the start

    @property
    def trouble(self) -> str:
        """Why pages wait, or an empty string."""
        return self.sender.trouble

    @property
    def waiting(self) -> int:
        return len(self._spool) if self._spool is not None else 0

    def healthy(self) -> bool:
        """Whether pages are made as planned and no attempt to send one hangs.

        An API that is away, or a disk that is full, is no fault that a restart could mend.
        """
        now, since = self._steady(), self.sender.sending_since
        late = self._made_at is not None and now - self._made_at > max(
            3 * self._interval, _MAKER_PATIENCE
        )
        return not late and (since is None or now - since <= _SENDER_PATIENCE)

    def open(self) -> None:
        """Opens the spool. StartError where it cannot be."""
        self._spool = self._open_spool()
        self._dropped = dict(self._spool.dropped)

    def start(self) -> None:
        self.open()
        self._made_at = self._steady()
        self._thread.start()
        self._maker.start()

    def stop(self) -> None:
        """What is unsent stays on disk for the next start."""
        self._stopping.set()
        self._wake.set()
        end = time.monotonic() + STOP_DEADLINE
        self._maker.stop()
        if self._thread.is_alive():
            self._thread.join(max(0.1, end - time.monotonic()))
        if self._spool is not None:
            self._spool.close()

    def make(self) -> None:
        """Puts the page of this moment on the spool."""
        at = self._now()
        page = PushPage.made(self._render(), at)
        spool = self._queue()
        try:
            spool.put(page.encode())
        except StorageError as err:
            self.stats.not_kept += 1
            if self._unkept.is_news(str(err)):
                log.error("pages cannot be kept and are lost: %s", err)
        else:
            self._unkept.is_news("")
            self._tell_dropped(spool)
            self._wake.set()
        self._made_at = self._steady()

    def turn(self, goes_on: Callable[[], bool] | None = None) -> Pause | None:
        """Sends what is there. How long to wait then; None when nothing is left."""
        return self.sender.turn(self._queue(), goes_on or self._goes_on)

    def families(self) -> Iterator[Found]:
        """The pusher's own metrics."""
        return self.stats.families(self._spool)

    def _goes_on(self) -> bool:
        return not self._stopping.is_set()

    def _tell_dropped(self, spool: Spool) -> None:
        """Logs that pages are lost, as long as some were at each turn since it was told."""
        dropped, before = dict(spool.dropped), self._dropped
        self._dropped = dropped
        reasons = ", ".join(why for why in dropped if dropped[why] > before.get(why, 0))
        if self._dropping.is_news(reasons) and reasons:
            text = "the spool drops pages unsent (%s); %d wait, of %d bytes"
            log.warning(text, reasons, len(spool), spool.size_bytes)

    def _send_loop(self) -> None:
        while self._goes_on():
            self._wake.clear()
            try:
                pause = self.turn()
            except Exception:
                # The sender must go on: a fault in one turn is no reason to stop for good.
                log.exception("sending failed")
                self.stats.failed += 1
                pause = Pause(_AFTER_A_FAULT)
            if pause is None:
                self._wake.wait()
            else:
                self.sender.rest(pause, self._stopping.wait)

    def _queue(self) -> Spool:
        if self._spool is None:
            raise StartError("the pusher is not started")
        return self._spool
