"""What each receiver was last told of each group, and whether a new state of it is news."""

import json
from collections.abc import Set
from dataclasses import dataclass

from alertmanager_bridge.database import Database


@dataclass(frozen=True, slots=True)
class Entry:
    """What a receiver was told of a group: fingerprints, and when (Unix seconds)."""

    at: float
    firing: frozenset[str]
    resolved: frozenset[str]
    message_id: str = ""


def is_news(
    entry: Entry | None,
    firing: Set[str],
    resolved: Set[str],
    *,
    send_resolved: bool,
    repeat_interval: float,
    now: float,
) -> bool:
    """Whether a group's state is worth a message (Alertmanager's DedupStage.needsUpdate)."""
    if entry is None:
        return bool(firing)
    if not firing <= entry.firing:
        return True
    if not firing:
        # All is over: told once, and only to those who know that there was something.
        return bool(entry.firing)
    if send_resolved and not resolved <= entry.resolved:
        return True
    return entry.at < now - repeat_interval


class NotificationLog:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, group_key: str, queue: str, now: float) -> Entry | None:
        rows = self._database.query(
            "SELECT * FROM notification_log WHERE group_key = ? AND queue = ? AND expires_at > ?",
            (group_key, queue, now),
        )
        if not rows:
            return None
        firing, resolved = json.loads(rows[0]["firing"]), json.loads(rows[0]["resolved"])
        return Entry(rows[0]["at"], frozenset(firing), frozenset(resolved), rows[0]["message_id"])

    def put(self, group_key: str, queue: str, entry: Entry, expires_at: float) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO notification_log VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                group_key,
                queue,
                entry.at,
                expires_at,
                json.dumps(sorted(entry.firing)),
                json.dumps(sorted(entry.resolved)),
                entry.message_id,
            ),
        )

    def none_later(self, now: float) -> None:
        """After the clock was set back: what was told was told now at the latest."""
        self._database.execute("UPDATE notification_log SET at = ? WHERE at > ?", (now, now))

    def forget(self, message_id: str) -> None:
        """Undoes the note of a message that will never arrive: its group decides anew."""
        self._database.execute("DELETE FROM notification_log WHERE message_id = ?", (message_id,))

    def expire(self, now: float) -> None:
        self._database.execute("DELETE FROM notification_log WHERE expires_at <= ?", (now,))
