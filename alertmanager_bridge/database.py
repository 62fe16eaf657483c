"""The bridge's SQLite file: one connection, one lock, transactions that nest."""

import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fleetpulse.errors import StartError, StorageError

log = logging.getLogger(__name__)

_VERSION = 1
# Bytes kept free in the file and in its log, so that the alert of a full disk can still be told:
# some thousand alerts. 1024 pages: past SQLite's own 1000, at which the log is used anew.
_RESERVE = 4 << 20
_SCHEMA = """
CREATE TABLE IF NOT EXISTS alerts (
    fingerprint TEXT PRIMARY KEY, body TEXT NOT NULL, noted TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS silences (
    id TEXT PRIMARY KEY, body TEXT NOT NULL, ends_at REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notification_log (
    group_key TEXT NOT NULL, queue TEXT NOT NULL, at REAL NOT NULL, expires_at REAL NOT NULL,
    firing TEXT NOT NULL, resolved TEXT NOT NULL, message_id TEXT NOT NULL,
    PRIMARY KEY (group_key, queue)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT NOT NULL UNIQUE, queue TEXT NOT NULL,
    group_key TEXT NOT NULL, created_at REAL NOT NULL, next_at REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, last_error TEXT NOT NULL DEFAULT '', data TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS outbox_queue ON outbox (queue, group_key, id);
CREATE TABLE IF NOT EXISTS history (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, type TEXT NOT NULL,
    event TEXT NOT NULL, receiver TEXT NOT NULL, alertname TEXT NOT NULL, detail TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS history_at ON history (at);
CREATE TABLE IF NOT EXISTS reserve (data BLOB NOT NULL);
"""


class Database:
    """Safe from any thread; lock also guards what is kept in memory beside the file.

    What a transaction wrote is on the disk when it ends: kill -9 and power loss take none of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._guard: int | None = None
        self._depth = 0

    def open(self, wait: float = 15.0) -> None:
        """Opens or creates the file. StartError where it cannot, or another process has it.

        At a reload the old process may still be finishing: it is waited for, wait seconds.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._guard = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
            self._take(self._guard, wait)
            self._connection = self._connect()
            self._fill_reserve()
        except (OSError, sqlite3.Error) as err:
            self.close()
            raise StartError(
                f"{self.path}: cannot open the bridge's state: {err}; "
                "check the folder's owner and free space, or move the file away if it is damaged"
            ) from err
        except StartError:
            self.close()
            raise

    def _take(self, guard: int, wait: float) -> None:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as err:
                if time.monotonic() >= deadline:
                    raise StartError(
                        f"{self.path}: another bridge is using this file; stop it, "
                        "or choose another --data-dir"
                    ) from err
                time.sleep(0.05)
            else:
                return

    def _connect(self) -> sqlite3.Connection:
        # Made before SQLite would, so that its companions (-wal, -shm) are private as well.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        connection = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            connection.close()
            raise StartError(
                f"{self.path}: written by a newer FleetPulse (format {version}); use that version"
            )
        connection.executescript(_SCHEMA)
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        return connection

    def keep_reserve(self) -> None:
        """Makes room in the file while the disk still has some. To be called now and then."""
        with self.lock:
            free: int = self.query("PRAGMA freelist_count")[0][0]
            size: int = self.query("PRAGMA page_size")[0][0]
            if free * size < _RESERVE // 2:
                self._fill_reserve()

    def _fill_reserve(self) -> None:
        """Writes as much as is to be kept free and deletes it, which shrinks neither file."""
        try:
            self.execute("DELETE FROM reserve")  # left by a process that died right here
            self.execute("INSERT INTO reserve VALUES (zeroblob(?))", (_RESERVE,))
            # Without this the deleted pages would never reach the file itself.
            self.query("PRAGMA wal_checkpoint")
            self.execute("DELETE FROM reserve")
        except StorageError as err:
            log.warning("no room can be kept for when the disk is full: %s", err)

    def close(self) -> None:
        with self.lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            if self._guard is not None:
                os.close(self._guard)
                self._guard = None

    @property
    def is_open(self) -> bool:
        return self._connection is not None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing. An inner one is part of the outer one. Raises StorageError."""
        with self.lock:
            if self._depth:
                yield
                return
            self._run("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                yield
                self._run("COMMIT")
            except BaseException:
                self._roll_back()
                raise
            finally:
                self._depth = 0

    def _roll_back(self) -> None:
        try:
            self._run("ROLLBACK")
        except StorageError as err:
            log.debug("rollback: %s", err)  # SQLite has often done it by itself

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Runs one statement; how many rows it changed."""
        return self._run(sql, values).rowcount

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        with self.lock:
            return self._run(sql, values).fetchall()

    def _run(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        with self.lock:
            if self._connection is None:
                raise StorageError(f"{self.path}: the bridge's state is closed", retriable=True)
            try:
                return self._connection.execute(sql, values)
            except sqlite3.Error as err:
                raise StorageError(f"{self.path}: {err}", retriable=True) from err


Clock = Callable[[], float]
