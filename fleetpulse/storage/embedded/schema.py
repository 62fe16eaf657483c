"""The file format of the embedded store: one SQLite file, WAL, 16 KB pages.

All times are Unix milliseconds; all numbers in blobs are little-endian. Each blob has a checksum
(checksums.py) over it and its row's key; a blob whose checksum is wrong is left out of answers and
costs nothing but itself. `sum` of target, line and layout is over labels, or digest and lines.

Index. A series is a target times a line; its labels are `target.merged(line)`.
- target, line: label sets as a flat JSON list [name, value, name, value, …] in the order of the
  names. Ids are never given out twice. A line may hold an empty value (it takes the target's
  label away).
- layout: the ordered lines of a page as int32 line ids, found by model.Layout's digest.
- held: which target had which layout when, both ends inclusive, until_ms rounded up by some
  minutes so that it is seldom rewritten. A row is extended by deleting it and adding a larger one
  with a new id, so a process catches up by reading ids above the largest it knows.
- counter: `generation` goes up when index rows are deleted (then caches start anew), `folds` when
  chunks are rewritten or pages deleted in bulk; `folded_slot` is the last slot that pages were ever
  deleted of (none: no page was).

Data, oldest form first:
- page: one scrape of one target as it came. vals is float64 per line of the layout. All samples of
  a row fall into one slot (a minute), which is what the row is found by: recent slots are a small,
  hot part of the index, however many targets there are. A page that brought its own timestamps is
  stored as one row per slot with times (int64) and cols (int32 position in the layout) beside vals.
  sums: a checksum (uint32) for each 64 values; one over vals, times and cols where there are times.
  The larger id wins where two rows have the same series and time, and pages win over chunks.
- chunk: all samples of one series in one span (two hours), written by compaction. The span comes
  first in the key, so that a compaction writes and a retention deletes neighbouring rows; within
  it, one metric over all targets lies together. vals as in codec.py, the checksum included.
- clock: the timestamps of chunks, shared by the series of a target that were sampled together.
  times as in codec.py; the number of samples is part of the key that the checksum is over.
- tier: what is left of a series' day (level 1: windows of five minutes, span = day): per window the
  number of samples, least, greatest, total, last and what a counter needs to be told of; see
  windows.py and, for vals, tierrow.py. Windows are left-open, so that midnight belongs to the day
  that it ends.
- untiered: days of targets with samples that the tiers do not tell of yet. Compaction adds them;
  whoever makes the tiers, once a day is over or when samples came late, takes them out.
- horizon: by rule of the retention, in the order of the rules, the last one being the default: the
  matchers as a JSON list of [name, operator, value], and before what time samples (raw_ms) and
  tiers (tier_ms) are deleted, even where a longer retention came later.

`PRAGMA user_version` is the version of all this; `application_id` marks the file as ours.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from fleetpulse.errors import StorageError

VERSION = 2
APPLICATION_ID = 0x464C5054  # "FLPT"
PAGE_SIZE = 16384

SLOT_MS = 60_000
SPAN_MS = 7_200_000
SLOTS_PER_SPAN = SPAN_MS // SLOT_MS

_TABLES = """
CREATE TABLE target (
    id INTEGER PRIMARY KEY AUTOINCREMENT, labels TEXT NOT NULL, sum INTEGER
);
CREATE TABLE line (id INTEGER PRIMARY KEY AUTOINCREMENT, labels TEXT NOT NULL, sum INTEGER);
CREATE TABLE layout (
    id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL, lines BLOB NOT NULL, sum INTEGER
);
CREATE TABLE held (
    id INTEGER PRIMARY KEY AUTOINCREMENT, target INTEGER NOT NULL, layout INTEGER NOT NULL,
    from_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL
);
CREATE INDEX held_by_target ON held (target, layout);
CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counter VALUES ('generation', 0), ('folds', 0);
CREATE TABLE metadata (
    name TEXT PRIMARY KEY, type TEXT NOT NULL, help TEXT NOT NULL, unit TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE page (
    id INTEGER PRIMARY KEY, slot INTEGER NOT NULL, target INTEGER NOT NULL, layout INTEGER NOT NULL,
    from_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, vals BLOB NOT NULL, times BLOB, cols BLOB,
    sums BLOB
);
CREATE INDEX page_by_slot ON page (slot, target, layout);
CREATE INDEX page_timed ON page (slot, target, layout) WHERE times IS NOT NULL;
CREATE TABLE chunk (
    span INTEGER, line INTEGER, target INTEGER, clock INTEGER NOT NULL, vals BLOB NOT NULL,
    PRIMARY KEY (span, line, target)
) WITHOUT ROWID;
CREATE TABLE clock (
    span INTEGER, target INTEGER, n INTEGER, samples INTEGER NOT NULL, times BLOB NOT NULL,
    PRIMARY KEY (span, target, n)
) WITHOUT ROWID;
"""

TIER = """
CREATE TABLE tier (
    level INTEGER, span INTEGER, line INTEGER, target INTEGER, vals BLOB NOT NULL,
    PRIMARY KEY (level, span, line, target)
) WITHOUT ROWID;
CREATE TABLE untiered (
    day INTEGER, target INTEGER, PRIMARY KEY (day, target)
) WITHOUT ROWID;
CREATE TABLE horizon (
    place INTEGER PRIMARY KEY, rule TEXT NOT NULL, raw_ms INTEGER NOT NULL, tier_ms INTEGER NOT NULL
);
"""


def create(path: Path) -> None:
    """Makes an empty store at path, unless somebody else just did.

    It is built beside and linked into place, so that no process ever opens half a store.
    OSError and sqlite3.Error rise.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.new-{os.getpid()}")
    draft.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(draft, isolation_level=None)) as db:
            db.execute(f"PRAGMA page_size = {PAGE_SIZE}")
            # Freed pages can be given back to the file system later, which is settled at birth.
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {VERSION}")
            db.executescript(_TABLES + TIER)
        _put_in_place(draft, path)
    finally:
        for ending in ("", "-wal", "-shm", "-journal"):
            draft.with_name(draft.name + ending).unlink(missing_ok=True)


def _put_in_place(draft: Path, path: Path) -> None:
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    except OSError:
        # A file system without hard links. What is left is a moment in which two processes that
        # start for the first time may replace each other's empty store.
        if not path.exists():
            draft.rename(path)


def version_of(db: sqlite3.Connection, path: Path) -> int:
    """The format of the file. StorageError where it is not ours or later than this program."""
    if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise StorageError(
            f"{path} is no FleetPulse store; move it away or choose another data folder",
            retriable=False,
        )
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    if not 0 < version <= VERSION:
        raise StorageError(
            f"{path} has format {version}, this program knows {VERSION}; "
            "run the version of FleetPulse that wrote it",
            retriable=False,
        )
    return version


def verify(db: sqlite3.Connection, path: Path) -> None:
    """StorageError where the file is not one that this program can use as it is."""
    version = version_of(db, path)
    if version < VERSION:
        raise StorageError(
            f"{path} has the older format {version}; the first role that writes to it brings it "
            f"to {VERSION}",
            retriable=True,
        )
