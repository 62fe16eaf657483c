"""Deletes rows of the index that nothing needs any more.

What nobody needs is found by reading, while others write; so each transaction that deletes some of
it looks at what was written since. After each, every process forgets its copy of the index, and
with it the ids that are gone, which takes it some time: therefore there are few, and what is left
over is for the next time.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fleetpulse.storage.embedded.checksums import checksum, mix
from fleetpulse.storage.embedded.database import Database
from fleetpulse.storage.embedded.labeltable import Ids
from fleetpulse.storage.embedded.pace import Pace
from fleetpulse.storage.embedded.sql import IN_LIST, id_list
from fleetpulse.storage.embedded.steps import Step, parts

_ROWS_AT_ONCE = 20_000
_PARTS_MAX = 8

# In this order none refers to a row that is gone before it.
_DELETES = {
    table: f"DELETE FROM {table} WHERE id = ?"  # noqa: S608
    for table in ("held", "layout", "target", "line")
}
_TABLES = {sql: table for table, sql in _DELETES.items()}


@dataclass(frozen=True, slots=True)
class _Unused:
    """Ids by table, as they were when these were the last rows of held and layout."""

    last_held: int
    last_layout: int
    ids: dict[str, Ids]

    def steps(self) -> list[Step]:
        return [
            Step(sql, [(entry,) for entry in self.ids[table].tolist()])
            for table, sql in _DELETES.items()
        ]


class IndexSweep:
    """Call it under the housekeeping lock."""

    def __init__(self, database: Database, pace: Pace) -> None:
        self._database, self._pace = database, pace

    def run(self, before_ms: int) -> tuple[int, int]:
        """Deletes what nobody held since before_ms: how many targets and lines went."""
        with self._database.reading() as db:
            unused = _unused(db, before_ms)
        went = dict.fromkeys(_DELETES, 0)
        for number, part in enumerate(parts(unused.steps(), self._most)):
            if number == _PARTS_MAX:
                break
            with self._pace.turn(), self._database.writing() as db:
                for step in _still_unused(db, part, unused):
                    db.executemany(step.sql, step.rows)
                    went[_TABLES[step.sql]] += len(step.rows)
                db.execute("UPDATE counter SET value = value + 1 WHERE name = 'generation'")
        return went["target"], went["line"]

    def _most(self) -> int:
        return self._pace.of(_ROWS_AT_ONCE)


def _unused(db: sqlite3.Connection, before_ms: int) -> _Unused:
    held = np.array(
        db.execute("SELECT id, target, layout, until_ms < ? FROM held", (before_ms,)).fetchall(),
        np.int64,
    ).reshape(-1, 4)
    live = held[held[:, 3] == 0]
    layouts = _column(db, "SELECT id FROM layout")
    ids = {
        "held": held[held[:, 3] == 1, 0],
        "layout": np.setdiff1d(layouts, live[:, 2]),
        "target": np.setdiff1d(_column(db, "SELECT id FROM target"), live[:, 1]),
    }
    used = _lines_of(db, np.setdiff1d(layouts, ids["layout"]))
    lines = _column(db, "SELECT id FROM line")
    ids["line"] = lines[:0] if used is None else np.setdiff1d(lines, used)
    return _Unused(int(held[:, 0].max(initial=0)), int(layouts.max(initial=0)), ids)


def _still_unused(db: sqlite3.Connection, part: list[Step], unused: _Unused) -> Iterator[Step]:
    """Without what was written of since, by writers that knew it still."""
    query = "SELECT target, layout FROM held WHERE id > ?"
    held = db.execute(query, (unused.last_held,)).fetchall()
    newer = _column(db, f"SELECT id FROM layout WHERE id > {unused.last_layout}")  # noqa: S608
    layouts = {layout for _, layout in held}
    lines = _lines_of(db, np.union1d(newer, np.array(sorted(layouts), np.int64)))
    used: dict[str, set[int] | None] = {
        "held": set(),
        "layout": layouts,
        "target": {target for target, _ in held},
        "line": None if lines is None else set(lines.tolist()),
    }
    for step in part:
        among = used[_TABLES[step.sql]]
        if among is not None:
            yield Step(step.sql, [row for row in step.rows if row[0] not in among])


def _lines_of(db: sqlite3.Connection, layouts: Ids) -> Ids | None:
    """All lines of some layouts; None where one is damaged: who knows which lines it needs."""
    query = f"SELECT id, digest, lines, sum FROM layout WHERE id {IN_LIST}"  # noqa: S608
    used = []
    for entry, digest, lines, found in db.execute(query, (id_list(layouts),)):
        if found != checksum(digest, lines, key=mix(entry)):
            return None
        used.append(lines)
    return np.frombuffer(b"".join(used), "<i4").astype(np.int64)


def _column(db: sqlite3.Connection, query: str) -> Ids:
    return np.array([value for (value,) in db.execute(query)], np.int64)
