"""Looks at every blob of a store and tells what is not what was written."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fleetpulse.errors import StorageError
from fleetpulse.storage.embedded import pages, tierrow
from fleetpulse.storage.embedded.checksums import checksum, mix
from fleetpulse.storage.embedded.codec import DAMAGE, decode_times, decode_values, is_sealed
from fleetpulse.storage.embedded.damage import Finding
from fleetpulse.storage.embedded.database import Database, fault

_FINDINGS_OF_SQLITE = 100

_PAGES = """
    SELECT id, target, layout, from_ms, until_ms, vals, times, cols, sums FROM page
    WHERE id > ? ORDER BY id LIMIT 2000
"""
_CLOCKS = "SELECT span, target, n, samples, times FROM clock WHERE span = ?"
_CHUNKS = """
    SELECT chunk.span, line, chunk.target, clock, vals, samples FROM chunk LEFT JOIN clock
    ON clock.span = chunk.span AND clock.target = chunk.target AND clock.n = chunk.clock
    WHERE chunk.span = ?
"""
_TIERS = """
    SELECT level, span, line, target, vals FROM tier
    WHERE (level, span, line, target) > (?, ?, ?, ?)
    ORDER BY level, span, line, target LIMIT 2000
"""
_NEXT_SPAN = """
    SELECT min(span) FROM (
        SELECT min(span) AS span FROM chunk WHERE span > :after
        UNION ALL SELECT min(span) FROM clock WHERE span > :after
    )
"""


@dataclass(slots=True)
class Verification:
    """What was looked at, and what is wrong with it. unsealed: blobs that have no checksum yet."""

    blobs: int = 0
    unsealed: int = 0
    findings: list[str] = field(default_factory=list)


def verify(path: Path) -> Verification:
    """Reads the whole store, in transactions short enough not to be in anybody's way.

    StorageError where there is no store to look at.
    """
    found = Verification()
    database = Database(path, read_only=True)
    try:
        for part in (_check_file, _check_index, _check_pages, _check_chunks, _check_tiers):
            try:
                part(database, found)
            except (StorageError, sqlite3.Error) as err:
                # One part of the file cannot be walked through; another may be.
                error = err if isinstance(err, StorageError) else fault(path, err)
                found.findings.append(str(error))
    finally:
        database.close()
    return found


def _check_file(database: Database, found: Verification) -> None:
    with database.reading() as db:
        for (text,) in db.execute(f"PRAGMA integrity_check({_FINDINGS_OF_SQLITE})"):
            if text != "ok":
                found.findings.append(f"SQLite: {text}")


def _check_index(database: Database, found: Verification) -> None:
    with database.reading() as db:
        for table, columns in (
            ("target", "CAST(labels AS BLOB)"),
            ("line", "CAST(labels AS BLOB)"),
            ("layout", "digest, lines"),
        ):
            query = f"SELECT id, sum, {columns} FROM {table}"  # noqa: S608
            for entry, told, *blobs in db.execute(query):
                _note(found, table, (entry,), told == checksum(*blobs, key=mix(entry)))


def _check_pages(database: Database, found: Verification) -> None:
    last: int | None = 0
    while last is not None:
        with database.reading() as db:
            rows = db.execute(_PAGES, (last,)).fetchall()
        for row in rows:
            found.unsealed += row[-1] is None
            _note(found, "page", row[:1], pages.is_intact(row))
        last = rows[-1][0] if rows else None


def _check_chunks(database: Database, found: Verification) -> None:
    for span in _spans(database):
        with database.reading() as db:
            clocks, chunks = db.execute(_CLOCKS, (span,)).fetchall(), db.execute(_CHUNKS, (span,))
            for *key, blob in clocks:
                found.unsealed += not is_sealed(blob or b"\xff")
                _note(found, "clock", tuple(key[:3]), _decodes(decode_times, blob, key[3], key))
            for *key, blob, samples in chunks:
                found.unsealed += not is_sealed(blob or b"\xff")
                right = samples is not None and _decodes(decode_values, blob, samples, key)
                _note(found, "chunk", tuple(key[:3]), right)


def _check_tiers(database: Database, found: Verification) -> None:
    key: tuple[int, ...] | None = (-(1 << 62), 0, 0, 0)
    while key is not None:
        with database.reading() as db:
            rows = db.execute(_TIERS, key).fetchall()
        for *own, blob in rows:
            _note(found, "tier", tuple(own), _is_tier(blob, own))
        key = tuple(rows[-1][:4]) if rows else None


def _is_tier(blob: bytes, key: Sequence[int]) -> bool:
    try:
        tierrow.decode(blob, mix(*key))
    except DAMAGE:
        return False
    return True


def _decodes(
    decode: Callable[[bytes, int, int], object], blob: bytes, count: int, key: Sequence[int]
) -> bool:
    try:
        decode(blob, count, mix(*key))
    except DAMAGE:
        return False
    return True


def _spans(database: Database) -> Iterator[int]:
    span: int | None = None
    while True:
        after = -(1 << 62) if span is None else span
        with database.reading() as db:
            span = db.execute(_NEXT_SPAN, {"after": after}).fetchone()[0]
        if span is None:
            return
        yield span


def _note(found: Verification, kind: str, key: tuple[int, ...], right: bool) -> None:
    found.blobs += 1
    if not right:
        found.findings.append(f"{Finding(kind, key)} is damaged")
