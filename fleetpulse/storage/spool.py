"""A bounded queue on disk in front of whatever may be away: a remote store, the API.

One SQLite file. What put() has taken survives kill -9; what ack() has named is gone.
"""

import logging
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from fleetpulse.errors import StartError, StorageError
from fleetpulse.storage.jumps import JumpClock
from fleetpulse.values import format_duration

log = logging.getLogger(__name__)

T = TypeVar("T")

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
)
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_MAX_BUSY = 5.0  # seconds to wait for the process before us to let go of the file

# Why a payload was dropped.
ITEMS, BYTES, AGE, TOO_LARGE = "items", "bytes", "age", "too_large"
REASONS = (ITEMS, BYTES, AGE, TOO_LARGE)


@dataclass(slots=True)
class _Gone:
    """What one transaction drops."""

    bytes: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def items(self) -> int:
        return self.reasons.total()

    def add(self, reason: str, size: int) -> None:
        self.reasons[reason] += 1
        self.bytes += size


class Spool:
    """Payloads in the order of their put(). Safe from any thread; one process at a time.

    max_items, max_bytes: when either would be passed, the oldest payloads are dropped and
    counted. A payload that is larger than max_bytes by itself is what gets dropped.
    max_age, in seconds: what has waited for longer is dropped and counted, at put() and peek().
    Where the clock is set while this runs, the times of put() move along and no age changes. From
    one run to the next there is only the clock to go by: a time that lies ahead counts as now, and
    what is dropped at the start is logged.
    Raises StartError where the file cannot be made or another process holds it; a corrupt file
    is set aside as `<name>.corrupt` (one is kept), logged and counted in set_aside_total.
    Methods raise StorageError, retriable where the disk may have room again later.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_items: int | None = None,
        max_bytes: int | None = None,
        max_age: float | None = None,
        busy_timeout: float = _MAX_BUSY,
        now: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._max_items, self._max_bytes, self._max_age = max_items, max_bytes, max_age
        self._now, self._clock = now, JumpClock(now, steady)
        self._busy_timeout = busy_timeout
        self._lock = threading.Lock()  # guards all that follows
        self._items = self._bytes = self._set_aside = 0
        self._oldest: float | None = None  # when the oldest payload was put
        self._unshifted = 0.0  # how far the clock was set and the file does not say so yet
        self._dropped = Counter[str]()
        self._closed = False
        self._broken = ""  # what is wrong with the file, until a fresh one is open
        self._db = self._open_or_set_aside()
        self._drop_aged_at_start()

    def put(self, payload: bytes) -> int:
        """Stores payload for good before it returns; answers how many were dropped for it."""
        with self._lock:
            if self._max_bytes is not None and len(payload) > self._max_bytes:
                self._dropped[TOO_LARGE] += 1
                return 1
            return self._mending(lambda: self._put(payload))

    def peek(self, limit: int) -> list[tuple[int, bytes]]:
        """The oldest payloads with their ids, oldest first. They stay until ack()."""
        with self._lock:
            return self._mending(lambda: self._peek(limit))

    def ack(self, ids: Sequence[int]) -> None:
        """Forgets these payloads. Ids that are not there any more are fine."""
        with self._lock:
            self._mending(lambda: self._ack(ids))

    def __len__(self) -> int:
        return self._items

    @property
    def size_bytes(self) -> int:
        """Payload bytes held; the file takes some more."""
        return self._bytes

    @property
    def oldest_age(self) -> float:
        """Seconds since the oldest payload was put; 0 where none waits."""
        oldest = self._oldest
        return 0.0 if oldest is None else max(0.0, self._now() - oldest)

    @property
    def dropped(self) -> Mapping[str, int]:
        """Payloads dropped since this object was made, by each of REASONS."""
        return {reason: self._dropped[reason] for reason in REASONS}

    @property
    def dropped_total(self) -> int:
        return self._dropped.total()

    @property
    def set_aside_total(self) -> int:
        """Corrupt files set aside since this object was made."""
        return self._set_aside

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._db.close()

    def _drop_aged_at_start(self) -> None:
        with suppress(StorageError):  # whoever puts or peeks next is told of it
            self.peek(0)
        if dropped := self._dropped[AGE]:
            log.warning(
                "%s: dropped %d that have waited for more than %s, by this host's clock",
                self.path, dropped, format_duration(self._max_age or 0.0),
            )  # fmt: skip

    def _put(self, payload: bytes) -> int:
        with self._db:
            now = self._time()
            gone = self._drop_aged(now)
            while self._items > gone.items and (reason := self._lack(gone, len(payload))):
                gone.add(reason, self._drop_oldest())
            done = self._db.execute("INSERT INTO items (payload) VALUES (?)", (payload,))
            self._db.execute("INSERT INTO put_times VALUES (?, ?)", (done.lastrowid, now))
            oldest = _read_oldest(self._db)
        # Only now: a transaction that failed has changed nothing.
        self._changed(gone, oldest)
        self._items += 1
        self._bytes += len(payload)
        return gone.items

    def _peek(self, limit: int) -> list[tuple[int, bytes]]:
        if self._max_age is not None:
            with self._db:
                gone, oldest = self._drop_aged(self._time()), _read_oldest(self._db)
            self._changed(gone, oldest)
        query = "SELECT id, payload FROM items ORDER BY id LIMIT ?"
        return self._db.execute(query, (limit,)).fetchall()

    def _time(self) -> float:
        """Unix time. Where the clock was set, the times in the file are moved along with it."""
        now, jump = self._clock.look()
        self._unshifted += jump
        if self._unshifted:
            self._db.execute("UPDATE put_times SET put_at = put_at + ?", (self._unshifted,))
        return now

    def _drop_aged(self, now: float) -> _Gone:
        gone = _Gone()
        if self._max_age is not None:
            while (oldest := _read_oldest(self._db)) is not None and now - oldest > self._max_age:
                gone.add(AGE, self._drop_oldest())
        return gone

    def _lack(self, gone: _Gone, coming: int) -> str:
        """Why there is no room for so many bytes; empty where there is."""
        if self._max_items is not None and self._items - gone.items + 1 > self._max_items:
            return ITEMS
        if self._max_bytes is not None and self._bytes - gone.bytes + coming > self._max_bytes:
            return BYTES
        return ""

    def _drop_oldest(self) -> int:
        row = self._db.execute(
            "DELETE FROM items WHERE id = (SELECT min(id) FROM items) RETURNING length(payload)"
        ).fetchone()
        return int(row[0])

    def _changed(self, gone: _Gone, oldest: float | None) -> None:
        """Takes over what a transaction, now done, has dropped."""
        self._items -= gone.items
        self._bytes -= gone.bytes
        self._dropped += gone.reasons
        self._oldest, self._unshifted = oldest, 0.0

    def _ack(self, ids: Sequence[int]) -> None:
        freed: list[int] = []
        with self._db:
            for one in ids:
                query = "DELETE FROM items WHERE id = ? RETURNING length(payload)"
                freed += [row[0] for row in self._db.execute(query, (one,))]
            oldest = _read_oldest(self._db)
        self._oldest = oldest
        self._items -= len(freed)
        self._bytes -= sum(freed)

    def _mending(self, work: Callable[[], T]) -> T:
        """Does work; if the file turns out to be corrupt, once more on a fresh one."""
        if self._closed:
            raise StorageError(f"{self.path}: the spool is closed", retriable=False)
        try:
            if self._broken:
                self._start_anew()
            try:
                return work()
            except sqlite3.Error as err:
                if not _is_corrupt(err):
                    raise
                self._broken = str(err)
                self._start_anew()
                return work()
        except (sqlite3.Error, OSError) as err:
            raise StorageError(f"{self.path}: {err}", retriable=True) from err

    def _start_anew(self) -> None:
        self._db.close()
        self._put_aside(self._broken)
        self._db = self._open()
        self._broken = ""

    def _open_or_set_aside(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                return self._open()
            except sqlite3.Error as err:
                if not _is_corrupt(err):
                    raise
                self._put_aside(str(err))
                return self._open()
        except (OSError, sqlite3.Error) as err:
            raise StartError(_cannot_open(self.path, err)) from err

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=self._busy_timeout, check_same_thread=False)
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
            query = "SELECT count(*), coalesce(sum(length(payload)), 0) FROM items"
            self._items, self._bytes = db.execute(query).fetchone()
            self._oldest = _read_oldest(db)
        except BaseException:
            db.close()
            raise
        return db

    def _refuse_foreign(self, db: sqlite3.Connection) -> None:
        tables = _number(db, "SELECT count(*) FROM sqlite_master")
        if tables and _number(db, "PRAGMA application_id") != _APPLICATION_ID:
            raise StartError(f"{self.path}: is a database, but no spool; choose another file")
        if _number(db, "PRAGMA user_version") > _VERSION:
            raise StartError(
                f"{self.path}: is of a newer version of FleetPulse; install that, or move the file"
            )

    def _set_up(self, db: sqlite3.Connection) -> None:
        """Makes what is missing: all of it, or what came with a later version."""
        db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        db.execute(f"PRAGMA user_version = {_VERSION}")
        for statement in _SCHEMA:
            db.execute(statement)
        now, _ = self._clock.look()
        db.execute("INSERT OR IGNORE INTO put_times SELECT id, ? FROM items", (now,))
        db.execute("UPDATE put_times SET put_at = ? WHERE put_at > ?", (now, now))

    def _put_aside(self, cause: str) -> None:
        aside = self.path.with_name(self.path.name + ".corrupt")
        log.error("%s: %s; set aside as %s, starting anew", self.path, cause, aside.name)
        self._set_aside += 1
        for suffix in ("", "-wal", "-shm"):
            old = self.path.with_name(self.path.name + suffix)
            if old.exists():
                old.replace(aside.with_name(aside.name + suffix))


def _number(db: sqlite3.Connection, query: str) -> int:
    return int(db.execute(query).fetchone()[0])


def _read_oldest(db: sqlite3.Connection) -> float | None:
    """When the oldest payload was put."""
    row = db.execute("SELECT put_at FROM put_times ORDER BY id LIMIT 1").fetchone()
    return None if row is None else float(row[0])


def _is_corrupt(err: sqlite3.Error) -> bool:
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
