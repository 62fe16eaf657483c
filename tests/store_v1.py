"""Writes a store of format 1, as the first version of FleetPulse did, by SQL and bytes alone."""

import json
import sqlite3
import struct
from array import array
from contextlib import closing
from pathlib import Path

import numpy as np
from pcodec import ChunkConfig
from pcodec.standalone import simple_compress

from fleetpulse.model import STALE_NAN, Labels, Layout
from tests.store_fakes import MINUTE, T0, line

SPAN_MS, SLOT_MS = 120 * MINUTE, MINUTE

_TABLES = """
PRAGMA page_size = 16384;
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
PRAGMA application_id = 0x464C5054;
PRAGMA user_version = 1;
CREATE TABLE target (id INTEGER PRIMARY KEY AUTOINCREMENT, labels TEXT NOT NULL);
CREATE TABLE line (id INTEGER PRIMARY KEY AUTOINCREMENT, labels TEXT NOT NULL);
CREATE TABLE layout (
    id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL, lines BLOB NOT NULL
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
    from_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, vals BLOB NOT NULL, times BLOB, cols BLOB
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
CREATE TABLE tier (
    level INTEGER, span INTEGER, line INTEGER, target INTEGER, windows BLOB NOT NULL,
    samples BLOB NOT NULL, least BLOB NOT NULL, greatest BLOB NOT NULL, total BLOB NOT NULL,
    last BLOB NOT NULL, increase BLOB NOT NULL,
    PRIMARY KEY (level, span, line, target)
) WITHOUT ROWID;
"""

HOST = Labels.of(host="h", note='a "quoted" ü')
LINES = tuple(line("m", kind=kind) for kind in ("constant", "packed", "raw", "stale"))
SPANS = 3


def _times(span: int) -> np.ndarray:
    return T0 + span * SPAN_MS + np.arange(100) * MINUTE


def _bodies(span: int) -> dict[bytes, np.ndarray]:
    """A series of each kind of blob: what it starts with, and its values."""
    counter = np.cumsum(np.arange(100.0) + span)
    noise = np.random.default_rng(span).random(100)
    stale = np.full(100, 7.0)
    stale[-1] = STALE_NAN
    return {b"c": np.full(100, 5.0), b"p": counter, b"r": noise, b"s": stale}


def _blob(kind: bytes, values: np.ndarray) -> bytes:
    if kind == b"c":
        return kind + values[:1].tobytes()
    if kind == b"p":
        return kind + bytes(simple_compress(values, ChunkConfig(compression_level=4)))
    if kind == b"s":
        return kind + struct.pack("<II", 1, 99) + b"c" + values[:1].tobytes()
    return kind + values.tobytes()


def samples() -> dict[Labels, dict[int, float]]:
    """What a store of build() answers."""
    found: dict[Labels, dict[int, float]] = {HOST.merged(one): {} for one in LINES}
    for span in range(SPANS):
        for one, values in zip(LINES, _bodies(span).values(), strict=True):
            found[HOST.merged(one)].update(zip(_times(span).tolist(), values.tolist(), strict=True))
    for number, one in enumerate(LINES):
        found[HOST.merged(one)][_last_ms()] = float(number)
        found[HOST.merged(one)][_last_ms() + 1000 + number] = 9.5
    return found


def _last_ms() -> int:
    return T0 + SPANS * SPAN_MS


def build(path: Path) -> None:
    """Three spans of chunks, a page, and a page with times of its own."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(_TABLES)
        for table, sets in (("target", [HOST]), ("line", LINES)):
            for labels in sets:
                flat = json.dumps([text for pair in labels for text in pair], ensure_ascii=False)
                db.execute(f"INSERT INTO {table} (labels) VALUES (?)", (flat,))
        ids = np.arange(1, len(LINES) + 1, dtype="<i4").tobytes()
        digest = Layout(LINES).digest
        db.execute("INSERT INTO layout (digest, lines) VALUES (?, ?)", (digest, ids))
        held = (T0, _last_ms() + SPAN_MS)
        db.execute("INSERT INTO held VALUES (1, 1, 1, ?, ?)", held)
        for span in range(SPANS):
            number, times = T0 // SPAN_MS + span, _times(span)
            regular = b"t" + struct.pack("<qq", int(times[0]), MINUTE)
            db.execute("INSERT INTO clock VALUES (?, 1, 0, 100, ?)", (number, regular))
            for entry, (kind, values) in enumerate(_bodies(span).items(), 1):
                blob = _blob(kind, values)
                db.execute("INSERT INTO chunk VALUES (?, ?, 1, 0, ?)", (number, entry, blob))
        at, values_now = _last_ms(), array("d", range(len(LINES))).tobytes()
        query = "INSERT INTO page VALUES (NULL, ?, 1, 1, ?, ?, ?, ?, ?)"
        db.execute(query, (at // SLOT_MS, at, at, values_now, None, None))
        own = at + 1000 + np.arange(len(LINES), dtype=np.int64)
        columns = np.arange(len(LINES), dtype="<i4").tobytes()
        blobs = (np.full(len(LINES), 9.5).tobytes(), own.tobytes(), columns)
        db.execute(query, (at // SLOT_MS, int(own[0]), int(own[-1]), *blobs))
