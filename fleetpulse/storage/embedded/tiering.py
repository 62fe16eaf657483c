"""Makes the tiers: once a day is over, and again for what came late."""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from fleetpulse.storage.embedded import chunks, tierrow
from fleetpulse.storage.embedded.catalogue import Catalogue
from fleetpulse.storage.embedded.checksums import mix
from fleetpulse.storage.embedded.codec import DAMAGE, Floats, Times
from fleetpulse.storage.embedded.compaction import CompactionLimits
from fleetpulse.storage.embedded.damage import DamageLog, Finding
from fleetpulse.storage.embedded.database import Database
from fleetpulse.storage.embedded.folding import folds_of
from fleetpulse.storage.embedded.labeltable import Ids
from fleetpulse.storage.embedded.limits import Budget
from fleetpulse.storage.embedded.pace import Pace
from fleetpulse.storage.embedded.retention import Retention
from fleetpulse.storage.embedded.runs import Joined, RunsOf, join
from fleetpulse.storage.embedded.sql import IN_LIST, id_list
from fleetpulse.storage.embedded.untiered import LEVEL
from fleetpulse.storage.embedded.windows import DAY_MS, Cut, Windows, aggregate_all, remade

# So long after midnight, compaction is through with the day.
_SETTLED_MS = 3_600_000
# Series read, held and written at once; at a sample in ten seconds they are 17 MB.
_SERIES_AT_ONCE = 240
_TARGETS_AT_ONCE = 4

Row = tuple[int, int, int, int, bytes]
Pair = tuple[int, int]  # target, line


@dataclass(slots=True)
class Tiered:
    """What one run made: tier rows, and days of targets that are done."""

    rows: int = 0
    days: int = 0


@dataclass(slots=True)
class _Batch:
    """Rows that one transaction writes, made of the state that `folds` names."""

    folds: int
    rows: list[Row] = field(default_factory=list)


class Tiering:
    """Call it under the housekeeping lock."""

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        damage: DamageLog,
        retention: Retention,
        clock: Callable[[], float] = time.monotonic,
        pace: Pace | None = None,
    ) -> None:
        self._database, self._catalogue, self._damage = database, catalogue, damage
        self._retention, self._clock, self._pace = retention, clock, pace or Pace()

    def run(self, now: float, limits: CompactionLimits) -> Tiered:
        """Makes what is due at now (Unix seconds), within limits.max_seconds."""
        done = Tiered()
        until = self._clock() + limits.max_seconds
        for day, targets in self._due(now):
            if not self._make(day, targets, int(now * 1000), done):
                break  # somebody else changed the chunks under way: the next run sees to it
            if self._clock() >= until:
                break
        return done

    def _due(self, now: float) -> Iterator[tuple[int, list[int]]]:
        last = int(now * 1000 - _SETTLED_MS) // DAY_MS - 1
        query = "SELECT day, target FROM untiered WHERE day <= ? ORDER BY day, target"
        with self._database.reading() as db:
            found = db.execute(query, (last,)).fetchall()
        for day, rows in groupby(found, key=lambda row: row[0]):
            targets = [target for _, target in rows]
            for begin in range(0, len(targets), _TARGETS_AT_ONCE):
                yield int(day), targets[begin : begin + _TARGETS_AT_ONCE]

    def _make(self, day: int, targets: Sequence[int], now_ms: int, done: Tiered) -> bool:
        ids = np.array(targets, np.int64)
        with self._database.reading() as db:
            self._catalogue.refresh(db)
            lines = self._catalogue.whole(ids, day * DAY_MS + 1, (day + 1) * DAY_MS).lines
        folds, begin = None, 0
        while begin < len(lines):
            end = begin + _SERIES_AT_ONCE // len(targets)
            batch = self._prepare(day, ids, lines[begin:end])
            begin = end
            folds = batch.folds if folds is None else folds
            if batch.folds != folds or not self._apply(batch):
                return False
            done.rows += len(batch.rows)
        self._finish(day, targets)
        self._retention.late(day, targets, now_ms)
        done.days += len(targets)
        return True

    def _prepare(self, day: int, targets: Ids, lines: Ids) -> _Batch:
        bounds = day * DAY_MS + 1, (day + 1) * DAY_MS
        runs: RunsOf = {}
        findings: list[Finding] = []
        with self._database.reading() as db:
            batch = _Batch(folds_of(db))
            chunks.read_runs(db, lines, targets, bounds, Budget(), runs, findings)
            known = dict(_rows(db, day, lines, targets))
        self._damage.report(findings)
        shared = tierrow.Shared()
        for times, pairs, values in _together(runs):
            cut = Cut.of(times, day)
            made = aggregate_all(times, values, day, cut)
            for (target, line), windows in zip(pairs, made, strict=True):
                key = mix(LEVEL, day, line, target)
                old = known.get((target, line))
                if old is not None:
                    windows = _joined(old, key, windows, cut)
                blob = tierrow.encode(windows, key, shared)
                batch.rows.append((LEVEL, day, line, target, blob))
        batch.rows.sort()
        return batch

    def _apply(self, batch: _Batch) -> bool:
        with self._pace.turn(), self._database.writing() as db:
            if folds_of(db) != batch.folds:
                return False
            db.executemany("INSERT OR REPLACE INTO tier VALUES (?, ?, ?, ?, ?)", batch.rows)
        return True

    def _finish(self, day: int, targets: Sequence[int]) -> None:
        with self._database.writing() as db:
            query = f"DELETE FROM untiered WHERE day = ? AND target {IN_LIST}"  # noqa: S608
            db.execute(query, (day, id_list(targets)))


def _together(runs: RunsOf) -> Iterator[tuple[Times, list[Pair], list[Floats]]]:
    """Series by what they share, their times; each with its target and line."""
    joined: Joined = {}
    found: dict[int, tuple[Times, list[Pair], list[Floats]]] = {}
    for pair, parts in runs.items():
        times, values = join(parts, joined)
        # The times in the entry keep their id from being given to another array.
        same = found.setdefault(id(times), (times, [], []))
        same[1].append(pair)
        same[2].append(values)
    return iter(found.values())


def _joined(old: bytes, key: int, windows: Windows, cut: Cut) -> Windows:
    try:
        return remade(tierrow.decode(old, key), windows, cut.samples)
    except DAMAGE:
        return windows


def _rows(
    db: sqlite3.Connection, day: int, lines: Ids, targets: Ids
) -> Iterator[tuple[tuple[int, int], bytes]]:
    query = f"""
        SELECT target, line, vals FROM tier
        WHERE level = {LEVEL} AND span = ? AND line {IN_LIST} AND target {IN_LIST}
    """  # noqa: S608
    for target, line, blob in db.execute(query, (day, id_list(lines), id_list(targets))):
        yield (target, line), blob
