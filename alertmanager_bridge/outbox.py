"""Messages that were decided on and not yet sent. They outlive the process."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alertmanager_bridge.database import Database


@dataclass(frozen=True, slots=True)
class Pending:
    """A message that waits. data is the payload (payload.py); queue names receiver and way."""

    message_id: str
    queue: str
    group_key: str
    created_at: float
    attempts: int
    last_error: str
    data: Mapping[str, Any]


class Outbox:
    """The queues, in the order of decision; messages of the same group never overtake."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, message_id: str, queue: str, group_key: str, data: Mapping[str, Any], now: float
    ) -> None:
        self._database.execute(
            "INSERT INTO outbox (message_id, queue, group_key, created_at, next_at, data) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (message_id, queue, group_key, now, now, json.dumps(data)),
        )

    def due(self, queue: str, now: float) -> Pending | None:
        """The next message to send: the first of its group, and not waiting for a retry."""
        rows = self._database.query(
            "SELECT * FROM outbox AS o WHERE queue = ? AND next_at <= ? AND NOT EXISTS ("
            " SELECT 1 FROM outbox AS p"
            " WHERE p.queue = o.queue AND p.group_key = o.group_key AND p.id < o.id"
            ") ORDER BY id LIMIT 1",
            (queue, now),
        )
        return _pending(rows[0]) if rows else None

    def next_at(self, queue: str) -> float | None:
        """When the queue's next message is due; None when it is empty."""
        rows = self._database.query(
            "SELECT min(next_at) AS at FROM (SELECT next_at, min(id) FROM outbox"
            " WHERE queue = ? GROUP BY group_key)",
            (queue,),
        )
        at: float | None = rows[0]["at"]
        return at

    def shift(self, seconds: float) -> None:
        """Moves the times of all messages, when the clock was set."""
        self._database.execute("UPDATE outbox SET next_at = next_at + ?", (seconds,))

    def hurry_future(self, now: float) -> None:
        """Makes due what was decided at a time that is still to come: the clock was set back."""
        self._database.execute("UPDATE outbox SET next_at = ? WHERE created_at > ?", (now, now))

    def postpone(self, message_id: str, next_at: float, error: str) -> None:
        self._database.execute(
            "UPDATE outbox SET attempts = attempts + 1, next_at = ?, last_error = ?"
            " WHERE message_id = ?",
            (next_at, error, message_id),
        )

    def remove(self, message_id: str) -> None:
        self._database.execute("DELETE FROM outbox WHERE message_id = ?", (message_id,))

    def size(self, queue: str) -> int:
        rows = self._database.query("SELECT count(*) AS n FROM outbox WHERE queue = ?", (queue,))
        return int(rows[0]["n"])

    def oldest(self, queue: str) -> Pending | None:
        rows = self._database.query(
            "SELECT * FROM outbox WHERE queue = ? ORDER BY id LIMIT 1", (queue,)
        )
        return _pending(rows[0]) if rows else None

    def queues(self) -> list[str]:
        rows = self._database.query("SELECT DISTINCT queue FROM outbox ORDER BY queue")
        return [row["queue"] for row in rows]


def _pending(row: Any) -> Pending:
    return Pending(
        row["message_id"],
        row["queue"],
        row["group_key"],
        row["created_at"],
        row["attempts"],
        row["last_error"],
        json.loads(row["data"]),
    )
