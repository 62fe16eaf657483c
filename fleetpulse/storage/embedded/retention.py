"""Deletes what is older than the retention, in transactions short enough for writers to get in."""

from collections.abc import Sequence
from dataclasses import dataclass

from fleetpulse.storage.embedded import horizon
from fleetpulse.storage.embedded.catalogue import Catalogue
from fleetpulse.storage.embedded.database import Database
from fleetpulse.storage.embedded.folding import note_folded
from fleetpulse.storage.embedded.horizon import Horizon
from fleetpulse.storage.embedded.indexsweep import IndexSweep
from fleetpulse.storage.embedded.keeping import Keeping, due
from fleetpulse.storage.embedded.pace import Pace
from fleetpulse.storage.embedded.schema import SLOT_MS
from fleetpulse.storage.embedded.sweep import Sweep
from fleetpulse.storage.embedded.windows import DAY_MS

_PAGES = "DELETE FROM page WHERE id IN (SELECT id FROM page WHERE slot < ? LIMIT ?)"
_PAGES_AT_ONCE = 5000

# Space is given back to the file system only where much is free: writes reuse the rest.
_FREE_KEPT = 1024
_VACUUM_STEP = 512


@dataclass(slots=True)
class Expiry:
    """What one expire() deleted. busy: nothing, because another process was at it."""

    pages: int = 0
    chunks: int = 0
    tiers: int = 0
    targets: int = 0
    lines: int = 0
    busy: bool = False


class Retention:
    """Call it under the housekeeping lock."""

    def __init__(self, database: Database, catalogue: Catalogue, pace: Pace | None = None) -> None:
        self._database, self._pace = database, pace or Pace()
        self._sweep = Sweep(database, catalogue, self._pace)

    def run(self, keeping: Keeping, now_ms: int) -> Expiry:
        """Deletes what keeping lets go at now_ms; the index rows that nothing needs too.

        Only whole spans, for the index too: a chunk always finds its lines in `held`.
        """
        old, new = self._advance(keeping, now_ms)
        before_ms = min(min(one.raw_ms, one.tier_ms) for one in new)
        # Pages that are older than samples are kept, but not than tiers, wait for compaction:
        # what they tell goes into the tiers.
        done = Expiry(pages=self._delete_pages(before_ms))
        done.chunks = self._sweep.chunks(old, new)
        done.tiers = self._sweep.tiers(old, new)
        with self._database.writing() as db:
            db.execute("DELETE FROM untiered WHERE (day + 1) * ? <= ?", (DAY_MS, before_ms))
        done.targets, done.lines = IndexSweep(self._database, self._pace).run(before_ms)
        self.shrink(_FREE_KEPT)
        return done

    def late(self, day: int, targets: Sequence[int], now_ms: int) -> None:
        """Deletes of a day's samples that came late, once the tiers tell of them, the expired."""
        with self._database.reading() as db:
            horizons = horizon.believed(horizon.load(db), now_ms)
        if any(day * DAY_MS < max(one.raw_ms, one.tier_ms) for one in horizons):
            self._sweep.late(horizons, day, targets)

    def cap(self, max_bytes: int) -> int:
        """Deletes the oldest spans and days, while the store is larger than max_bytes (0: never).

        How many rows went. What was written in the last hours always stays.
        """
        total = 0
        while max_bytes and self._used() > max_bytes:
            count = self._sweep.oldest()
            if not count:
                break
            total += count
        if max_bytes:
            self.shrink(_FREE_KEPT, max_bytes)
        return total

    def _advance(self, keeping: Keeping, now_ms: int) -> tuple[list[Horizon], list[Horizon]]:
        """The horizons before and from now on. They come first: nobody reads what is half gone."""
        with self._database.writing() as db:
            old = horizon.load(db)
            untiered = db.execute("SELECT min(day) FROM untiered").fetchone()[0]
            new = horizon.raised(old, due(keeping, now_ms, untiered), now_ms)
            horizon.save(db, new)
        return old, new

    def _delete_pages(self, before_ms: int) -> int:
        total = 0
        while True:
            most = self._pace.of(_PAGES_AT_ONCE)
            with self._pace.turn(), self._database.writing() as db:
                count = db.execute(_PAGES, (before_ms // SLOT_MS, most)).rowcount
                if count:
                    note_folded(db, before_ms // SLOT_MS - 1)
            total += count
            if count < most:
                return total

    def _used(self) -> int:
        with self._database.reading() as db:
            size, pages, free = (
                db.execute(f"PRAGMA {what}").fetchone()[0]
                for what in ("page_size", "page_count", "freelist_count")
            )
        return int((pages - free) * size)

    def shrink(self, kept: int, max_bytes: int = 0) -> None:
        """Gives pages back to the file system until no more than kept (0: none) are free.

        A quarter of the file may stay free too, unless kept is 0. Above max_bytes (0: no limit)
        none stays free.
        """
        while True:
            step = self._pace.of(_VACUUM_STEP)
            with self._pace.turn(), self._database.writing() as db:
                free = db.execute("PRAGMA freelist_count").fetchone()[0]
                size = db.execute("PRAGMA page_count").fetchone()[0]
                page_size = db.execute("PRAGMA page_size").fetchone()[0]
                over = max_bytes and free and size * page_size > max_bytes
                if free <= (max(kept, size // 4) if kept else 0) and not over:
                    return
                db.execute(f"PRAGMA incremental_vacuum({step})").fetchall()
