"""Which days of which targets have samples that their tiers do not tell of yet."""

import sqlite3
from collections.abc import Sequence

from fleetpulse.storage.embedded.labeltable import Ids
from fleetpulse.storage.embedded.schema import SLOT_MS, SPAN_MS
from fleetpulse.storage.embedded.sql import IN_LIST, id_list
from fleetpulse.storage.embedded.windows import DAY_MS

LEVEL = 1


def days_of(span: int, *, at_start: bool) -> list[int]:
    """Days that the samples of a span belong to: midnight, at_start, ends the day before."""
    day = span * SPAN_MS // DAY_MS
    return [day - 1, day] if at_start and span * SPAN_MS % DAY_MS == 0 else [day]


def mark(db: sqlite3.Connection, days: Sequence[int], targets: Sequence[int]) -> None:
    """Notes that samples of some days were folded that their tiers do not tell of."""
    rows = [(day, target) for day in days for target in targets]
    db.executemany("INSERT OR IGNORE INTO untiered VALUES (?, ?)", rows)


def tiers_end(db: sqlite3.Connection) -> int | None:
    """When the newest tier ends (Unix ms, a midnight)."""
    query = f"SELECT max(span) FROM tier WHERE level = {LEVEL}"  # noqa: S608
    last = db.execute(query).fetchone()[0]
    return None if last is None else (last + 1) * DAY_MS


def made_until(db: sqlite3.Connection, targets: Ids, end_ms: int) -> int:
    """Up to when (Unix ms, a midnight, end_ms at most) the tiers of these targets tell all."""
    end = end_ms // DAY_MS
    waiting, slot = db.execute(
        "SELECT (SELECT min(day) FROM untiered), (SELECT min(slot) FROM page)"
    ).fetchone()
    if waiting is not None and waiting < end:
        query = f"SELECT min(day) FROM untiered WHERE target {IN_LIST}"  # noqa: S608
        waiting = db.execute(query, (id_list(targets),)).fetchone()[0]
        end = min(end, end if waiting is None else waiting)
    if slot is not None:
        end = min(end, (slot * SLOT_MS - 1) // DAY_MS)
    return end * DAY_MS
