"""What there is to know about a store without reading it all."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from fleetpulse.storage.embedded.schema import SLOT_MS, SPAN_MS


@dataclass(frozen=True, slots=True)
class Stats:
    """bytes: file and write-ahead log. pages: not compacted yet.

    oldest_ms and newest_ms bound the samples, to the two hours and to the minute; None when empty.
    """

    bytes: int
    free_bytes: int
    pages: int
    targets: int
    lines: int
    layouts: int
    oldest_ms: int | None
    newest_ms: int | None


def read_stats(db: sqlite3.Connection, path: Path, counts: tuple[int, int, int]) -> Stats:
    """counts: targets, lines, layouts."""
    first_slot, last_slot, first_span, last_span, pages = db.execute(
        "SELECT (SELECT min(slot) FROM page), (SELECT max(slot) FROM page),"
        " (SELECT min(span) FROM chunk), (SELECT max(span) FROM chunk),"
        " (SELECT count(*) FROM page)"
    ).fetchone()
    page_size = db.execute("PRAGMA page_size").fetchone()[0]
    free = db.execute("PRAGMA freelist_count").fetchone()[0] * page_size
    starts = _times((first_slot, SLOT_MS, 0), (first_span, SPAN_MS, 0))
    ends = _times((last_slot, SLOT_MS, 1), (last_span, SPAN_MS, 1))
    return Stats(
        _size(path) + _size(path.with_name(f"{path.name}-wal")), free, pages, *counts,
        min(starts, default=None), max(ends, default=None),
    )  # fmt: skip


def _times(*marks: tuple[int | None, int, int]) -> list[int]:
    return [(mark + ends) * unit - ends for mark, unit, ends in marks if mark is not None]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
