"""Chunk rows: a series' samples of one span, compressed. What history is read from."""

import sqlite3

from fleetpulse.storage.embedded.checksums import mix
from fleetpulse.storage.embedded.clocks import ClockCache, Clocks
from fleetpulse.storage.embedded.codec import DAMAGE, decode_values
from fleetpulse.storage.embedded.damage import Finding
from fleetpulse.storage.embedded.labeltable import Ids
from fleetpulse.storage.embedded.limits import Budget
from fleetpulse.storage.embedded.runs import Run, RunsOf
from fleetpulse.storage.embedded.schema import SPAN_MS
from fleetpulse.storage.embedded.sql import IN_LIST, id_list

# Where the targets wanted are this share of all between the first and the last of them, the rows
# of a line are read in one go and not one by one.
_DENSE = 0.2


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
    cache: ClockCache | None = None,
) -> None:
    """Adds the samples that chunks hold of all lines of all targets to runs; bounds inclusive.

    What is damaged is left out and added to findings; a chunk of a damaged clock is left out too.
    With step_ms only those that may be the newest one at the end or some steps before it: a week
    at a step of an hour is then not held sample by sample. cache: of who comes again.
    """
    spans = spans_between(db, *bounds)
    if not spans or not len(lines):
        return
    where, wanted = _where_targets(targets)
    query = f"SELECT span, target, n, samples, times FROM clock WHERE span {IN_LIST} AND {where}"  # noqa: S608
    rows = db.execute(query, (id_list(spans), *wanted))
    times = {(span, target, n): (k, blob) for span, target, n, k, blob in rows}
    clocks = Clocks(times, *bounds, step_ms, cache or ClockCache(), findings=findings)
    spans = clocks.live_spans()
    if not spans:
        return
    query = f"""
        SELECT span, line, target, clock, vals FROM chunk
        WHERE span {IN_LIST} AND line {IN_LIST} AND {where}
    """  # noqa: S608
    for row in db.execute(query, (id_list(spans), id_list(lines), *wanted)):
        try:
            _add(row, clocks, budget, runs)
        except DAMAGE:
            findings.append(Finding("chunk", row[:3]))


def _add(
    row: tuple[int, int, int, int, bytes], clocks: Clocks, budget: Budget, runs: RunsOf
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
