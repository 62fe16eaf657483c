"""Folds pages that are some minutes old into chunks: a series' samples of one span, compressed.

A fold takes the pages of some targets in one span, joins them with the chunks that are there, and
replaces both in one transaction. What is slow, reading and compressing, is done before it.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from fleetpulse.storage.embedded import chunks, pages
from fleetpulse.storage.embedded.catalogue import Catalogue
from fleetpulse.storage.embedded.checksums import mix
from fleetpulse.storage.embedded.codec import Times, encode_times, encode_values
from fleetpulse.storage.embedded.damage import DamageLog, Finding
from fleetpulse.storage.embedded.database import Database
from fleetpulse.storage.embedded.labeltable import Ids
from fleetpulse.storage.embedded.limits import Budget
from fleetpulse.storage.embedded.pace import Pace
from fleetpulse.storage.embedded.recent import note_deleted
from fleetpulse.storage.embedded.runs import Joined, RunsOf, join
from fleetpulse.storage.embedded.schema import SLOT_MS, SLOTS_PER_SPAN, SPAN_MS
from fleetpulse.storage.embedded.sql import IN_LIST, id_list
from fleetpulse.storage.embedded.untiered import days_of, mark

# Rounds down below zero too, where SQLite's division does not.
_SPAN_OF_SLOT = (
    f"(slot - ((slot % {SLOTS_PER_SPAN}) + {SLOTS_PER_SPAN}) % {SLOTS_PER_SPAN}) / {SLOTS_PER_SPAN}"
)

_NO_SLOT = -(1 << 50)


@dataclass(frozen=True, slots=True)
class CompactionLimits:
    """How much compact() does at once.

    min_age: seconds; younger pages stay pages, so that late samples are cheap.
    gather: seconds of pages that a target collects before they are folded, unless its span is
    over; more makes less work, less makes a smaller file.
    batch_pages: pages folded in one transaction at most, about; fewer where that takes long.
    max_seconds: stop after the batch that passes this; the rest is for the next call.
    """

    min_age: float = 600.0
    gather: float = 1200.0
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


@dataclass(slots=True)
class _Fold:
    """What one transaction replaces: pages by chunks and their clocks.

    at_start: there is a sample at the very start of the span.
    anew: chunks that are there and not among those to be written go.
    last_slot: none of the pages is in a later one.
    """

    page_ids: list[int]
    targets: list[int]
    span: int
    last_slot: int
    folds: int
    samples: int = 0
    at_start: bool = False
    anew: bool = False
    clocks: list[tuple[int, int, int, int, bytes]] = field(default_factory=list)
    chunks: list[tuple[int, int, int, int, bytes]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


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
        for batch in _batches(tasks, lambda: self._pace.of(limits.batch_pages)):
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
        ripe = end_slot - gather * 1000 / SLOT_MS
        with self._database.reading() as db:
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
    ) -> _Fold:
        span, targets = batch[0].span, np.array([task.target for task in batch], np.int64)
        start = span * SPAN_MS
        span_end = start + SPAN_MS - 1
        runs: RunsOf = {}
        with self._database.reading() as db:
            self._catalogue.refresh(db)
            group = self._catalogue.whole(targets, start, span_end)
            end = min(span_end, end_slot * SLOT_MS - 1)
            slots = pages.slots_between(db, start, end)
            last = slots[-1] if slots else _NO_SLOT
            ids = _page_ids(db, slots, targets)
            fold = _Fold(ids, targets.tolist(), span, last, _folds(db))
            budget = Budget()
            bounds = (start, span_end)
            chunks.read_runs(db, group.lines, targets, bounds, budget, runs, fold.findings)
            for shape in group.shapes:
                pages.read_runs(db, shape, start, end, budget, runs, fold.findings)
        self._damage.report(fold.findings)
        # A damaged chunk must not be left to be read by a clock that is not its own.
        fold.anew = any(found.kind in ("chunk", "clock") for found in fold.findings)
        if edit is not None:
            edit(runs)
            fold.anew = True
        _encode(fold, runs)
        return fold

    def _apply(self, fold: _Fold) -> bool:
        with self._pace.turn(), self._database.writing() as db:
            if _folds(db) != fold.folds:
                return False
            query = f"DELETE FROM clock WHERE span = ? AND target {IN_LIST}"  # noqa: S608
            db.execute(query, (fold.span, id_list(fold.targets)))
            if fold.anew:
                query = f"DELETE FROM chunk WHERE span = ? AND target {IN_LIST}"  # noqa: S608
                db.execute(query, (fold.span, id_list(fold.targets)))
            db.executemany("INSERT INTO clock VALUES (?, ?, ?, ?, ?)", fold.clocks)
            db.executemany("INSERT OR REPLACE INTO chunk VALUES (?, ?, ?, ?, ?)", fold.chunks)
            query = f"DELETE FROM page WHERE id {IN_LIST}"  # noqa: S608
            db.execute(query, (id_list(fold.page_ids),))
            note_deleted(db, fold.last_slot)
            mark(db, days_of(fold.span, at_start=fold.at_start), fold.targets)
        self._database.checkpoint()
        return True


def _batches(tasks: Sequence[_Task], batch_pages: Callable[[], int]) -> Iterator[list[_Task]]:
    """Tasks of one span each, so that the chunks written together lie together."""
    batch: list[_Task] = []
    for task in tasks:
        full = sum(one.pages for one in batch) + task.pages > batch_pages()
        if batch and (full or task.span != batch[0].span):
            yield batch
            batch = []
        batch.append(task)
    if batch:
        yield batch


def _folds(db: sqlite3.Connection) -> int:
    count: int = db.execute("SELECT value FROM counter WHERE name = 'folds'").fetchone()[0]
    return count


def _page_ids(db: sqlite3.Connection, slots: range, targets: Times) -> list[int]:
    query = f"SELECT id FROM page WHERE slot {IN_LIST} AND target {IN_LIST}"  # noqa: S608
    return [entry for (entry,) in db.execute(query, (id_list(slots), id_list(targets)))]


def _encode(fold: _Fold, runs: RunsOf) -> None:
    """Every series of the fold's targets and span anew, in the order of the chunks' key."""
    joined: Joined = {}
    numbers: dict[tuple[int, bytes], int] = {}
    seen: dict[tuple[int, int], tuple[Times, int]] = {}
    for target, line in sorted(runs, key=_by_line):
        times, values = join(runs[target, line], joined)
        # Most series of a target share one array; the array in the entry keeps its id from being
        # given to another.
        known = seen.get((target, id(times)))
        if known is None:
            known = seen[target, id(times)] = (times, _clock_number(fold, target, times, numbers))
            fold.at_start |= int(times[0]) == fold.span * SPAN_MS
        fold.samples += len(times)
        blob = encode_values(values, mix(fold.span, line, target, known[1]))
        fold.chunks.append((fold.span, line, target, known[1], blob))


def _by_line(pair: tuple[int, int]) -> tuple[int, int]:
    return pair[1], pair[0]


def _clock_number(
    fold: _Fold, target: int, times: Times, numbers: dict[tuple[int, bytes], int]
) -> int:
    """The number of a clock that tells these times, made where there is none yet."""
    key = (target, times.tobytes())
    if key not in numbers:
        n = numbers[key] = len(numbers)
        blob = encode_times(times, mix(fold.span, target, n, len(times)))
        fold.clocks.append((fold.span, target, n, len(times), blob))
    return numbers[key]
