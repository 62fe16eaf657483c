"""Columns of the pages that are not compacted yet, kept in memory between selections.

A page is a target's whole scrape: one line of a thousand targets' last minutes lies in as many
rows as there were scrapes. Rules and dashboards ask for the same lines again and again, and from
one time to the next only the newest rows are new.

What makes this safe: a committed page never changes, its id is above that of every row there is,
and whoever deletes pages raises `folds` in the same transaction and tells the last slot concerned
in `folded_slot`. So, as long as `folds` is the same, rows are only ever added; when it is not, what
lies after that slot is still as it was. A reader that sees an older state of the store than what is
kept here goes without. Rows that are damaged are left to the slow way, which counts and tells them.
"""

import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from fleetpulse.storage.embedded.catalogue import Shape
from fleetpulse.storage.embedded.checksums import mixes
from fleetpulse.storage.embedded.labeltable import Ids
from fleetpulse.storage.embedded.limits import Budget
from fleetpulse.storage.embedded.pages import BLOCK
from fleetpulse.storage.embedded.rowset import RowSet, add_runs, arranged
from fleetpulse.storage.embedded.runs import RunsOf
from fleetpulse.storage.embedded.schema import SLOT_MS
from fleetpulse.storage.embedded.sql import IN_LIST, id_list

MAX_BYTES = 64 << 20
# Fewer targets than this, or than this share of all, are found sooner one by one.
_LEAST_TARGETS = 64
_SHARE = 0.25
_HEAD_BYTES = 24
_NEVER = 1 << 62

_MOMENT = """
    SELECT (SELECT value FROM counter WHERE name = 'folds'),
        (SELECT value FROM counter WHERE name = 'folded_slot'), id, slot,
        (SELECT min(slot) FROM page)
    FROM page ORDER BY id DESC LIMIT 1
"""
# Text and blobs of all rows in one: a tenth of the time that a Python object each would take. The
# plus keeps SQLite from going by slot.
_HEADS = """
    SELECT count(*), group_concat(id), group_concat(layout), group_concat(target),
        group_concat(from_ms)
    FROM page WHERE id > ? AND id <= ? AND +slot >= ? AND times IS NULL
"""
_CELLS = """
    SELECT CAST(group_concat(substr(vals, ?, ?), '') AS BLOB),
        CAST(group_concat(substr(sums, ?, 4), '') AS BLOB)
    FROM page WHERE """


@dataclass(frozen=True, slots=True)
class _Moment:
    """What the reader's transaction sees; last_id and last_slot: of the page written last."""

    folds: int
    folded_slot: int | None
    last_id: int
    last_slot: int


