"""The SQLite file of a spool: made, taken over from an earlier version, or set aside if corrupt."""

import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fleetpulse.errors import StartError

log = logging.getLogger(__name__)

# Tells a spool from any other SQLite file that somebody might point us at ("FPSP").
_APPLICATION_ID = 0x46505350
# Version 0 had the items alone. A program that knows no other can still work on this file: what it
# puts counts as put when we open the file again, and what it takes away is gone by the trigger.
_VERSION = 1
_SCHEMA = (
    """CREATE TABLE IF NOT EXISTS items (
        id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again: a late ack() hits nothing
        payload BLOB NOT NULL
    )""",
    # Apart from the payloads, so that a look at a time, or a change of it, reads none of them.
    """CREATE TABLE IF NOT EXISTS put_times (
        id INTEGER PRIMARY KEY,  -- of items
        put_at REAL NOT NULL     -- Unix seconds, by the clock as it is set now
    )""",
    """CREATE TRIGGER IF NOT EXISTS forget_put_time AFTER DELETE ON items
        BEGIN DELETE FROM put_times WHERE id = old.id; END""",
    # Of payloads of more than one unit. It came later, and version 1 can do without it.
    """CREATE TABLE IF NOT EXISTS units (
        id INTEGER PRIMARY KEY,  -- of items
        units INTEGER NOT NULL
    )""",
    """CREATE TRIGGER IF NOT EXISTS forget_units AFTER DELETE ON items
        BEGIN DELETE FROM units WHERE id = old.id; END""",
)
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds: payloads, their bytes and units, and when the oldest was put."""

    items: int
    bytes: int
    units: int
    oldest: float | None


class SpoolFile:
    """Opens one file, for one process at a time. now: Unix time."""

    def __init__(self, path: Path, busy_timeout: float, now: Callable[[], float]) -> None:
        self._path, self._busy_timeout, self._now = path, busy_timeout, now
        self.put_aside_total = 0  # corrupt files, since this object was made

    def open_or_put_aside(self) -> tuple[sqlite3.Connection, Contents]:
        """StartError where the file cannot be made, is another's, or another process holds it."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                return self.open()
            except sqlite3.Error as err:
                if not is_corrupt(err):
                    raise
                self.put_aside(str(err))
                return self.open()
        except (OSError, sqlite3.Error) as err:
            raise StartError(_cannot_open(self._path, err)) from err

    def open(self) -> tuple[sqlite3.Connection, Contents]:
        """sqlite3.Error for what SQLite says; StartError for a database of another kind."""
        db = sqlite3.connect(self._path, timeout=self._busy_timeout, check_same_thread=False)
        try:
            # Exclusive: two processes that drain one queue would each send what the other has.
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._refuse_foreign(db)
            db.execute("PRAGMA auto_vacuum = FULL")  # a long outage must not leave a large file
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            with db:
                db.execute("BEGIN IMMEDIATE")  # takes the lock now, not at the first put()
                self._set_up(db)
            return db, _contents(db)
        except BaseException:
            db.close()
            raise

    def _refuse_foreign(self, db: sqlite3.Connection) -> None:
        tables = _number(db, "SELECT count(*) FROM sqlite_master")
        if tables and _number(db, "PRAGMA application_id") != _APPLICATION_ID:
            raise StartError(f"{self._path}: is a database, but no spool; choose another file")
        if _number(db, "PRAGMA user_version") > _VERSION:
            raise StartError(
                f"{self._path}: is of a newer version of FleetPulse; install that, or move the file"
            )

    def _set_up(self, db: sqlite3.Connection) -> None:
        """Makes what is missing: all of it, or what came with a later version."""
        db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {_VERSION}")
        for statement in _SCHEMA:
            db.execute(statement)
        now = self._now()
        db.execute("INSERT OR IGNORE INTO put_times SELECT id, ? FROM items", (now,))
        db.execute("UPDATE put_times SET put_at = ? WHERE put_at > ?", (now, now))

    def put_aside(self, cause: str) -> None:
        """Renames a corrupt file, over the last such; OSError where that cannot be."""
        aside = self._path.with_name(self._path.name + ".corrupt")
        log.error("%s: %s; set aside as %s, starting anew", self._path, cause, aside.name)
        self.put_aside_total += 1
        for suffix in ("", "-wal", "-shm"):
            old = self._path.with_name(self._path.name + suffix)
            if old.exists():
                old.replace(aside.with_name(aside.name + suffix))


def _number(db: sqlite3.Connection, query: str) -> int:
    return int(db.execute(query).fetchone()[0])


def _contents(db: sqlite3.Connection) -> Contents:
    query = "SELECT count(*), coalesce(sum(length(payload)), 0) FROM items"
    items, size = db.execute(query).fetchone()
    more = _number(db, "SELECT coalesce(sum(units - 1), 0) FROM units")
    return Contents(int(items), int(size), int(items) + more, oldest(db))


def oldest(db: sqlite3.Connection) -> float | None:
    """When the oldest payload was put."""
    row = db.execute("SELECT put_at FROM put_times ORDER BY id LIMIT 1").fetchone()
    return None if row is None else float(row[0])


def is_corrupt(err: sqlite3.Error) -> bool:
    # The low byte is the primary code; the rest tells kinds of it apart.
    return (getattr(err, "sqlite_errorcode", 0) & 0xFF) in _CORRUPT


def _cannot_open(path: Path, err: OSError | sqlite3.Error) -> str:
    if isinstance(err, sqlite3.Error) and err.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
        return f"{path}: another process uses this spool; stop it, or choose another --data-dir"
    reason = err.strerror if isinstance(err, OSError) else err
    return (
        f"{path}: cannot open the spool: {reason}; "
        f"make {path.parent} writable for this user, or choose another --data-dir"
    )
