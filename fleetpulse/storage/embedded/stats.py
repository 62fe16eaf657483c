"""What there is to know about a store without reading it all."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from fleetpulse.storage.embedded.schema import SLOT_MS, SPAN_MS
from fleetpulse.storage.embedded.untiered import LEVEL
from fleetpulse.storage.embedded.windows import DAY_MS

_MARKS = f"""
    SELECT (SELECT min(slot) FROM page), (SELECT max(slot) FROM page),
        (SELECT min(span) FROM chunk), (SELECT max(span) FROM chunk),
        (SELECT min(span) FROM tier WHERE level = {LEVEL}),
        (SELECT max(span) FROM tier WHERE level = {LEVEL}),
        (SELECT count(*) FROM page)
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Stats:
    """bytes: file and write-ahead log. pages: not compacted yet.

    oldest_ms and newest_ms bound what there is, None when empty: the one to the two hours, or to
    the day where tiers tell of it, the other to the minute.
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
    first_slot, last_slot, first_span, last_span, first_day, last_day, pages = db.execute(
        _MARKS
    ).fetchone()
    page_size = db.execute("PRAGMA page_size").fetchone()[0]
    free = db.execute("PRAGMA freelist_count").fetchone()[0] * page_size
    starts = _times((first_slot, SLOT_MS, 0), (first_span, SPAN_MS, 0), (first_day, DAY_MS, 0))
    ends = _times((last_slot, SLOT_MS, 1), (last_span, SPAN_MS, 1))
    if not ends:  # a tier's day may end later than its last sample
        ends = _times((last_day, DAY_MS, 1))
    return Stats(
        _size(path) + _size(path.with_name(f"{path.name}-wal")), free, pages, *counts,
        min(starts, default=None), max(ends, default=None),
    )  # fmt: skip


def _times(*marks: tuple[int | None, int, int]) -> list[int]:
    return [(mark + ends) * unit - ends for mark, unit, ends in marks if mark is not None]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
