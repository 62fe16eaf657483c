"""Takes pages in: interns what is new and adds the rows, in one transaction."""

import sqlite3
from collections.abc import Mapping, Sequence

import numpy as np

from fleetpulse.errors import StorageError
from fleetpulse.model import Labels, Layout, Metadata, Page, Part
from fleetpulse.storage.embedded import pages
from fleetpulse.storage.embedded.catalogue import Catalogue
from fleetpulse.storage.embedded.checksums import checksum, mix
from fleetpulse.storage.embedded.database import Database
from fleetpulse.storage.embedded.holdings import GAP_MS
from fleetpulse.storage.embedded.labeltable import dump_labels

# How far a row of `held` reaches beyond the page that made it, so that it is not rewritten for
# each. Label queries may show a series for this long after its end; selections never do.
_AHEAD_MS = 300_000

_TIME_MAX_MS = 1 << 52

# To catch up with the index while others do not wait.
_ATTEMPTS = 3


class Writer:
    """A SampleWriter (storage/base.py) of the embedded store."""

    def __init__(self, database: Database, catalogue: Catalogue) -> None:
        self._database, self._catalogue = database, catalogue
        self._described: dict[str, Metadata] = {}

    def write(self, pages_: Sequence[Page]) -> None:
        for page in pages_:
            _check_times(page)
        if not any(page.values for page in pages_):
            return
        attempts = _ATTEMPTS
        while not self._insert(pages_, patient=attempts > 0):
            # Learning an index that is large takes a while, in which others may write.
            with self._database.reading() as db:
                self._catalogue.refresh(db)
            attempts -= 1

    def _insert(self, pages_: Sequence[Page], *, patient: bool) -> bool:
        """False: not yet, as there is much to learn first, and the caller is patient."""
        with self._database.writing() as db:
            if patient and not self._catalogue.is_near(db):
                return False
            self._catalogue.refresh(db)
            interning = _Interning(db, self._catalogue)
            rows: list[pages.Row] = []
            for page in pages_:
                if page.values:
                    rows.extend(interning.rows_of(page))
            interning.hold(rows)
            db.executemany(pages.INSERT, rows)
        return True

    def describe(self, metadata: Mapping[str, Metadata]) -> None:
        # Pages repeat their metadata at each scrape; only what is new to this process is written.
        news = {name: told for name, told in metadata.items() if self._described.get(name) != told}
        if not news:
            return
        rows = [(name, told.type, told.help, told.unit) for name, told in news.items()]
        with self._database.writing() as db:
            db.executemany("INSERT OR REPLACE INTO metadata VALUES (?, ?, ?, ?)", rows)
        self._described.update(news)


def _check_times(page: Page) -> None:
    times = page.times_ms if page.times_ms else (page.at_ms,)
    if max(times) > _TIME_MAX_MS or min(times) < -_TIME_MAX_MS:
        raise StorageError(
            f"a page of {page.target} has a timestamp far out of range; write Unix milliseconds",
            retriable=False,
        )


class _Interning:
    """Ids for one transaction's targets, layouts and lines. What is new stays in here.

    The catalogue learns it from the file once it is committed, and so never has to forget.
    """

    def __init__(self, db: sqlite3.Connection, catalogue: Catalogue) -> None:
        self._db, self._catalogue = db, catalogue
        self._targets: dict[Labels, int] = {}
        self._lines: dict[Labels, int] = {}
        self._layouts: dict[bytes, int] = {}

    def rows_of(self, page: Page) -> "list[pages.Row]":
        target = self._target(page.target)
        layout = page.layout.whole if isinstance(page.layout, Part) else page.layout
        return list(pages.rows_of(page, target, self._layout(layout)))

    def _target(self, labels: Labels) -> int:
        known = self._catalogue.target_id(labels) or self._targets.get(labels)
        if known is None:
            known = self._targets[labels] = self._insert("target", labels)
        return known

    def _line(self, labels: Labels) -> int:
        known = self._catalogue.line_id(labels) or self._lines.get(labels)
        if known is None:
            known = self._lines[labels] = self._insert("line", labels)
        return known

    def _layout(self, layout: Layout) -> int:
        digest = layout.digest
        known = self._catalogue.layout_id(digest) or self._layouts.get(digest)
        if known is None:
            lines = np.array([self._line(line) for line in layout.lines], "<i4").tobytes()
            query = "INSERT INTO layout (digest, lines) VALUES (?, ?)"
            known = self._last_id(self._db.execute(query, (digest, lines)))
            self._layouts[digest] = known
            self._sum("layout", known, digest, lines)
        return known

    def _insert(self, table: str, labels: Labels) -> int:
        query = f"INSERT INTO {table} (labels) VALUES (?)"  # noqa: S608
        text = dump_labels(labels)
        entry = self._last_id(self._db.execute(query, (text,)))
        self._sum(table, entry, text.encode())
        return entry

    def _sum(self, table: str, entry: int, *blobs: bytes) -> None:
        # The id is part of it, and known only once the row is there.
        query = f"UPDATE {table} SET sum = ? WHERE id = ?"  # noqa: S608
        self._db.execute(query, (checksum(*blobs, key=mix(entry)), entry))

    @staticmethod
    def _last_id(cursor: sqlite3.Cursor) -> int:
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def hold(self, rows: "Sequence[pages.Row]") -> None:
        """Makes `held` cover the rows."""
        missing: dict[tuple[int, int], tuple[int, int]] = {}
        for _slot, target, layout, from_ms, until_ms, *_blobs in rows:
            if self._catalogue.covers(target, layout, from_ms, until_ms):
                continue
            first, last = missing.get((target, layout), (from_ms, until_ms))
            missing[target, layout] = (min(first, from_ms), max(last, until_ms))
        for (target, layout), (from_ms, until_ms) in missing.items():
            self._extend(target, layout, from_ms, until_ms + _AHEAD_MS)

    def _extend(self, target: int, layout: int, from_ms: int, until_ms: int) -> None:
        near = (target, layout, from_ms - GAP_MS, until_ms + GAP_MS)
        where = "target = ? AND layout = ? AND until_ms >= ? AND from_ms <= ?"
        query = f"SELECT min(from_ms), max(until_ms) FROM held WHERE {where}"  # noqa: S608
        first, last = self._db.execute(query, near).fetchone()
        if first is not None:
            from_ms, until_ms = min(first, from_ms), max(last, until_ms)
            self._db.execute(f"DELETE FROM held WHERE {where}", near)  # noqa: S608
        self._db.execute(
            "INSERT INTO held (target, layout, from_ms, until_ms) VALUES (?, ?, ?, ?)",
            (target, layout, from_ms, until_ms),
        )
