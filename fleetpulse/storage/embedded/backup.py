"""A copy of the store while it is in use, and the way back."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from fleetpulse.errors import StorageError
from fleetpulse.storage.embedded import holders, schema
from fleetpulse.storage.embedded.database import fault

# 4 MB, then a pause: at most 200 MB/s, so that a writer finds the disk free in between.
_PAGES = 256
_PAUSE = 0.02

# The bytes of the file that every open connection holds a lock on (https://sqlite.org/fileformat.html,
# the lock-byte page).
_LOCK_BYTES = (0x40000000, 512)

Progress = Callable[[int, int], None]


def backup(path: Path, target: Path, progress: Progress = lambda _done, _total: None) -> int:
    """Copies the store at path, as it is at one moment, to a new file; its size in bytes.

    Any role may run. The snapshot is held all the time, so the write-ahead log grows meanwhile by
    what is written. progress: pages done and pages in all. StorageError where it cannot be.
    """
    if target.exists():
        raise StorageError(f"{target} is there already; name another", retriable=False)
    part = target.with_name(f"{target.name}.part")
    try:
        with closing(_open(path)) as source:
            schema.verify(source, path)
            # Without a transaction of its own, each commit of a writer would start it anew.
            source.execute("BEGIN")
            source.execute("SELECT value FROM counter").fetchone()
            _copy(source, part, progress)
        part.rename(target)
    except (sqlite3.Error, OSError) as err:
        raise fault(path, err) from err
    finally:
        part.unlink(missing_ok=True)
    return target.stat().st_size


def restore(
    source: Path, path: Path, progress: Progress = lambda _done, _total: None
) -> Path | None:
    """Puts the backup in source in the place of the store at path.

    StorageError where the backup is not whole, or where any process has the store open: the
    message names them. The store that was there is kept beside; its path, or None.
    """
    part = path.with_name(f"{path.name}.restore-{os.getpid()}")
    try:
        with unused(path), closing(_open(source)) as db:
            schema.version_of(db, source)
            _check_whole(db, source)
            path.parent.mkdir(parents=True, exist_ok=True)
            _copy(db, part, progress)
            return _exchange(part, path)
    except (sqlite3.Error, OSError) as err:
        raise fault(source, err) from err
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def unused(path: Path) -> Iterator[None]:
    """Holds SQLite's own lock on the file, so that no process has it open or opens it meanwhile.

    StorageError where one has. Works on a file too damaged to be opened. Nothing in this process
    may have the file open: closing any descriptor of it would end the lock.
    """
    if not path.exists():
        yield
        return
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        start, length = _LOCK_BYTES
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
        except (BlockingIOError, PermissionError) as err:
            who = holders.of(path) or "another process"
            raise StorageError(f"{path} is in use by {who}; stop it first", retriable=True) from err
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=10.0, isolation_level=None)


def _check_whole(db: sqlite3.Connection, path: Path) -> None:
    found = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise StorageError(f"{path} is damaged and is not restored: {found}", retriable=False)


def _copy(source: sqlite3.Connection, part: Path, progress: Progress) -> None:
    part.unlink(missing_ok=True)

    def pause(_status: int, left: int, total: int) -> None:
        progress(total - left, total)
        time.sleep(_PAUSE)

    with closing(sqlite3.connect(part, isolation_level=None)) as target:
        source.backup(target, pages=_PAGES, progress=pause)
    descriptor = os.open(part, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(part: Path, path: Path) -> Path | None:
    """The write-ahead log goes first: beside another file it would be taken for that file's."""
    kept = path.with_name(f"{path.name}.before-restore")
    for ending in ("-wal", ""):
        old, away = path.with_name(path.name + ending), kept.with_name(kept.name + ending)
        away.unlink(missing_ok=True)
        if old.exists():
            # The file itself is linked, so that there is no moment without one, in which a role
            # that starts would make an empty store.
            os.rename(old, away) if ending else os.link(old, away)
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    part.replace(path)
    return kept if kept.exists() else None
