"""Folds pages that are some minutes old into chunks: a series' samples of one span, compressed.

A fold takes the pages of some targets in one span, joins them with the chunks that are there, and
replaces both. What is slow, reading and compressing, is done before anything is written; the
writing is cut into transactions that nobody waits long for.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fleetpulse.storage.embedded import chunks, pages
from fleetpulse.storage.embedded.catalogue import Catalogue
from fleetpulse.storage.embedded.damage import DamageLog
from fleetpulse.storage.embedded.database import Database
from fleetpulse.storage.embedded.folding import Fold, folds_of, note_folded
from fleetpulse.storage.embedded.labeltable import Ids
from fleetpulse.storage.embedded.limits import Budget
from fleetpulse.storage.embedded.pace import Pace
from fleetpulse.storage.embedded.runs import RunsOf
from fleetpulse.storage.embedded.schema import SLOT_MS, SLOTS_PER_SPAN, SPAN_MS
from fleetpulse.storage.embedded.steps import parts
from fleetpulse.storage.embedded.untiered import days_of, mark

# Rounds down below zero too, where SQLite's division does not.
_SPAN_OF_SLOT = (
    f"(slot - ((slot % {SLOTS_PER_SPAN}) + {SLOTS_PER_SPAN}) % {SLOTS_PER_SPAN}) / {SLOTS_PER_SPAN}"
)

# Targets folded at once: at 500 series and a sample in ten seconds they are 180 MB in memory.
_TARGETS_AT_ONCE = 64
# Rows written or deleted in one transaction at most; fewer where that takes long.
_ROWS_AT_ONCE = 8000


@dataclass(frozen=True, slots=True)
class CompactionLimits:
    """How much compact() does at once.

    min_age: seconds; younger pages stay pages, so that late samples are cheap.
    gather: seconds of pages that a target collects before they are folded, unless its span is
    over; more makes less work, less makes a smaller file.
    batch_pages: pages read, held and folded at once, about.
    max_seconds: stop after the batch that passes this; the rest is for the next call.
    """

    min_age: float = 600.0
    gather: float = 1800.0
    batch_pages: int = 1000
    max_seconds: float = 30.0


@dataclass(slots=True)
class Compaction:
    """What one compact() did. tiers: rows of them. busy: nothing, as another process was at it."""

    pages: int = 0
    chunks: int = 0
    samples: int = 0
    tiers: int = 0
    busy: bool = False


@dataclass(frozen=True, slots=True)
class _Task:
    span: int
    target: int
    pages: int


class Compactor:
    """Call it under the housekeeping lock; should two run all the same, one starts over later."""

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        damage: DamageLog,
        clock: Callable[[], float] = time.monotonic,
        pace: Pace | None = None,
    ) -> None:
        self._database, self._catalogue = database, catalogue
        self._damage, self._clock, self._pace = damage, clock, pace or Pace()

    def run(self, now: float, limits: CompactionLimits) -> Compaction:
        """Folds all that is due at now (Unix seconds), within the limits."""
        done = Compaction()
        until = self._clock() + limits.max_seconds
        # A slot is folded whole or not at all: of two rows with the same series and time, which
        # are always in the same slot, the later one thus always wins.
        end_slot = int((now - limits.min_age) * 1000) // SLOT_MS
        tasks = self._tasks(end_slot, limits.gather)
        for batch in _batches(tasks, limits.batch_pages):
            fold = self._prepare(batch, end_slot)
            if self._apply(fold):
                done.pages += len(fold.page_ids)
                done.chunks += len(fold.chunks)
                done.samples += fold.samples
            if self._clock() >= until:
                break
        return done

    def rewrite(self, span: int, targets: Ids, edit: Callable[[RunsOf], None]) -> bool:
        """Folds all of some targets in a span, edited on the way; False where it must be redone.

        edit: may change and take away runs.
        """
        tasks = [_Task(span, target, 0) for target in targets.tolist()]
        return self._apply(self._prepare(tasks, (span + 1) * SLOTS_PER_SPAN, edit))

    def _tasks(self, end_slot: int, gather: float) -> list[_Task]:
        query = f"""
            SELECT {_SPAN_OF_SLOT} AS span, target, count(*), min(slot) FROM page
            WHERE slot < ? GROUP BY 1, 2 ORDER BY 1, 2
        """  # noqa: S608
        ripe, last_span = end_slot - gather * 1000 / SLOT_MS, end_slot // SLOTS_PER_SPAN
        with self._database.reading() as db:
            first = db.execute("SELECT min(slot) FROM page").fetchone()[0]
            if first is None or (first > ripe and first // SLOTS_PER_SPAN >= last_span):
                return []
            self._catalogue.refresh(db)
            tasks = [
                _Task(span, target, count)
                for span, target, count, oldest in db.execute(query, (end_slot,))
                if oldest <= ripe or (span + 1) * SLOTS_PER_SPAN <= end_slot
            ]
        # What lies under a layout that is damaged stays as it is: a later scrape may mend it.
        blocked = {
            span: self._catalogue.unreadable(span * SPAN_MS, (span + 1) * SPAN_MS - 1)
            for span in {task.span for task in tasks}
        }
        return [task for task in tasks if task.target not in blocked[task.span]]

    def _prepare(
        self,
        batch: Sequence[_Task],
        end_slot: int,
        edit: Callable[[RunsOf], None] | None = None,
    ) -> Fold:
        span, targets = batch[0].span, np.array([task.target for task in batch], np.int64)
        start = span * SPAN_MS
        bounds = start, start + SPAN_MS - 1
        end = min(bounds[1], end_slot * SLOT_MS - 1)
        runs: RunsOf = {}
        with self._database.reading() as db:
            self._catalogue.refresh(db)
            group = self._catalogue.whole(targets, *bounds)
            slots = pages.slots_between(db, start, end)
            fold = Fold.read(db, span, targets, group, slots, end_slot)
            budget = Budget()
            chunks.read_runs(db, group.lines, targets, bounds, budget, runs, fold.findings)
            for shape in group.shapes:
                pages.read_runs(db, shape, start, end, budget, runs, fold.findings)
        self._damage.report(fold.findings)
        # What is damaged is not written, and goes with the clock that it was read by.
        fold.anew = any(found.kind in ("chunk", "clock") for found in fold.findings)
        if edit is not None:
            edit(runs)
            fold.anew = True
        fold.encode(runs)
        return fold

    def _apply(self, fold: Fold) -> bool:
        """False where somebody else was at it: then some of it may be done, which is harmless."""
        folds = fold.folds
        for part in parts(fold.steps(), lambda: self._pace.of(_ROWS_AT_ONCE)):
            with self._pace.turn(), self._database.writing() as db:
                if folds_of(db) != folds:
                    return False
                for step in part:
                    db.executemany(step.sql, step.rows)
                # In every part, as it may be the last one that there is.
                mark(db, days_of(fold.span, at_start=fold.at_start), fold.targets)
                folds += note_folded(db, fold.last_slot)
            self._database.checkpoint()
        return True


def _batches(tasks: Sequence[_Task], batch_pages: int) -> Iterator[list[_Task]]:
    """Tasks of one span each, so that the chunks written together lie together."""
    batch: list[_Task] = []
    for task in tasks:
        full = sum(one.pages for one in batch) + task.pages > batch_pages
        full = full or len(batch) == _TARGETS_AT_ONCE
        if batch and (full or task.span != batch[0].span):
            yield batch
            batch = []
        batch.append(task)
    if batch:
        yield batch