class RecentPages:
    """Safe from any thread: one at a time.

    max_bytes: what is used least recently goes first. least_targets: a selection of fewer is left
    to the caller.
    """

    def __init__(self, max_bytes: int = MAX_BYTES, least_targets: int = _LEAST_TARGETS) -> None:
        self._max_bytes, self._least = max_bytes, least_targets
        self._lock = threading.Lock()  # guards all below
        self._folds = -1
        self._clear()

    def _clear(self) -> None:
        self._rows: dict[int, RowSet] = {}
        # Layouts with rows that are not as they should be.
        self._odd: set[int] = set()
        self._used: dict[tuple[int, int], None] = {}
        self._first_slot, self._last_id, self._last_slot = _NEVER, 0, -_NEVER

    def read_runs(
        self,
        db: sqlite3.Connection,
        shapes: Sequence[Shape],
        held: int,
        bounds: tuple[int, int],
        budget: Budget,
        runs: RunsOf,
    ) -> Sequence[Shape]:
        """Adds what plain pages hold of the shapes to runs; which shapes are left to the caller.

        held: how many targets there are by layout, in all. bounds: Unix ms, both inclusive.
        """
        wanted = sum(len(shape.targets) for shape in shapes)
        if wanted < max(self._least, _SHARE * held):
            return shapes
        with self._lock:
            row = db.execute(_MOMENT).fetchone()
            if row is None:
                return ()
            *told, oldest = row
            moment = _Moment(*told)
            first_slot = max(bounds[0] // SLOT_MS, oldest)
            if not self._catch_up(db, moment, first_slot) or self._too_large(shapes):
                return shapes
            left = [one for one in shapes if not self._read(db, one, moment, bounds, budget, runs)]
            self._trim()
            return left

    def _catch_up(self, db: sqlite3.Connection, moment: _Moment, first_slot: int) -> bool:
        """Whether every row of first_slot and later is known now."""
        if moment.folds < self._folds:
            return False
        if moment.folds > self._folds:
            self._forget(moment)
        after = self._last_id
        if first_slot < self._first_slot:
            self._clear()
            self._first_slot = first_slot
            query = "SELECT min(id) FROM page WHERE slot >= ?"
            least = db.execute(query, (first_slot,)).fetchone()[0]
            after = moment.last_id if least is None else least - 1
        if moment.last_id <= after:
            if moment.last_id > self._last_id:
                self._last_id, self._last_slot = moment.last_id, moment.last_slot
            return True
        if (moment.last_id - after) * _HEAD_BYTES > self._max_bytes // 2:
            self._clear()
            return False
        self._add(db, after, moment)
        return True

    def _forget(self, moment: _Moment) -> None:
        """Pages were deleted: of those that are known, what may be among them goes."""
        folded = moment.folded_slot
        # With the page written last gone too, its id may have been given to another.
        if folded is None or self._last_slot <= folded:
            self._clear()
        elif folded >= self._first_slot:
            self._first_slot = folded + 1
            for layout, rows in list(self._rows.items()):
                rows.since(self._first_slot * SLOT_MS)
                if not len(rows.ids):
                    del self._rows[layout]
        self._odd.clear()
        self._folds = moment.folds

    def _add(self, db: sqlite3.Connection, after: int, moment: _Moment) -> None:
        query = (after, moment.last_id, self._first_slot)
        count, *texts = db.execute(_HEADS, query).fetchone()
        if count:
            ids, layouts, targets, at = (np.fromstring(one, np.int64, sep=",") for one in texts)
            order = np.argsort(layouts, kind="stable")
            found, starts = np.unique(layouts[order], return_index=True)
            parts = np.split(order, starts[1:])
            for layout, part in zip(found.tolist(), parts, strict=True):
                rows = self._rows.setdefault(layout, RowSet())
                rows.extend(ids[part], targets[part], at[part])
        self._last_id, self._last_slot = moment.last_id, moment.last_slot

    def _too_large(self, shapes: Sequence[Shape]) -> bool:
        """What would leave no room for anything else is not worth to be kept."""
        cells = (
            len(self._rows[shape.layout].ids) * len(shape.columns)
            for shape in shapes
            if shape.layout in self._rows
        )
        return 8 * sum(cells) > self._max_bytes // 2

    def _read(
        self,
        db: sqlite3.Connection,
        shape: Shape,
        moment: _Moment,
        bounds: tuple[int, int],
        budget: Budget,
        runs: RunsOf,
    ) -> bool:
        """False where it must be read otherwise."""
        rows = self._rows.get(shape.layout)
        if rows is None:
            return True
        if shape.layout in self._odd:
            return False
        count = rows.until(moment.last_id)
        picked = _picked(rows, count, shape.targets, bounds)
        if not len(picked):
            return True
        targets = len(np.unique(rows.targets.first(count)[picked]))
        size = len(picked) * len(shape.columns), targets * len(shape.columns)
        budget.take_samples(*size)
        if not self._fill(db, rows, shape, count):
            budget.give_back(*size)
            self._odd.add(shape.layout)
            return False
        _add(rows, picked, shape, runs)
        return True

    def _fill(self, db: sqlite3.Connection, rows: RowSet, shape: Shape, count: int) -> bool:
        """Makes the shape's columns known of the first count rows; False where one is damaged."""
        columns = shape.columns.tolist()
        for column in columns:
            self._used.pop((shape.layout, column), None)
            self._used[shape.layout, column] = None
        short = [column for column in columns if rows.filled(column) < count]
        for block, among in groupby(short, key=lambda column: column // BLOCK):
            parts = list(among)
            begin = min(map(rows.filled, parts))
            cells = _cells(db, rows, shape, block, self._first_slot, range(begin, count))
            if cells is None:
                return False
            for column in parts:
                rows.fill(column, cells[rows.filled(column) - begin :, column % BLOCK])
        return True

    def _trim(self) -> None:
        size = sum(rows.nbytes for rows in self._rows.values())
        for layout, column in list(self._used):
            if size <= self._max_bytes:
                return
            del self._used[layout, column]
            if layout in self._rows:
                gone = self._rows[layout].columns.pop(column, None)
                size -= 0 if gone is None else gone.nbytes
        if size > self._max_bytes:
            self._clear()


def _picked(rows: RowSet, count: int, targets: Ids, bounds: tuple[int, int]) -> NDArray[np.intp]:
    """Where the rows of some targets in some time are."""
    at, target_of = rows.at.first(count), rows.targets.first(count)
    picked = np.flatnonzero((at >= bounds[0]) & (at <= bounds[1]))
    if not len(picked):
        return picked
    target_of = target_of[picked]
    wanted = np.zeros(max(int(target_of.max()), int(targets[-1])) + 1, bool)
    wanted[targets] = True
    mine = wanted[target_of]
    return picked if mine.all() else picked[mine]


def _add(rows: RowSet, picked: NDArray[np.intp], shape: Shape, runs: RunsOf) -> None:
    count = int(picked[-1]) + 1
    ids, target_of, at = (part.first(count)[picked] for part in (rows.ids, rows.targets, rows.at))
    order = arranged(target_of, at, ids)
    picked = picked[order]
    values = np.empty((len(shape.columns), len(picked)))
    for place, column in enumerate(shape.columns.tolist()):
        rows.columns[column].first(count).take(picked, out=values[place])
    add_runs(runs, shape.lines, target_of[order], at[order], ids[order], values)


def _cells(
    db: sqlite3.Connection, rows: RowSet, shape: Shape, block: int, first_slot: int, wanted: range
) -> NDArray[np.float64] | None:
    """(rows, columns of the block); None where a checksum is wrong, missing, or a row is gone."""
    width = min(BLOCK, shape.width - block * BLOCK)
    ids = rows.ids.first(wanted.stop)[wanted.start :]
    where, among = _where(ids, shape.layout, first_slot)
    cut = (8 * block * BLOCK + 1, 8 * width, 4 * block + 1)
    blob, sums = db.execute(_CELLS + where, (*cut, *among)).fetchone()
    if blob is None or len(blob) != 8 * width * len(ids) or len(sums or b"") != 4 * len(ids):
        return None
    view = memoryview(blob)
    parts = [view[at : at + 8 * width] for at in range(0, len(blob), 8 * width)]
    found = np.fromiter(map(crc32, parts), np.uint32, len(ids))
    targets, at = (part.first(wanted.stop)[wanted.start :] for part in (rows.targets, rows.at))
    # The checksums are mixed with the rows' keys: one that is not the row meant would show.
    if ((found ^ mixes(targets, shape.layout, at)) != np.frombuffer(sums, "<u4")).any():
        return None
    return np.frombuffer(blob, "<f8").reshape(len(ids), width)


def _where(ids: Ids, layout: int, first_slot: int) -> tuple[str, tuple[int | str, ...]]:
    """Exactly the rows of these ids, which are all plain ones of the layout in their range."""
    if len(ids) < _SHARE * (int(ids[-1]) - int(ids[0]) + 1):
        return f"id {IN_LIST}", (id_list(ids),)
    where = "id BETWEEN ? AND ? AND +layout = ? AND +slot >= ? AND times IS NULL"
    return where, (int(ids[0]), int(ids[-1]), layout, first_slot)
