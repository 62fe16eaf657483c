"""Empties one receiver's queue: sends, retries with back-off, gives up."""

import logging
import random
import time
from collections.abc import Callable

from alertmanager_bridge.database import Clock, Database
from alertmanager_bridge.decide import drop
from alertmanager_bridge.history import History
from alertmanager_bridge.outbox import Outbox, Pending
from alertmanager_bridge.receivers.base import Message
from alertmanager_bridge.receivers.build import Integration
from alertmanager_bridge.telemetry import BridgeMetrics
from fleetpulse.errors import NotifyError

log = logging.getLogger(__name__)

_FIRST_DELAY, _LONGEST_DELAY = 1.0, 60.0


def backoff(attempts: int, draw: Callable[[], float] = random.random) -> float:
    """Seconds before the attempt that follows so many failed ones: doubling, half of it chance."""
    longest = min(_FIRST_DELAY * 2.0 ** min(attempts - 1, 16), _LONGEST_DELAY)
    return longest * (0.5 + draw() / 2)


class Sender:
    """The messages of one integration, one at a time. Has no thread: run_due() is called."""

    def __init__(
        self,
        integration: Integration,
        database: Database,
        metrics: BridgeMetrics,
        *,
        give_up_after: float,
        now: Clock = time.time,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.integration = integration
        self._database, self._outbox = database, Outbox(database)
        self._history, self._metrics = History(database), metrics
        self._give_up_after, self._now, self._draw = give_up_after, now, draw
        self._paused_until = 0.0
        self._sent_ids: set[str] = set()  # sent, while the database could not take note of it
        metrics.prepare(integration.receiver, integration.kind)

    def shift(self, seconds: float) -> None:
        """Moves the end of a pause that the receiver asked for, when the clock was set."""
        self._paused_until += seconds

    def next_due(self) -> float | None:
        """When there is something to do (Unix seconds); None while the queue is empty."""
        at = self._outbox.next_at(self.integration.queue)
        return None if at is None else max(at, self._paused_until)

    def run_due(self) -> bool:
        """Sends the next message that is due; whether there was one. Raises StorageError."""
        now = self._now()
        if now < self._paused_until:
            return False
        pending = self._outbox.due(self.integration.queue, now)
        if pending is None:
            return False
        if pending.message_id in self._sent_ids:
            self._sent(pending)
            return True
        if now - pending.created_at > self._give_up_after:
            self._drop(pending, "too_old", f"not sent for too long; last: {pending.last_error}")
            return True
        started = time.monotonic()
        try:
            self.integration.notifier.notify(
                Message(pending.message_id, pending.group_key, pending.data, pending.created_at)
            )
        except NotifyError as err:
            self._count(started, sent=False)
            self._failed(pending, err)
        except Exception:  # one message that cannot be made must not hold up those behind it
            log.exception("%s: a message could not be made", self.integration.queue)
            self._count(started, sent=False)
            self._metrics.error("sender")
            self._drop(pending, "refused", "internal error; the log has the traceback")
        else:
            self._count(started, sent=True)
            self._sent(pending)
        return True

    def _count(self, started: float, *, sent: bool) -> None:
        seconds = time.monotonic() - started
        one = self.integration
        self._metrics.attempted(one.receiver, one.kind, seconds, sent=sent)

    def _sent(self, pending: Pending) -> None:
        self._sent_ids.add(pending.message_id)
        with self._database.transaction():
            self._outbox.remove(pending.message_id)
            self._note(pending, "sent", {"attempts": pending.attempts + 1})
        self._sent_ids.discard(pending.message_id)
        log.info("%s: sent %s", self.integration.queue, pending.message_id)

    def _failed(self, pending: Pending, err: NotifyError) -> None:
        reason = str(err)
        if not err.retriable:
            self._drop(pending, "refused", reason)
            return
        attempts = pending.attempts + 1
        delay = backoff(attempts, self._draw)
        if err.retry_after is not None:
            delay = max(delay, err.retry_after)
            # Who asks for patience means all messages, not this one.
            self._paused_until = self._now() + err.retry_after
        with self._database.transaction():
            self._outbox.postpone(pending.message_id, self._now() + delay, reason)
            # A receiver that is down for a day must not fill the history with the same line.
            if reason != pending.last_error or attempts & (attempts - 1) == 0:
                detail = {"attempts": attempts, "reason": reason, "retry_in": round(delay, 1)}
                self._note(pending, "failed", detail)
                log.warning(
                    "%s: attempt %d failed, next in %.1f s: %s",
                    self.integration.queue,
                    attempts,
                    delay,
                    reason,
                )

    def _drop(self, pending: Pending, kind: str, reason: str) -> None:
        one = self.integration
        drop(
            self._database,
            pending.message_id,
            reason,
            receiver=one.receiver,
            integration=one.name,
            alertname=_alertname(pending),
            now=self._now(),
        )
        self._metrics.dropped(one.receiver, one.kind, kind)
        log.error("%s: dropped %s: %s", one.queue, pending.message_id, reason)

    def _note(self, pending: Pending, event: str, detail: dict[str, object]) -> None:
        one = self.integration
        self._history.add(
            self._now(),
            "notification",
            event,
            {"message": pending.message_id, "integration": one.name, **detail},
            receiver=one.receiver,
            alertname=_alertname(pending),
        )


def _alertname(pending: Pending) -> str:
    name: str = pending.data["commonLabels"].get("alertname", "")
    return name
