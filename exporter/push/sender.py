"""Sends what is on the spool, oldest first, and sees to what becomes of each page."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from exporter.push.answer import Answer, Verdict
from exporter.push.backoff import Backoff
from exporter.push.news import News
from exporter.push.page import PushPage
from exporter.push.post import Post
from exporter.push.stats import PushStats
from fleetpulse.errors import StorageError
from fleetpulse.storage.spool import Spool

log = logging.getLogger(__name__)

_LOOK = 1.0  # seconds between looks at the file of a key that was refused


@dataclass(frozen=True, slots=True)
class Pause:
    """Seconds before the next attempt. key: the stamp of a key whose change ends it early."""

    seconds: float
    key: object = None


class Sender:
    """turn() and rest() are for one thread. wait: sleeps so long, or answers True if it must end.

    steady: a clock that only goes on; sending_since is by it.
    """

    def __init__(
        self,
        post: Post,
        stats: PushStats,
        refused_path: Path,
        *,
        now: Callable[[], float],
        steady: Callable[[], float] = time.monotonic,
        backoff: Backoff | None = None,
    ) -> None:
        self._post, self._stats, self.refused_path = post, stats, refused_path
        self._now, self._steady = now, steady
        self._backoff = backoff or Backoff()
        self._put_offs = 0  # since the last page that got through
        self._trouble, self._refusal, self._disk = News(steady), News(steady), News(steady)
        self.sending_since: float | None = None

    @property
    def trouble(self) -> str:
        """Why pages wait, or an empty string."""
        return self._trouble.last

    def turn(self, spool: Spool, goes_on: Callable[[], bool]) -> Pause | None:
        """Sends what is there, as long as that goes_on. None when nothing is left to do."""
        try:
            pause = self._empty(spool, goes_on)
        except StorageError as err:
            if not goes_on():  # it was closed under a request that hung
                return None
            if self._disk.is_news(str(err)):
                log.error("pages cannot be read from disk: %s", err)
            pause = Pause(self._backoff.next(Answer(Verdict.LATER)))
        else:
            self._disk.is_news("")
        self._stats.backoff = 0.0 if pause is None else pause.seconds
        return pause

    def rest(self, pause: Pause, wait: Callable[[float], bool]) -> None:
        """Waits; back early when wait says so, or when the key that was refused has changed."""
        left = pause.seconds
        while left > 0:
            step = left if pause.key is None else min(left, _LOOK)
            if wait(step):
                return
            left -= step
            if pause.key is not None and self._post.key_stamp() != pause.key:
                log.info("the key has changed; trying it")
                return

    def _empty(self, spool: Spool, goes_on: Callable[[], bool]) -> Pause | None:
        while goes_on():
            oldest = spool.peek(1)
            if not oldest:
                return None
            [(number, payload)] = oldest
            key = self._post.key_stamp()  # before it is read: a change meanwhile is one
            answer = self._send(payload)
            self._stats.last_status = answer.status
            if answer.verdict is Verdict.LATER:
                self._put_off(answer, len(spool))
                return Pause(self._backoff.next(answer), key if answer.denied else None)
            spool.ack([number])
            self._settle(payload, answer, len(spool))
        return None

    def _send(self, payload: bytes) -> Answer:
        try:
            page = PushPage.decode(payload)
        except ValueError as err:
            return Answer(Verdict.REFUSED, str(err))
        self.sending_since = self._steady()
        try:
            return self._post.send(page.batch_id, page.at, page.body)
        finally:
            self.sending_since = None

    def _put_off(self, answer: Answer, waiting: int) -> None:
        self._stats.failed += 1
        self._put_offs += 1
        # After an outage the API sets the pace, page by page; that alone is no trouble.
        if answer.paced and self._put_offs == 1:
            return
        if self._trouble.is_news(answer.text):
            log.warning("pages wait on disk (%d): %s", waiting, answer.text)

    def _settle(self, payload: bytes, answer: Answer, waiting: int) -> None:
        """Of a page that is off the spool: the API took it, or refused it for good."""
        self._backoff.reset()
        self._put_offs = 0
        if self._trouble.is_news(""):
            log.info("pages are taken again, %d waiting", waiting)
        if answer.verdict is Verdict.SENT:
            self._sent(answer)
        else:
            self._refused(payload, answer)

    def _sent(self, answer: Answer) -> None:
        if answer.rejected and not self._stats.rejected_samples:
            log.warning("the API left %d samples out of a page; told once", answer.rejected)
        self._stats.sent += 1
        self._stats.rejected_samples += answer.rejected
        self._stats.last_success = self._now()
        self._refusal.is_news("")

    def _refused(self, payload: bytes, answer: Answer) -> None:
        """Sets the page aside; there is one such file, the latest."""
        self._stats.refused += 1
        if self._refusal.is_news(answer.text):
            log.error("page refused, kept as %s: %s", self.refused_path, answer.text)
        try:
            self.refused_path.write_bytes(payload.partition(b"\n")[2])
        except OSError as err:
            log.warning("%s: %s", self.refused_path, err.strerror)
