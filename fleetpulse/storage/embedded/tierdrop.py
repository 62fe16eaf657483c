"""Takes windows out of tiers, for samples that somebody deleted."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from fleetpulse.storage.embedded import tierrow
from fleetpulse.storage.embedded.catalogue import Group
from fleetpulse.storage.embedded.checksums import mix
from fleetpulse.storage.embedded.codec import DAMAGE
from fleetpulse.storage.embedded.database import Database
from fleetpulse.storage.embedded.sql import IN_LIST, id_list
from fleetpulse.storage.embedded.untiered import LEVEL
from fleetpulse.storage.embedded.windows import DAY_MS, WINDOW_MS, Windows

_ROWS_AT_ONCE = 500
_WHERE = f"level = {LEVEL} AND span = ? AND line = ? AND target = ?"

Key = tuple[int, int, int]


def drop(database: Database, groups: Sequence[Group], start_ms: int, end_ms: int) -> None:
    """Deletes every window that is partly in the time given, both ends included.

    What is left of the samples at its ends comes back where the samples are still there.
    """
    for group in groups:
        keys = iter(_keys(database, group, start_ms, end_ms))
        while part := list(islice(keys, _ROWS_AT_ONCE)):
            _rewrite(database, part, start_ms, end_ms)


def _keys(database: Database, group: Group, start_ms: int, end_ms: int) -> Iterable[Key]:
    query = f"""
        SELECT span, line, target FROM tier
        WHERE level = {LEVEL} AND span BETWEEN ? AND ? AND line {IN_LIST} AND target {IN_LIST}
    """  # noqa: S608
    days = (start_ms - 1) // DAY_MS, (end_ms - 1 + WINDOW_MS) // DAY_MS
    with database.reading() as db:
        found: list[Key] = db.execute(
            query, (*days, id_list(group.lines), id_list(group.targets))
        ).fetchall()
    return found


def _rewrite(database: Database, keys: Sequence[Key], start_ms: int, end_ms: int) -> None:
    with database.writing() as db:
        for key in keys:
            query = f"SELECT vals FROM tier WHERE {_WHERE}"  # noqa: S608
            ((blob,),) = db.execute(query, key).fetchall()
            left = _left_of(blob, key, start_ms, end_ms)
            if left is None:
                db.execute(f"DELETE FROM tier WHERE {_WHERE}", key)  # noqa: S608
            else:
                db.execute(f"UPDATE tier SET vals = ? WHERE {_WHERE}", (left, *key))  # noqa: S608


def _left_of(blob: bytes, key: Key, start_ms: int, end_ms: int) -> bytes | None:
    seal = mix(LEVEL, *key)
    try:
        windows = tierrow.decode(blob, seal)
    except DAMAGE:
        return None
    ends = key[0] * DAY_MS + (windows.at + 1) * WINDOW_MS
    kept = (ends < start_ms) | (ends - WINDOW_MS >= end_ms)
    return tierrow.encode(_taken(windows, kept), seal) if kept.any() else None


def _taken(windows: Windows, kept: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> Windows:
    """The kept ones; an increase begins anew after a window that is gone, at its least value."""
    bared = kept & ~np.append(True, kept[:-1]) & ~windows.started & (windows.samples > 0)
    anew = replace(
        windows,
        started=windows.started | bared,
        first=np.where(bared, windows.least, windows.first),
    )
    return anew.take(kept)
