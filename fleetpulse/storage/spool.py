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

from fleetpulse.errors import StorageError
from fleetpulse.storage.jumps import JumpClock
from fleetpulse.storage.spoolfile import Contents, SpoolFile, is_corrupt, oldest
from fleetpulse.values import format_duration

log = logging.getLogger(__name__)

T = TypeVar("T")

_MAX_BUSY = 5.0  # seconds to wait for the process before us to let go of the file

# Why a payload was dropped.
ITEMS, BYTES, AGE, TOO_LARGE, DAMAGED = "items", "bytes", "age", "too_large", "damaged"
REASONS = (ITEMS, BYTES, AGE, TOO_LARGE, DAMAGED)


@dataclass(slots=True)
class _Gone:
    """What one transaction drops."""

    bytes: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    units: Counter[str] = field(default_factory=Counter)  # by reason, too

    @property
    def items(self) -> int:
        return self.reasons.total()

    def add(self, reason: str, size: int, units: int) -> None:
        self.reasons[reason] += 1
        self.units[reason] += units
        self.bytes += size


class Spool:
    """Payloads in the order of their put(). Safe from any thread; one process at a time.

    max_items, max_bytes: when either would be passed, the oldest payloads are dropped and
    counted. A payload that is larger than max_bytes by itself is what gets dropped.
    A payload is of some units, one unless put() is told: the samples in it, say.
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
        self.path, self.max_bytes = path, max_bytes
        self._max_items, self._max_age = max_items, max_age
        self._now, self._clock = now, JumpClock(now, steady)
        self._file = SpoolFile(path, busy_timeout, now)
        self._lock = threading.Lock()  # guards all that follows
        self._items = self._bytes = self._units = 0
        self._oldest: float | None = None  # when the oldest payload was put
        self._unshifted = 0.0  # how far the clock was set and the file does not say so yet
        self._dropped, self._dropped_units = Counter[str](), Counter[str]()
        self._closed = False
        self._broken = ""  # what is wrong with the file, until a fresh one is open
        self._db = self._taken(*self._file.open_or_put_aside())
        self._drop_aged_at_start()

    def put(self, payload: bytes, units: int = 1) -> int:
        """Stores payload for good before it returns; answers how many were dropped for it."""
        with self._lock:
            if self.max_bytes is not None and len(payload) > self.max_bytes:
                self._dropped[TOO_LARGE] += 1
                self._dropped_units[TOO_LARGE] += units
                return 1
            return self._mending(lambda: self._put(payload, units))

    def peek(self, limit: int) -> list[tuple[int, bytes]]:
        """The oldest payloads with their ids, oldest first. They stay until ack()."""
        with self._lock:
            return self._mending(lambda: self._peek(limit))

    def ack(self, ids: Sequence[int]) -> None:
        """Forgets these payloads. Ids that are not there any more are fine."""
        with self._lock:
            self._mending(lambda: self._ack(ids))

    def discard(self, ids: Sequence[int]) -> None:
        """Drops payloads that whoever reads them finds damaged, and counts them."""
        with self._lock:
            for units in self._mending(lambda: self._ack(ids)):
                self._dropped[DAMAGED] += 1
                self._dropped_units[DAMAGED] += units

    def __len__(self) -> int:
        return self._items

    @property
    def size_bytes(self) -> int:
        """Payload bytes held; the file takes some more."""
        return self._bytes

    @property
    def units(self) -> int:
        """Units of all payloads held."""
        return self._units

    @property
    def oldest_age(self) -> float:
        """Seconds since the oldest payload was put; 0 where none waits."""
        first = self._oldest
        return 0.0 if first is None else max(0.0, self._now() - first)

    @property
    def dropped(self) -> Mapping[str, int]:
        """Payloads dropped since this object was made, by each of REASONS."""
        return {reason: self._dropped[reason] for reason in REASONS}

    @property
    def dropped_units(self) -> Mapping[str, int]:
        """Their units."""
        return {reason: self._dropped_units[reason] for reason in REASONS}

    @property
    def dropped_total(self) -> int:
        return self._dropped.total()

    @property
    def set_aside_total(self) -> int:
        """Corrupt files set aside since this object was made."""
        return self._file.put_aside_total

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

    def _put(self, payload: bytes, units: int) -> int:
        with self._db:
            now = self._time()
            gone = self._drop_aged(now)
            while self._items > gone.items and (reason := self._lack(gone, len(payload))):
                gone.add(reason, *self._drop_oldest())
            done = self._db.execute("INSERT INTO items (payload) VALUES (?)", (payload,))
            self._db.execute("INSERT INTO put_times VALUES (?, ?)", (done.lastrowid, now))
            if units != 1:
                self._db.execute("INSERT INTO units VALUES (?, ?)", (done.lastrowid, units))
            first = oldest(self._db)
        # Only now: a transaction that failed has changed nothing.
        self._changed(gone, first)
        self._items += 1
        self._bytes += len(payload)
        self._units += units
        return gone.items

    def _peek(self, limit: int) -> list[tuple[int, bytes]]:
        if self._max_age is not None:
            with self._db:
                gone, first = self._drop_aged(self._time()), oldest(self._db)
            self._changed(gone, first)
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
            while (since := oldest(self._db)) is not None and now - since > self._max_age:
                gone.add(AGE, *self._drop_oldest())
        return gone

    def _lack(self, gone: _Gone, coming: int) -> str:
        """Why there is no room for so many bytes; empty where there is."""
        if self._max_items is not None and self._items - gone.items + 1 > self._max_items:
            return ITEMS
        if self.max_bytes is not None and self._bytes - gone.bytes + coming > self.max_bytes:
            return BYTES
        return ""

    def _drop_oldest(self) -> tuple[int, int]:
        """Its bytes and units."""
        (first,) = self._db.execute("SELECT min(id) FROM items").fetchone()
        return self._delete(first) or (0, 0)

    def _delete(self, item: int) -> tuple[int, int] | None:
        """Bytes and units of a payload that was there."""
        # Before the payload: a trigger takes them along.
        units = self._db.execute("SELECT units FROM units WHERE id = ?", (item,)).fetchone()
        query = "DELETE FROM items WHERE id = ? RETURNING length(payload)"
        found = self._db.execute(query, (item,)).fetchall()
        return (int(found[0][0]), int(units[0]) if units else 1) if found else None

    def _changed(self, gone: _Gone, first: float | None) -> None:
        """Takes over what a transaction, now done, has dropped."""
        self._items -= gone.items
        self._bytes -= gone.bytes
        self._units -= gone.units.total()
        self._dropped += gone.reasons
        self._dropped_units += gone.units
        self._oldest, self._unshifted = first, 0.0

    def _ack(self, ids: Sequence[int]) -> list[int]:
        """The units of those that were there."""
        with self._db:
            freed = [found for one in ids if (found := self._delete(one)) is not None]
            first = oldest(self._db)
        units = [one[1] for one in freed]
        self._oldest = first
        self._items -= len(freed)
        self._bytes -= sum(size for size, _ in freed)
        self._units -= sum(units)
        return units

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
                if not is_corrupt(err):
                    raise
                self._broken = str(err)
                self._start_anew()
                return work()
        except (sqlite3.Error, OSError) as err:
            raise StorageError(f"{self.path}: {err}", retriable=True) from err

    def _start_anew(self) -> None:
        self._db.close()
        self._file.put_aside(self._broken)
        self._db = self._taken(*self._file.open())
        self._broken = ""

    def _taken(self, db: sqlite3.Connection, contents: Contents) -> sqlite3.Connection:
        self._items, self._bytes = contents.items, contents.bytes
        self._units, self._oldest = contents.units, contents.oldest
        return db
