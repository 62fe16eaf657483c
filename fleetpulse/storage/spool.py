"""A bounded queue on disk in front of whatever may be away: a remote store, the API.

One SQLite file. What put() has taken survives kill -9; what ack() has named is gone.
"""

import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from fleetpulse.errors import StartError, StorageError

log = logging.getLogger(__name__)

T = TypeVar("T")

# Tells a spool from any other SQLite file that somebody might point us at ("FPSP").
_APPLICATION_ID = 0x46505350
_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice, so that a late ack() hits nothing
    payload BLOB NOT NULL
)"""
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_MAX_BUSY = 5.0  # seconds to wait for the process before us to let go of the file


class Spool:
    """Payloads in the order of their put(). Safe from any thread; one process at a time.

    max_items, max_bytes: when either would be passed, the oldest payloads are dropped and
    counted. A payload that is larger than max_bytes by itself is what gets dropped.
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
        busy_timeout: float = _MAX_BUSY,
    ) -> None:
        self.path = path
        self._max_items, self._max_bytes = max_items, max_bytes
        self._busy_timeout = busy_timeout
        self._lock = threading.Lock()  # guards all that follows
        self._items = self._bytes = 0
        self._dropped = self._set_aside = 0
        self._closed = False
        self._broken = ""  # what is wrong with the file, until a fresh one is open
        self._db = self._open_or_set_aside()

    def put(self, payload: bytes) -> int:
        """Stores payload for good before it returns; answers how many were dropped for it."""
        with self._lock:
            if self._max_bytes is not None and len(payload) > self._max_bytes:
                self._dropped += 1
                return 1
            return self._mending(lambda: self._put(payload))

    def peek(self, limit: int) -> list[tuple[int, bytes]]:
        """The oldest payloads with their ids, oldest first. They stay until ack()."""
        query = "SELECT id, payload FROM items ORDER BY id LIMIT ?"
        with self._lock:
            return self._mending(lambda: self._db.execute(query, (limit,)).fetchall())

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
    def dropped_total(self) -> int:
        """Payloads dropped for want of room since this object was made."""
        return self._dropped

    @property
    def set_aside_total(self) -> int:
        """Corrupt files set aside since this object was made."""
        return self._set_aside

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._db.close()

    def _put(self, payload: bytes) -> int:
        with self._db:
            dropped = freed = 0
            while self._items > dropped and self._is_full(dropped, freed, len(payload)):
                freed += self._drop_oldest()
                dropped += 1
            self._db.execute("INSERT INTO items (payload) VALUES (?)", (payload,))
        # Only now: a transaction that failed has changed nothing.
        self._items += 1 - dropped
        self._bytes += len(payload) - freed
        self._dropped += dropped
        return dropped

    def _is_full(self, dropped: int, freed: int, coming: int) -> bool:
        items, size = self._items - dropped + 1, self._bytes - freed + coming
        return (self._max_items is not None and items > self._max_items) or (
            self._max_bytes is not None and size > self._max_bytes
        )

    def _drop_oldest(self) -> int:
        row = self._db.execute(
            "DELETE FROM items WHERE id = (SELECT min(id) FROM items) RETURNING length(payload)"
        ).fetchone()
        return int(row[0])

    def _ack(self, ids: Sequence[int]) -> None:
        freed: list[int] = []
        with self._db:
            for one in ids:
                query = "DELETE FROM items WHERE id = ? RETURNING length(payload)"
                freed += [row[0] for row in self._db.execute(query, (one,))]
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
                db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                db.execute(_SCHEMA)
            query = "SELECT count(*), coalesce(sum(length(payload)), 0) FROM items"
            self._items, self._bytes = db.execute(query).fetchone()
        except BaseException:
            db.close()
            raise
        return db

    def _refuse_foreign(self, db: sqlite3.Connection) -> None:
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and db.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION_ID:
            raise StartError(f"{self.path}: is a database, but no spool; choose another file")

    def _put_aside(self, cause: str) -> None:
        aside = self.path.with_name(self.path.name + ".corrupt")
        log.error("%s: %s; set aside as %s, starting anew", self.path, cause, aside.name)
        self._set_aside += 1
        for suffix in ("", "-wal", "-shm"):
            old = self.path.with_name(self.path.name + suffix)
            if old.exists():
                old.replace(aside.with_name(aside.name + suffix))


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
