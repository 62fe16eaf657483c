"""Deletes rows of the index that nothing needs any more."""

import sqlite3
from typing import Any

import numpy as np

from fleetpulse.storage.embedded.checksums import checksum, mix
from fleetpulse.storage.embedded.labeltable import Ids
from fleetpulse.storage.embedded.sql import IN_LIST, id_list


def sweep_index(db: sqlite3.Connection, before_ms: int) -> tuple[int, int]:
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
