"""Deletes rows of chunks and tiers that are before the horizon of their rule."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fleetpulse.storage.embedded import horizon
from fleetpulse.storage.embedded.catalogue import Catalogue
from fleetpulse.storage.embedded.database import Database
from fleetpulse.storage.embedded.horizon import Horizon
from fleetpulse.storage.embedded.labeltable import Ids
from fleetpulse.storage.embedded.pace import Pace
from fleetpulse.storage.embedded.schema import SPAN_MS
from fleetpulse.storage.embedded.sql import IN_LIST, id_list
from fleetpulse.storage.embedded.windows import DAY_MS

_AT_ONCE = 5000


@dataclass(frozen=True, slots=True)
class _Table:
    """unit_ms: how long a span is; where: what its rows have in common; mark: in Horizon."""

    name: str
    unit_ms: int
    where: str
    mark: str

    def spans_before(self, db: sqlite3.Connection, end: int) -> list[int]:
        query = f"""
            WITH RECURSIVE found(span) AS (
                SELECT min(span) FROM {self.name} WHERE {self.where}
                UNION ALL
                SELECT (SELECT min(span) FROM {self.name} WHERE {self.where} AND span > found.span)
                FROM found WHERE found.span < ?
            )
            SELECT span FROM found WHERE span < ?
        """  # noqa: S608
        return [span for (span,) in db.execute(query, (end, end))]

    def ends(self, horizons: Sequence[Horizon]) -> list[int]:
        """By rule, the first span that stays."""
        return [getattr(one, self.mark) // self.unit_ms for one in horizons]


_CHUNK = _Table("chunk", SPAN_MS, "1", "raw_ms")
_TIER = _Table("tier", DAY_MS, "level = 1", "tier_ms")


class Sweep:
    """Call it under the housekeeping lock."""

    def __init__(self, database: Database, catalogue: Catalogue, pace: Pace) -> None:
        self._database, self._catalogue, self._pace = database, catalogue, pace

    def chunks(self, old: Sequence[Horizon], new: Sequence[Horizon]) -> int:
        return self._table(_CHUNK, old, new)

    def tiers(self, old: Sequence[Horizon], new: Sequence[Horizon]) -> int:
        return self._table(_TIER, old, new)

    def late(self, horizons: Sequence[Horizon], day: int, targets: Sequence[int]) -> None:
        """The expired rows of some targets in a day, and at the midnight that ends it."""
        first = day * DAY_MS // SPAN_MS
        for span in range(first, first + DAY_MS // SPAN_MS + 1):
            self._span(_CHUNK, span, horizons, targets)
        self._span(_TIER, day, horizons, targets)

    def oldest(self) -> int:
        """The oldest span of chunks or day of tiers, whichever began first; how many rows went.

        The newest span of all is never touched.
        """
        with self._database.reading() as db:
            span, newest = db.execute("SELECT min(span), max(span) FROM chunk").fetchone()
            day = db.execute("SELECT min(span) FROM tier WHERE level = 1").fetchone()[0]
        if day is not None and (span is None or day * DAY_MS <= span * SPAN_MS):
            self._raise(tier_ms=(day + 1) * DAY_MS)
            return self._delete(_TIER, day, None)
        if span is None or span == newest:
            return 0
        self._raise(raw_ms=(span + 1) * SPAN_MS)
        return self._delete(_CHUNK, span, None)

    def _raise(self, raw_ms: int = -(1 << 62), tier_ms: int = -(1 << 62)) -> None:
        with self._database.writing() as db:
            horizons = horizon.load(db) or [Horizon((), raw_ms, tier_ms)]
            raised = [
                replace(one, raw_ms=max(one.raw_ms, raw_ms), tier_ms=max(one.tier_ms, tier_ms))
                for one in horizons
            ]
            horizon.save(db, raised)

    def _table(self, table: _Table, old: Sequence[Horizon], new: Sequence[Horizon]) -> int:
        ends, begins = table.ends(new), table.ends(old)
        known = [one.rule for one in old] == [one.rule for one in new]
        with self._database.reading() as db:
            self._catalogue.refresh(db)
            spans = table.spans_before(db, max(ends))
        total = 0
        for span in spans:
            # What no rule has let go since the last time was looked through then.
            news = any(begin <= span < end for begin, end in zip(begins, ends, strict=False))
            if news or not known or len(new) == 1:
                total += self._span(table, span, new, None)
        return total

    def _span(
        self,
        table: _Table,
        span: int,
        horizons: Sequence[Horizon],
        targets: Sequence[int] | None,
    ) -> int:
        """Deletes of a span what is expired, of some targets or of all."""
        gone = np.array([span < end for end in table.ends(horizons)])
        if not gone.any():
            return 0
        if gone.all() and targets is None:
            return self._delete(table, span, None)
        rows = self._rows(table, span, targets)
        if not len(rows):
            return 0
        if not gone.all():
            rules = [one.matchers for one in horizons]
            rows = rows[gone[self._catalogue.rule_of(rules, rows[:, 0], rows[:, 1])]]
        return self._delete(table, span, rows)

    def _rows(self, table: _Table, span: int, targets: Sequence[int] | None) -> Ids:
        """int64 (rows, 2): line and target."""
        among = "" if targets is None else f"AND target {IN_LIST}"
        query = f"SELECT line, target FROM {table.name} WHERE {table.where} AND span = ? {among}"  # noqa: S608
        listed = () if targets is None else (id_list(targets),)
        with self._database.reading() as db:
            self._catalogue.refresh(db)
            found = db.execute(query, (span, *listed)).fetchall()
        return np.array(found, np.int64).reshape(-1, 2)

    def _delete(self, table: _Table, span: int, rows: Ids | None) -> int:
        """Rows of a span, or all of it."""
        total = 0
        while True:
            most = self._pace.of(_AT_ONCE)
            with self._pace.turn(), self._database.writing() as db:
                if rows is None:
                    count = _delete_some(db, table, span, most)
                else:
                    part = rows[total : total + most].tolist()
                    query = f"DELETE FROM {table.name} WHERE {table.where} AND span = ? AND line = ? AND target = ?"  # noqa: E501, S608
                    db.executemany(query, [(span, *pair) for pair in part])
                    count = len(part)
                if count:
                    db.execute("UPDATE counter SET value = value + 1 WHERE name = 'folds'")
                if count < most and table is _CHUNK:
                    _delete_clocks(db, span)
            total += count
            if count < most:
                return total


def _delete_some(db: sqlite3.Connection, table: _Table, span: int, most: int) -> int:
    inner = f"SELECT line, target FROM {table.name} WHERE {table.where} AND span = ? LIMIT ?"  # noqa: S608
    query = (
        f"DELETE FROM {table.name} WHERE {table.where} AND span = ? AND (line, target) IN ({inner})"  # noqa: S608
    )
    return db.execute(query, (span, span, most)).rowcount


def _delete_clocks(db: sqlite3.Connection, span: int) -> None:
    """Those that no chunk of the span needs any more."""
    db.execute(
        "DELETE FROM clock WHERE span = ? AND (target, n) NOT IN"
        " (SELECT target, clock FROM chunk WHERE span = ?)",
        (span, span),
    )
