"""What happened: alerts that began and ended, messages decided, sent and failed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from alertmanager_bridge.database import Database

MAX_ROWS = 1_000_000  # some hundreds of MB: flapping alerts must not fill the disk

HistoryType = Literal["alert", "notification"]


@dataclass(frozen=True, slots=True)
class HistoryQuery:
    """Times in Unix seconds, both inclusive; before is the cursor: only older rows follow."""

    type: HistoryType | None = None
    from_at: float | None = None
    to_at: float | None = None
    receiver: str = ""
    alertname: str = ""
    event: str = ""
    before: int | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class HistoryRow:
    id: int
    at: float
    type: str
    event: str
    receiver: str
    alertname: str
    detail: Mapping[str, Any]


class History:
    """Events: alerts firing, resolved; messages decided, sent, failed, dropped."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        at: float,
        type_: HistoryType,
        event: str,
        detail: Mapping[str, Any],
        *,
        receiver: str = "",
        alertname: str = "",
    ) -> None:
        self._database.execute(
            "INSERT INTO history (at, type, event, receiver, alertname, detail) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (at, type_, event, receiver, alertname, json.dumps(detail)),
        )

    def find(self, query: HistoryQuery) -> tuple[list[HistoryRow], int | None]:
        """Rows, newest first, and the cursor for more of them (None: these were all)."""
        conditions: list[tuple[str, Any]] = [
            ("type = ?", query.type),
            ("at >= ?", query.from_at),
            ("at <= ?", query.to_at),
            ("receiver = ?", query.receiver or None),
            ("alertname = ?", query.alertname or None),
            ("event = ?", query.event or None),
            ("id < ?", query.before),
        ]
        used = [(sql, value) for sql, value in conditions if value is not None]
        where = " AND ".join(sql for sql, _ in used) or "1"
        rows = self._database.query(
            f"SELECT * FROM history WHERE {where} ORDER BY id DESC LIMIT ?",  # noqa: S608
            [*(value for _, value in used), query.limit + 1],
        )
        found = [
            HistoryRow(
                row["id"],
                row["at"],
                row["type"],
                row["event"],
                row["receiver"],
                row["alertname"],
                json.loads(row["detail"]),
            )
            for row in rows[: query.limit]
        ]
        return found, found[-1].id if len(rows) > query.limit else None

    def expire(self, before: float) -> None:
        """Removes what is older than a time, and the oldest rows where there are too many."""
        self._database.execute("DELETE FROM history WHERE at < ?", (before,))
        self._database.execute(
            "DELETE FROM history WHERE id <= (SELECT max(id) FROM history) - ?", (MAX_ROWS,)
        )
