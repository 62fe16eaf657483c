"""All alerts the bridge knows, in memory and in the database, and their history."""

import json
from collections.abc import Iterator, Sequence

from alertmanager_bridge.alerts import StoredAlert, absorb
from alertmanager_bridge.database import Database
from alertmanager_bridge.history import History


class AlertStore:
    """Alerts by fingerprint. The database's lock guards them; the database is written first."""

    def __init__(self, database: Database, limit: int) -> None:
        self._database, self._limit = database, limit
        self._history = History(database)
        self._known: dict[str, StoredAlert] = {}
        # Which state of an alert the history has last: firing or resolved.
        self._noted: dict[str, str] = {}

    def load(self) -> list[StoredAlert]:
        """Reads what the last process left."""
        for row in self._database.query("SELECT body, noted FROM alerts"):
            alert = StoredAlert.from_json(json.loads(row["body"]))
            self._known[alert.fingerprint] = alert
            self._noted[alert.fingerprint] = row["noted"]
        return list(self._known.values())

    def put(
        self, reported: Sequence[StoredAlert], now: float
    ) -> tuple[list[StoredAlert], list[StoredAlert]]:
        """The alerts as they now stand, and those refused because there are too many.

        Raises StorageError; then none was taken.
        """
        with self._database.lock:
            merged: dict[str, StoredAlert] = {}
            noted: dict[str, str] = {}
            refused = []
            with self._database.transaction():
                for alert in reported:
                    key = alert.fingerprint
                    old = merged.get(key) or self._known.get(key)
                    if old is None and len(self._known) + len(merged) >= self._limit:
                        refused.append(alert)
                        continue
                    merged[key] = absorb(old, alert, now)
                    before = noted.get(key, self._noted.get(key, ""))
                    noted[key] = self._note(merged[key], before, now)
                for key, alert in merged.items():
                    self._database.execute(
                        "INSERT OR REPLACE INTO alerts VALUES (?, ?, ?)",
                        (key, json.dumps(alert.to_json()), noted[key]),
                    )
            self._known.update(merged)
            self._noted.update(noted)
            return list(merged.values()), refused

    def _note(self, alert: StoredAlert, before: str, now: float) -> str:
        """Adds a change between firing and resolved to the history; the state it now has."""
        state = "resolved" if alert.resolved(now) else "firing"
        # One that was over before it was ever seen to fire is no event.
        if state != before and (before or state == "firing"):
            detail = {
                "fingerprint": alert.fingerprint,
                "labels": dict(alert.labels),
                "annotations": dict(alert.annotations),
                "startsAt": alert.starts_at,
                "endsAt": alert.ends_at if state == "resolved" else None,
                "generatorURL": alert.generator_url,
            }
            self._history.add(now, "alert", state, detail, alertname=alert.name)
            return state
        return before

    def note_end(self, fingerprint: str, now: float) -> None:
        """Adds to the history that an alert ended, if by now it has."""
        with self._database.lock:
            alert = self._known.get(fingerprint)
            before = self._noted.get(fingerprint, "")
            if alert is None or before != "firing" or not alert.resolved(now):
                return
            with self._database.transaction():
                state = self._note(alert, before, now)
                self._database.execute(
                    "UPDATE alerts SET noted = ? WHERE fingerprint = ?", (state, fingerprint)
                )
            self._noted[fingerprint] = state

    def forget(self, ended_before: float, held: set[str]) -> list[StoredAlert]:
        """Removes alerts that are over, long enough and for every group; which they were."""
        with self._database.lock:
            gone = [
                alert
                for alert in self._known.values()
                if alert.ends_at <= ended_before and alert.fingerprint not in held
            ]
            with self._database.transaction():
                for alert in gone:
                    self._database.execute(
                        "DELETE FROM alerts WHERE fingerprint = ?", (alert.fingerprint,)
                    )
            for alert in gone:
                del self._known[alert.fingerprint]
                self._noted.pop(alert.fingerprint, None)
            return gone

    def firing(self, now: float) -> Iterator[StoredAlert]:
        with self._database.lock:
            return iter([alert for alert in self._known.values() if not alert.resolved(now)])
