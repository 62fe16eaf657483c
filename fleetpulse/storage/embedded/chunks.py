"""Chunk rows: a series' samples of one span, compressed. What history is read from."""

import sqlite3
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fleetpulse.storage.embedded.checksums import mix
from fleetpulse.storage.embedded.codec import DAMAGE, Times, decode_times, decode_values
from fleetpulse.storage.embedded.damage import Finding
from fleetpulse.storage.embedded.labeltable import Ids
from fleetpulse.storage.embedded.limits import Budget
from fleetpulse.storage.embedded.runs import Run, RunsOf
from fleetpulse.storage.embedded.schema import SPAN_MS
from fleetpulse.storage.embedded.sql import IN_LIST, id_list

# Where the targets wanted are this share of all between the first and the last of them, the rows
# of a line are read in one go and not one by one.
_DENSE = 0.2


@dataclass(slots=True)
class _Clock:
    """The timestamps of some chunks: of its samples those at wanted are, and their times."""

    samples: int
    wanted: slice | NDArray[np.intp]
    times: Times


@dataclass(slots=True)
class _Clocks:
    """Clocks as they are asked for, each decoded once; None where it is damaged."""

    rows: dict[tuple[int, int, int], tuple[int, bytes]]
    start_ms: int
    end_ms: int
    step_ms: int
    known: dict[tuple[int, int, int], _Clock | None] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def get(self, key: tuple[int, int, int]) -> _Clock | None:
        if key not in self.known:
            self.known[key] = self._decoded(key)
        return self.known[key]

    def _decoded(self, key: tuple[int, int, int]) -> _Clock | None:
        samples, blob = self.rows[key]
        try:
            times = decode_times(blob, samples, mix(*key, samples))
        except DAMAGE:
            self.findings.append(Finding("clock", key))
            return None
        wanted = self._wanted(times)
        return _Clock(samples, wanted, times[wanted])

    def _wanted(self, times: Times) -> slice | NDArray[np.intp]:
        begin, end = times.searchsorted([self.start_ms, self.end_ms + 1]).tolist()
        if not self.step_ms:
            return slice(begin, end)
        # Of the samples between two steps only the last is ever the newest at a step.
        ages = (self.end_ms - times[begin:end]) // self.step_ms
        newest = np.flatnonzero(np.append(ages[1:] != ages[:-1], True)[: end - begin])
        return begin + newest if len(newest) < end - begin else slice(begin, end)


# Steps from one span that exists to the next: a few seeks, where DISTINCT would read all rows.
_SPANS = """
    WITH RECURSIVE found(span) AS (
        SELECT min(span) FROM chunk WHERE span >= ?
        UNION ALL
        SELECT (SELECT min(span) FROM chunk WHERE span > found.span) FROM found
        WHERE found.span < ?
    )
    SELECT span FROM found WHERE span <= ?
"""


def spans_between(db: sqlite3.Connection, start_ms: int, end_ms: int) -> list[int]:
    """The spans of a stretch of time that have any chunks."""
    last = end_ms // SPAN_MS
    return [span for (span,) in db.execute(_SPANS, (start_ms // SPAN_MS, last, last))]


def read_runs(
    db: sqlite3.Connection,
    lines: Ids,
    targets: Ids,
    bounds: tuple[int, int],
    budget: Budget,
    runs: RunsOf,
    findings: list[Finding],
    step_ms: int = 0,
) -> None:
    """Adds the samples that chunks hold of all lines of all targets to runs; bounds inclusive.

    What is damaged is left out and added to findings; a chunk of a damaged clock is left out too.
    With step_ms only those that may be the newest one at the end or some steps before it: a week
    at a step of an hour is then not held sample by sample.
    """
    spans = spans_between(db, *bounds)
    if not spans or not len(lines):
        return
    where, wanted = _where_targets(targets)
    query = f"SELECT span, target, n, samples, times FROM clock WHERE span {IN_LIST} AND {where}"  # noqa: S608
    rows = db.execute(query, (id_list(spans), *wanted))
    times = {(span, target, n): (k, blob) for span, target, n, k, blob in rows}
    clocks = _Clocks(times, *bounds, step_ms, findings=findings)
    spans = _live_spans(clocks)
    query = f"""
        SELECT span, line, target, clock, vals FROM chunk
        WHERE span {IN_LIST} AND line {IN_LIST} AND {where}
    """  # noqa: S608
    for row in db.execute(query, (id_list(spans), id_list(lines), *wanted)):
        try:
            _add(row, clocks, budget, runs)
        except DAMAGE:
            findings.append(Finding("chunk", row[:3]))


def _live_spans(clocks: _Clocks) -> list[int]:
    """Those with any samples in the time asked for.

    The span of the moment mostly has none: its chunks end where the pages begin.
    """
    live = set()
    for key in clocks.rows:
        clock = clocks.get(key)
        if clock is not None and len(clock.times):
            live.add(key[0])
    return sorted(live)


def _add(
    row: tuple[int, int, int, int, bytes], clocks: _Clocks, budget: Budget, runs: RunsOf
) -> None:
    span, line, target, n, blob = row
    clock = clocks.get((span, target, n))
    if clock is not None and len(clock.times):
        values = decode_values(blob, clock.samples, mix(span, line, target, n))[clock.wanted]
        if 2 * len(values) < clock.samples:
            values = values.copy()  # a view would keep the whole chunk in memory
        budget.take_samples(len(clock.times))
        runs.setdefault((target, line), []).append(Run(clock.times, values))


def _where_targets(targets: Ids) -> tuple[str, tuple[int | str, ...]]:
    first, last = int(targets[0]), int(targets[-1])
    if len(targets) < 8 or len(targets) < _DENSE * (last - first + 1):
        return f"target {IN_LIST}", (id_list(targets),)
    # The plus keeps SQLite from seeking by each target after all.
    return f"target BETWEEN ? AND ? AND +target {IN_LIST}", (first, last, id_list(targets))
