"""Deletes what is older than the retention, in transactions short enough for writers to get in."""

import sqlite3
from dataclasses import dataclass
from typing import Any

import numpy as np

from fleetpulse.storage.embedded.checksums import checksum, mix
from fleetpulse.storage.embedded.database import Database
from fleetpulse.storage.embedded.labeltable import Ids
from fleetpulse.storage.embedded.schema import SLOTS_PER_SPAN, SPAN_MS
from fleetpulse.storage.embedded.sql import IN_LIST, id_list

_BATCH = 5000

_CHUNKS_AGED = "SELECT span, line, target FROM chunk WHERE span < ? LIMIT ?"
_DELETES = {
    "pages": (
        "DELETE FROM page WHERE id IN (SELECT id FROM page WHERE slot < ? LIMIT ?)",
        SLOTS_PER_SPAN,
    ),
    "chunks": (f"DELETE FROM chunk WHERE (span, line, target) IN ({_CHUNKS_AGED})", 1),  # noqa: S608
    "clocks": (
        "DELETE FROM clock WHERE (span, target, n) IN"
        " (SELECT span, target, n FROM clock WHERE span < ? LIMIT ?)",
        1,
    ),
}

# Space is given back to the file system only where much is free: writes reuse the rest.
_FREE_KEPT = 1024
_VACUUM_STEP = 512


@dataclass(slots=True)
class Expiry:
    """What one expire() deleted. busy: nothing, because another process was at it."""

    pages: int = 0
    chunks: int = 0
    targets: int = 0
    lines: int = 0
    busy: bool = False


class Retention:
    """Call it under the housekeeping lock."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run(self, before_ms: int) -> Expiry:
        """Deletes whole spans that end before before_ms; the index rows that nothing needs too."""
        # Only whole spans, for the index too: a chunk always finds its lines in `held`.
        span = before_ms // SPAN_MS
        deleted = {
            kind: self._delete(query, span * unit) for kind, (query, unit) in _DELETES.items()
        }
        done = Expiry(deleted["pages"], deleted["chunks"])
        with self._database.writing() as db:
            done.targets, done.lines = _sweep_index(db, span * SPAN_MS)
        self._shrink()
        return done

    def _delete(self, query: str, before: int) -> int:
        total = 0
        while True:
            with self._database.writing() as db:
                count = db.execute(query, (before, _BATCH)).rowcount
                if count:
                    db.execute("UPDATE counter SET value = value + 1 WHERE name = 'folds'")
            total += count
            if count < _BATCH:
                return total

    def _shrink(self) -> None:
        while True:
            with self._database.writing() as db:
                free = db.execute("PRAGMA freelist_count").fetchone()[0]
                size = db.execute("PRAGMA page_count").fetchone()[0]
                if free <= max(_FREE_KEPT, size // 4):
                    return
                db.execute(f"PRAGMA incremental_vacuum({_VACUUM_STEP})").fetchall()


def _sweep_index(db: sqlite3.Connection, before_ms: int) -> tuple[int, int]:
    """Deletes what nobody held since before_ms: how many targets and lines went."""
    if not db.execute("DELETE FROM held WHERE until_ms < ?", (before_ms,)).rowcount:
        return 0, 0
    db.execute("DELETE FROM layout WHERE id NOT IN (SELECT layout FROM held)")
    query = "DELETE FROM target WHERE id NOT IN (SELECT target FROM held)"
    targets = db.execute(query).rowcount
    unused = _unused_lines(db)
    db.execute(f"DELETE FROM line WHERE id {IN_LIST}", (id_list(unused),))  # noqa: S608
    # Every process now forgets its copy of the index, and with it the ids that are gone.
    db.execute("UPDATE counter SET value = value + 1 WHERE name = 'generation'")
    return targets, len(unused)


def _unused_lines(db: sqlite3.Connection) -> Ids:
    """None while a layout is damaged: who knows which lines it needs."""
    used = []
    for entry, digest, lines, found in db.execute("SELECT id, digest, lines, sum FROM layout"):
        if found != checksum(digest, lines, key=mix(entry)):
            return np.zeros(0, np.int64)
        used.append(lines)
    lines = _column(db, "SELECT id FROM line")
    return np.setdiff1d(np.array(lines, np.int64), np.frombuffer(b"".join(used), "<i4"))


def _column(db: sqlite3.Connection, query: str) -> list[Any]:
    return [value for (value,) in db.execute(query)]
