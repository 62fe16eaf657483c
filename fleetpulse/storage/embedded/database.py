"""Connections to the store's file: one that writes, a pool of those that read."""

import errno
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleetpulse.errors import StorageError
from fleetpulse.storage.embedded import migrations, schema

BUSY_SECONDS = 10.0
_MAPPED = 1 << 30
_LOG_PAGES = 4000

# What SQLite's primary result codes mean to an operator, and whether a retry may pass.
_FAULTS = {
    sqlite3.SQLITE_BUSY: (f"another process kept it locked for {BUSY_SECONDS:g} s", True),
    sqlite3.SQLITE_LOCKED: ("another connection kept it locked", True),
    sqlite3.SQLITE_FULL: ("the disk is full; free some space or shorten the retention", True),
    sqlite3.SQLITE_IOERR: ("the disk failed to read or write; see the system's log", True),
    sqlite3.SQLITE_CORRUPT: ("the file is damaged; move it away or restore a backup", False),
    sqlite3.SQLITE_NOTADB: ("not a FleetPulse store; move it away or restore a backup", False),
    sqlite3.SQLITE_READONLY: ("not writable; give this user the file and its folder", False),
    sqlite3.SQLITE_PERM: ("not writable; give this user the file and its folder", False),
    sqlite3.SQLITE_CANTOPEN: ("cannot be opened; give this user the file and its folder", False),
}


def fault(path: Path, err: Exception) -> StorageError:
    """The StorageError that says what err means for the store at path."""
    if isinstance(err, sqlite3.Error):
        code = getattr(err, "sqlite_errorcode", None)
        if code is not None and code & 0xFF in _FAULTS:
            text, retriable = _FAULTS[code & 0xFF]
            return StorageError(f"{path}: {text} ({err})", retriable=retriable)
        return StorageError(f"{path}: {err}", retriable=False)
    if isinstance(err, OSError):
        return StorageError(
            f"{path}: {err.strerror or err}; the store needs a writable folder", retriable=False
        )
    return StorageError(f"{path}: cannot be stored: {err}", retriable=False)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


class Database:
    """Opens the file, making it first unless read_only. Safe from any thread.

    Not to be carried over a fork: open it in the process that uses it.
    """

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path, self._read_only = path, read_only
        self._write_lock = threading.Lock()  # guards _writer
        self._pool_lock = threading.Lock()  # guards _idle and _closed
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self._writer: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        try:
            with self._faults():
                self._open()
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        if self.path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder and not a file")
        if not self.path.exists():
            if self._read_only:
                raise StorageError(
                    f"{self.path}: no store there yet; the first role that writes makes it",
                    retriable=True,
                )
            schema.create(self.path)
        self._identity = _identity(self.path)
        if not self._read_only:
            migrations.upgrade(self.path)
        self._give_back(self._take())
        if not self._read_only:
            self._writer = self._connect()
            # A read-only file or folder shows itself here and not at the first scrape.
            self._writer.execute("BEGIN IMMEDIATE")
            self._writer.execute("UPDATE counter SET value = value WHERE name = 'folds'")
            self._writer.execute("ROLLBACK")

    def _connect(self) -> sqlite3.Connection:
        mode = "ro" if self._read_only else "rw"
        uri = f"{self.path.absolute().as_uri()}?mode={mode}"
        db = sqlite3.connect(
            uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            schema.verify(db, self.path)
            # A commit is in the operating system's hands, so a kill -9 cannot lose it; after a
            # power cut the last moments may be missing, but the file is whole.
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA temp_store = MEMORY")
            db.execute("PRAGMA cache_size = -8192")
            db.execute("PRAGMA journal_size_limit = 67108864")
            # Who commits past this moves the log into the file, which takes as long as the disk
            # does; the housekeeping sees to it earlier, so that those who scrape seldom have to.
            db.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        except BaseException:
            db.close()
            raise
        return db

    def _check_in_place(self) -> None:
        """A file that was deleted or replaced takes samples still, which nobody would ever find."""
        if _identity(self.path) != self._identity:
            raise StorageError(
                f"{self.path}: deleted or replaced while it was in use; restart all roles",
                retriable=True,
            )

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeError, OverflowError) as err:
            raise fault(self.path, err) from err

    def writer(self) -> sqlite3.Connection:
        """The connection that writes, for writing(); StorageError where there is none."""
        if self._writer is None:
            text = "is closed" if self._closed else "was opened for reading only"
            raise StorageError(f"{self.path} {text}", retriable=False)
        return self._writer

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One write transaction: committed at the end, undone where anything rises."""
        with self._write_lock, self._faults():
            db = self.writer()
            self._check_in_place()
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A read transaction: everything inside sees one and the same state of the store."""
        with self._faults():
            db = self._take()
            try:
                self._check_in_place()
                db.execute("BEGIN")
                yield db
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                self._give_back(db)

    def checkpoint(self) -> None:
        """Moves what is committed from the log into the file; only the caller waits for it."""
        with self._faults():
            db = self._take()
            try:
                db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            finally:
                self._give_back(db)

    def _take(self) -> sqlite3.Connection:
        with self._pool_lock:
            if self._closed:
                raise StorageError(f"{self.path} is closed", retriable=False)
            if self._idle:
                return self._idle.pop()
        db = self._connect()
        # Halves the time of large reads. The writer goes without: a disk error there is told as
        # an error, where a mapped page would end the process.
        db.execute(f"PRAGMA mmap_size = {_MAPPED}")
        return db

    def _give_back(self, db: sqlite3.Connection) -> None:
        with self._pool_lock:
            if not self._closed:
                self._idle.append(db)
                return
        db.close()

    def close(self) -> None:
        """Waits for a write under way; reads under way end by themselves."""
        with self._pool_lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for db in idle:
            db.close()
        with self._write_lock:
            if self._writer is not None:
                self._writer.close()
                self._writer = None
