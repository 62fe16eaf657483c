"""The index in memory as it is at one time."""

import sqlite3
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fleetpulse.model import Labels
from fleetpulse.storage.embedded.checksums import checksum, mix
from fleetpulse.storage.embedded.damage import Finding
from fleetpulse.storage.embedded.holdings import Holdings
from fleetpulse.storage.embedded.labeltable import Ids, LabelTable

_MERGED_KEPT = 100_000  # some 25 MB
_AT_ONCE = 5000


class State:
    """All that a new generation of the index replaces at once."""

    def __init__(self) -> None:
        self.targets, self.lines = LabelTable(), LabelTable()
        # int32, as there are many where a page has other lines at every scrape.
        self.layouts: dict[int, NDArray[np.int32]] = {}
        self.layout_ids: dict[bytes, int] = {}
        # By digest: the same lines may come again, in a layout that is whole.
        self.lost_layouts: dict[bytes, list[int]] = {}
        self.last_layout = 0
        self.held = Holdings()
        self.merged: dict[tuple[int, int], Labels] = {}

    def catch_up(self, db: sqlite3.Connection) -> list[Finding]:
        """What is new in the file; what is damaged among it."""
        findings: list[Finding] = []
        for table, name in ((self.targets, "target"), (self.lines, "line")):
            # As bytes: SQLite refuses to hand out text that is not UTF-8 any more.
            query = f"SELECT id, CAST(labels AS BLOB), sum FROM {name} WHERE id > ? ORDER BY id"  # noqa: S608
            cursor = db.execute(query, (table.last_id,))
            while rows := cursor.fetchmany(_AT_ONCE):
                lost = [row[0] for row in rows if row[2] != checksum(row[1], key=mix(row[0]))]
                table.extend([row[:2] for row in rows if row[0] not in lost], lost)
                findings += [Finding(name, (entry,)) for entry in lost]
        query = "SELECT id, digest, lines, sum FROM layout WHERE id > ? ORDER BY id"
        for entry, digest, lines, found in db.execute(query, (self.last_layout,)):
            self.last_layout = entry
            if found != checksum(digest, lines, key=mix(entry)):
                self.lost_layouts.setdefault(digest, []).append(entry)
                findings.append(Finding("layout", (entry,)))
            else:
                self._add_layout(entry, digest, np.frombuffer(lines, "<i4"))
        query = "SELECT id, target, layout, from_ms, until_ms FROM held WHERE id > ? ORDER BY id"
        for row in db.execute(query, (self.held.last_id,)):
            # A number that a disk has damaged must not be taken for an index.
            if self.targets.knows(row[1]):
                self.held.add(*row)
        return findings

    def surviving(self, db: sqlite3.Connection) -> "State":
        """A new one without what is no more in the file."""
        new = State()
        for name in ("target", "line"):
            table: LabelTable = getattr(self, f"{name}s")
            gone = np.setdiff1d(table.known(), _column(db, f"SELECT id FROM {name}"))  # noqa: S608
            setattr(new, f"{name}s", table.without(gone))
        there = set(_column(db, "SELECT id FROM layout").tolist())
        new.layouts = {entry: found for entry, found in self.layouts.items() if entry in there}
        new.layout_ids = {one: entry for one, entry in self.layout_ids.items() if entry in there}
        for digest, lost in self.lost_layouts.items():
            if kept := [entry for entry in lost if entry in there]:
                new.lost_layouts[digest] = kept
        new.last_layout = self.last_layout
        return new

    def _add_layout(self, entry: int, digest: bytes, lines: NDArray[np.int32]) -> None:
        self.layouts[entry] = lines
        for lost in self.lost_layouts.pop(digest, ()):
            self.layouts[lost] = lines
        # One with a line that is lost is not used again: its writer makes both anew.
        if not self.lines.lost or not np.isin(lines, self.lines.lost).any():
            self.layout_ids[digest] = entry

    def labels_of(self, pairs: Iterable[tuple[int, int]]) -> list[Labels]:
        if len(self.merged) > _MERGED_KEPT:
            self.merged.clear()
        return [self.merged.get(pair) or self._merge(pair) for pair in pairs]

    def _merge(self, pair: tuple[int, int]) -> Labels:
        labels = self.targets.get(pair[0]).merged(self.lines.get(pair[1]))
        self.merged[pair] = labels
        return labels


def _column(db: sqlite3.Connection, query: str) -> Ids:
    return np.array([value for (value,) in db.execute(query)], np.int64)
