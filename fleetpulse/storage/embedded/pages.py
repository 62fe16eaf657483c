"""Page rows: a scrape as it came. The hot way in, and one of the two ways out."""

import sqlite3
import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from zlib import crc32

import numpy as np

from fleetpulse.model import Page, Part
from fleetpulse.storage.embedded.catalogue import Shape
from fleetpulse.storage.embedded.checksums import checksum, mix, mixes
from fleetpulse.storage.embedded.damage import Finding
from fleetpulse.storage.embedded.labeltable import Ids
from fleetpulse.storage.embedded.limits import Budget
from fleetpulse.storage.embedded.rowset import add_runs, arranged
from fleetpulse.storage.embedded.runs import Run, RunsOf
from fleetpulse.storage.embedded.schema import SLOT_MS
from fleetpulse.storage.embedded.sql import IN_LIST, id_list

INSERT = (
    "INSERT INTO page (slot, target, layout, from_ms, until_ms, vals, times, cols, sums)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

_ANY_TIMED = "SELECT EXISTS (SELECT 1 FROM page WHERE slot BETWEEN ? AND ? AND times IS NOT NULL)"

# Above this many (slot, target) pairs, reading all targets of the slots is cheaper than seeking.
_SEEKS_MAX = 50_000

# Values by checksum: a page is read by ranges of its columns, and no more than those is checked.
BLOCK = 64
_BLOCK_BYTES = 8 * BLOCK
_SUM = struct.Struct("<I")

Row = tuple[Any, ...]


def rows_of(page: Page, target: int, layout: int) -> Iterator[Row]:
    """The rows for INSERT: one, or one a slot where the page brought its own timestamps.

    layout: the number of the whole layout, where the page has only a part of it.
    """
    part = page.layout if isinstance(page.layout, Part) else None
    if page.times_ms is None and part is None:
        at = page.at_ms
        vals = page.values.tobytes()
        sums = _sums_of(vals, mix(target, layout, at))
        yield at // SLOT_MS, target, layout, at, at, vals, None, None, sums
        return
    values = np.array(page.values, np.float64)
    times = np.array(page.times_ms or [page.at_ms] * len(values), np.int64)
    places = np.arange(len(values)) if part is None else np.array(part.columns)
    order = np.argsort(times // SLOT_MS, kind="stable")
    slots, starts = np.unique((times // SLOT_MS)[order], return_index=True)
    for slot, columns in zip(slots.tolist(), np.split(order, starts[1:]), strict=True):
        taken = times[columns]
        first, last = int(taken.min()), int(taken.max())
        cols = places[columns].astype("<i4").tobytes()
        blobs = (values[columns].tobytes(), taken.tobytes(), cols)
        whole = checksum(*blobs, key=mix(target, layout, first, last))
        yield slot, target, layout, first, last, *blobs, _SUM.pack(whole)


def _sums_of(vals: bytes, key: int) -> bytes:
    blocks = range(0, len(vals), _BLOCK_BYTES)
    return array("I", [crc32(vals[at : at + _BLOCK_BYTES]) ^ key for at in blocks]).tobytes()


def slots_between(db: sqlite3.Connection, start_ms: int, end_ms: int) -> range:
    """The slots of a stretch of time, cut to where there are any pages."""
    first, last = db.execute(
        "SELECT (SELECT min(slot) FROM page), (SELECT max(slot) FROM page)"
    ).fetchone()
    if first is None:
        return range(0)
    return range(max(start_ms // SLOT_MS, first), min(end_ms // SLOT_MS, last) + 1)


def read_runs(
    db: sqlite3.Connection,
    shape: Shape,
    start_ms: int,
    end_ms: int,
    budget: Budget,
    runs: RunsOf,
    findings: list[Finding],
) -> None:
    """Adds the samples of a shape's series that are in page rows to runs.

    A page that is damaged where it is wanted is left out and added to findings.
    """
    read_plain(db, shape, start_ms, end_ms, budget, runs, findings)
    read_timed(db, shape, start_ms, end_ms, budget, runs, findings)


def read_plain(
    db: sqlite3.Connection,
    shape: Shape,
    start_ms: int,
    end_ms: int,
    budget: Budget,
    runs: RunsOf,
    findings: list[Finding],
) -> None:
    """Of read_runs() the pages with one time for all."""
    slots = slots_between(db, start_ms, end_ms)
    if not slots:
        return
    where, found = _where(shape, slots)
    cut = _Cut.of(shape)
    # Only the blocks from the first to the last wanted are copied out of the database.
    query = f"""
        SELECT id, target, from_ms, substr(vals, ?, ?), substr(sums, ?, ?) FROM page
        WHERE {where} AND layout = ? AND from_ms BETWEEN ? AND ? AND times IS NULL LIMIT ?
    """  # noqa: S608
    most = budget.samples_left // len(shape.columns) + 1
    rows: Sequence[Row] = db.execute(
        query, (*cut.bytes, *cut.sums, *found, shape.layout, start_ms, end_ms, most)
    ).fetchall()
    if rows:
        rows = _intact(rows, shape.layout, cut, findings)
        runs_made = len({row[1] for row in rows}) * len(shape.columns)
        budget.take_samples(len(rows) * len(shape.columns), runs_made)
    if rows:
        _add_plain(rows, shape, cut, runs)


def read_timed(
    db: sqlite3.Connection,
    shape: Shape,
    start_ms: int,
    end_ms: int,
    budget: Budget,
    runs: RunsOf,
    findings: list[Finding],
) -> None:
    """Of read_runs() the pages that brought their own times, which are few."""
    slots = slots_between(db, start_ms, end_ms)
    if not slots or not db.execute(_ANY_TIMED, (slots[0], slots[-1])).fetchone()[0]:
        return
    where, found = _where(shape, slots)
    query = f"""
        SELECT id, target, vals, times, cols, sums, from_ms, until_ms FROM page
        WHERE {where} AND layout = ? AND from_ms <= ? AND until_ms >= ? AND times IS NOT NULL
    """  # noqa: S608
    timed = db.execute(query, (*found, shape.layout, end_ms, start_ms)).fetchall()
    whole = [row for row in timed if _timed_intact(row, shape.layout, findings)]
    if whole:
        _add_timed(whole, shape, (start_ms, end_ms), budget, runs)


@dataclass(frozen=True, slots=True)
class _Cut:
    """The blocks of a page that hold some columns: the first column of them, and how many."""

    first: int
    width: int

    @staticmethod
    def of(shape: Shape) -> "_Cut":
        first = int(shape.columns[0]) // BLOCK * BLOCK
        end = (int(shape.columns[-1]) // BLOCK + 1) * BLOCK
        return _Cut(first, min(end, shape.width) - first)

    @property
    def bytes(self) -> tuple[int, int]:
        """Where they begin in vals, and how long they are, as SQL's substr() counts."""
        return 8 * self.first + 1, 8 * self.width

    @property
    def sums(self) -> tuple[int, int]:
        return 4 * (self.first // BLOCK) + 1, 4 * -(-self.width // BLOCK)


def _intact(rows: Sequence[Row], layout: int, cut: _Cut, findings: list[Finding]) -> Sequence[Row]:
    """Those whose values have the right checksums; pages of format 1 have none."""
    _, size = cut.bytes
    _, sums_size = cut.sums
    fit = [
        row for row in rows if len(row[3]) == size and (row[4] is None or len(row[4]) == sums_size)
    ]
    summed = [row for row in fit if row[4] is not None]
    bad = {row[0] for row in rows} - {row[0] for row in fit} if len(fit) < len(rows) else set()
    if summed:
        ids, targets, at, blobs, sums = zip(*summed, strict=True)
        if size <= _BLOCK_BYTES:
            found = np.fromiter(map(crc32, blobs), np.uint32, len(blobs))
        else:
            starts = range(0, size, _BLOCK_BYTES)
            parts = [crc32(blob[at : at + _BLOCK_BYTES]) for blob in blobs for at in starts]
            found = np.array(parts, np.uint32)
        keys = mixes(np.array(targets), layout, np.array(at))
        told = np.frombuffer(b"".join(sums), "<u4").reshape(len(ids), -1)
        wrong = ((found.reshape(len(ids), -1) ^ keys[:, None]) != told).any(axis=1)
        if wrong.any():
            bad.update(np.array(ids)[wrong].tolist())
    if not bad:
        return rows
    findings.extend(Finding("page", (entry,)) for entry in sorted(bad))
    return [row for row in rows if row[0] not in bad]


def _timed_intact(row: Row, layout: int, findings: list[Finding]) -> bool:
    entry, target, vals, times, cols, sums, first, last = row
    count = len(cols) // 4
    if len(vals) == len(times) == 8 * count and len(cols) == 4 * count:
        key = mix(target, layout, first, last)
        if sums is None or sums == _SUM.pack(checksum(vals, times, cols, key=key)):
            return True
    findings.append(Finding("page", (entry,)))
    return False


def _where(shape: Shape, slots: range) -> tuple[str, tuple[str | int, ...]]:
    if len(slots) * len(shape.targets) > _SEEKS_MAX:
        # The plus keeps SQLite from seeking by target after all.
        return (
            f"slot BETWEEN ? AND ? AND +target {IN_LIST}",
            (slots[0], slots[-1], id_list(shape.targets)),
        )
    return f"slot {IN_LIST} AND target {IN_LIST}", (id_list(slots), id_list(shape.targets))


def is_intact(row: Row) -> bool:
    """Of a row as id, target, layout, from_ms, until_ms, vals, times, cols, sums."""
    entry, target, layout, first, last, vals, times, cols, sums = row
    if times is not None:
        return _timed_intact((entry, target, vals, times, cols, sums, first, last), layout, [])
    return sums is None or sums == _sums_of(vals, mix(target, layout, first))


def _add_plain(rows: Sequence[Row], shape: Shape, cut: _Cut, runs: RunsOf) -> None:
    """Rows of one layout as a matrix: transposed by target, its rows are the series' values."""
    ids, targets, times, blobs, _sums = zip(*rows, strict=True)
    written, target_of, at = np.array(ids), np.array(targets), np.array(times)
    matrix = np.frombuffer(b"".join(blobs), "<f8").reshape(len(rows), cut.width)
    order = arranged(target_of, at, written)
    # One copy for all: of each target the series' values are then parts of this.
    values = np.ascontiguousarray(matrix[:, shape.columns - cut.first].T[:, order])
    add_runs(runs, shape.lines, target_of[order], at[order], written[order], values)


def _add_timed(
    rows: Iterable[Row], shape: Shape, bounds: tuple[int, int], budget: Budget, runs: RunsOf
) -> None:
    """Samples with times of their own, sorted into series all at once."""
    line_at = np.full(int(shape.columns[-1]) + 1, -1)
    line_at[shape.columns] = shape.lines
    parts = [_timed_part(row, line_at, bounds) for row in rows]
    target_of, lines, times, written, bits = np.concatenate(parts, axis=1)
    # The place in the page decides last: of a line twice in a page the later one counts.
    order = np.lexsort((np.arange(len(times)), written, times, lines, target_of))
    target_of, lines, times = target_of[order], lines[order], times[order]
    changed = (lines[1:] != lines[:-1]) | (target_of[1:] != target_of[:-1])
    keep = np.append(changed | (times[1:] != times[:-1]), True)[: len(times)]
    order, target_of, lines, times = order[keep], target_of[keep], lines[keep], times[keep]
    budget.take_samples(len(times))
    values, written = bits[order].view(np.float64), written[order]
    changed = (lines[1:] != lines[:-1]) | (target_of[1:] != target_of[:-1])
    starts = [0, *(np.flatnonzero(changed) + 1).tolist(), len(times)]
    for begin, end in pairwise(starts):
        if begin < end:
            run = Run(times[begin:end], values[begin:end], written[begin:end])
            runs.setdefault((int(target_of[begin]), int(lines[begin])), []).append(run)


def _timed_part(row: Row, line_at: Ids, bounds: tuple[int, int]) -> Ids:
    """int64 (5, samples): target, line, time, page id and the value's bits, of those wanted."""
    entry, target, vals, times, cols, *_ = row
    columns = np.frombuffer(cols, "<i4")
    at = np.frombuffer(times, "<i8")
    wanted = (columns < len(line_at)) & (at >= bounds[0]) & (at <= bounds[1])
    wanted[wanted] &= line_at[columns[wanted]] >= 0
    part = np.empty((5, int(wanted.sum())), np.int64)
    part[0], part[1], part[2], part[3] = target, line_at[columns[wanted]], at[wanted], entry
    part[4] = np.frombuffer(vals, "<i8")[wanted]
    return part
