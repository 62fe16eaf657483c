"""A group's turn: who is quiet, who has to be told, and the message for each."""

import uuid
from collections.abc import Callable, Mapping, Sequence

from alertmanager_bridge.alerts import StoredAlert
from alertmanager_bridge.database import Database
from alertmanager_bridge.dispatch import Group
from alertmanager_bridge.history import History
from alertmanager_bridge.nflog import Entry, NotificationLog, is_news
from alertmanager_bridge.outbox import Outbox
from alertmanager_bridge.payload import build_payload
from alertmanager_bridge.receivers.build import Integration
from alertmanager_bridge.telemetry import BridgeMetrics

Mutes = Callable[[Mapping[str, str], float], bool]


class Decider:
    """Turns a group's turn into messages in the outbox.

    The notification log, the outbox and the history change in one transaction: a message is
    decided on once, and what was decided is sent even if the process dies right after.
    """

    def __init__(
        self,
        database: Database,
        integrations: Mapping[str, Sequence[Integration]],
        mutes: Mutes,
        metrics: BridgeMetrics,
        *,
        external_url: str,
        max_pending: int,
        decided: Callable[[str], None] = lambda _queue: None,
    ) -> None:
        """integrations by receiver's name; decided is told the queue of each new message."""
        self._database, self._integrations = database, integrations
        self._mutes, self._metrics, self._decided = mutes, metrics, decided
        self._external_url, self._max_pending = external_url, max_pending
        self._log, self._outbox = NotificationLog(database), Outbox(database)
        self._history = History(database)

    def flush(self, group: Group, alerts: list[StoredAlert], now: float) -> None:
        """alerts: the group's, in order. Raises StorageError; then nothing was decided."""
        loud = [alert for alert in alerts if not self._mutes(dict(alert.labels), now)]
        if not loud:
            return
        queues = []
        with self._database.transaction():
            for integration in self._integrations.get(group.route.receiver, ()):
                if self._decide(group, integration, loud, now):
                    queues.append(integration.queue)
        for queue in queues:
            self._decided(queue)

    def is_owed(self, group: Group, fingerprint: str, now: float) -> bool:
        """Whether a receiver of the group knows that the alert fires, and of no end."""
        entries = [
            self._log.get(group.key, integration.queue, now)
            for integration in self._integrations.get(group.route.receiver, ())
        ]
        return any(entry is not None and fingerprint in entry.firing for entry in entries)

    def _decide(
        self, group: Group, integration: Integration, alerts: list[StoredAlert], now: float
    ) -> bool:
        """Whether there is a new message."""
        firing = frozenset(alert.fingerprint for alert in alerts if not alert.resolved(now))
        resolved = frozenset(alert.fingerprint for alert in alerts) - firing
        repeat = group.route.repeat_interval
        entry = self._log.get(group.key, integration.queue, now)
        if not is_news(
            entry,
            firing,
            resolved,
            send_resolved=integration.send_resolved,
            repeat_interval=repeat,
            now=now,
        ):
            return False
        told = alerts
        if not integration.send_resolved:
            told = [alert for alert in alerts if not alert.resolved(now)]
        message_id = str(uuid.uuid4()) if told else ""
        self._log.put(
            group.key,
            integration.queue,
            Entry(now, firing, resolved, message_id),
            now + 2 * repeat,
        )
        if told:
            self._enqueue(group, integration, message_id, told, now)
        return bool(told)

    def _enqueue(
        self,
        group: Group,
        integration: Integration,
        message_id: str,
        told: list[StoredAlert],
        now: float,
    ) -> None:
        queue = integration.queue
        payload = build_payload(
            receiver=integration.receiver,
            group_key=group.key,
            group_labels=dict(group.labels),
            alerts=told,
            external_url=self._external_url,
            now=now,
        )
        self._make_room(queue, integration, now)
        self._outbox.add(message_id, queue, group.key, payload, now)
        self._history.add(
            now,
            "notification",
            "decided",
            {
                "message": message_id,
                "integration": integration.name,
                "groupKey": group.key,
                "status": payload["status"],
                "alerts": [
                    {"fingerprint": alert["fingerprint"], "status": alert["status"]}
                    for alert in payload["alerts"]
                ],
            },
            receiver=integration.receiver,
            alertname=payload["commonLabels"].get("alertname", ""),
        )

    def _make_room(self, queue: str, integration: Integration, now: float) -> None:
        while self._outbox.size(queue) >= self._max_pending:
            oldest = self._outbox.oldest(queue)
            if oldest is None:
                return
            drop(
                self._database,
                oldest.message_id,
                f"{self._max_pending} messages were waiting already",
                receiver=integration.receiver,
                integration=integration.name,
                alertname=oldest.data["commonLabels"].get("alertname", ""),
                now=now,
            )
            self._metrics.dropped(integration.receiver, integration.kind, "queue_full")


def drop(
    database: Database,
    message_id: str,
    reason: str,
    *,
    receiver: str,
    integration: str,
    alertname: str,
    now: float,
) -> None:
    """Takes a message out of the outbox for good, and lets its group decide anew."""
    with database.transaction():
        Outbox(database).remove(message_id)
        NotificationLog(database).forget(message_id)
        detail = {"message": message_id, "integration": integration, "reason": reason}
        History(database).add(
            now, "notification", "dropped", detail, receiver=receiver, alertname=alertname
        )
