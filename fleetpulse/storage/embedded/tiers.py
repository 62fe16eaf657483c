"""Reads tiers: which selections they answer, and the series that they make with newer samples."""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from fleetpulse.model import STALE_NAN, Labels
from fleetpulse.storage.base import Folded, Hints, History
from fleetpulse.storage.embedded import tierrow
from fleetpulse.storage.embedded.checksums import mix
from fleetpulse.storage.embedded.codec import DAMAGE, Floats, Times
from fleetpulse.storage.embedded.damage import Finding
from fleetpulse.storage.embedded.labeltable import Ids
from fleetpulse.storage.embedded.limits import Budget
from fleetpulse.storage.embedded.runs import Joined, Run, RunsOf, join
from fleetpulse.storage.embedded.sql import IN_LIST, id_list
from fleetpulse.storage.embedded.untiered import LEVEL
from fleetpulse.storage.embedded.windows import (
    DAY_MS,
    WINDOW_MS,
    Windows,
    concatenate,
    increases,
    is_marker,
)

# By function over a range: the column that it is answered from. Others see samples only.
_COLUMN_OF = {
    "absent_over_time": "samples",
    "avg_over_time": "total",
    "count_over_time": "samples",
    "increase": "increase",
    "last_over_time": "last",
    "max_over_time": "greatest",
    "min_over_time": "least",
    "present_over_time": "samples",
    "rate": "increase",
    "sum_over_time": "total",
}
_DECODED = {"increase": ("last", "again"), "samples": ()}

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """Whole windows tell of the time until until_ms, by one column; samples of what is later."""

    column: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What there is, in Unix ms: tiers from tier_ms to made_ms, samples from raw_ms on."""

    tier_ms: int
    made_ms: int
    raw_ms: int


def plan(hints: Hints, start_ms: int, end_ms: int, kept: Kept) -> Plan | None:
    """What of a selection tiers answer; None: nothing.

    As long as there are samples, tiers answer only what comes out the same: where every window of
    the selection is a number of whole ones. rate and increase, which do not, wait until the samples
    are gone. Then tiers are all there is, late samples told or not.
    """
    column = _column(hints)
    if hints.tier == "raw" or column is None:
        return None
    same = column != "increase" and all(
        at % WINDOW_MS == 0 for at in (hints.step_ms, end_ms, start_ms - 1)
    )
    whole = kept.tier_ms <= max(start_ms, kept.raw_ms)
    until_ms = kept.made_ms if whole and (same or hints.tier == "5m") else kept.raw_ms
    until_ms = max(until_ms, kept.raw_ms) // WINDOW_MS * WINDOW_MS
    return Plan(column, until_ms) if until_ms >= start_ms else None


def _column(hints: Hints) -> str | None:
    if hints.range_ms:
        return _COLUMN_OF.get(hints.func)
    return None if hints.func == "timestamp" else "last"


@dataclass(slots=True)
class TierParts:
    """What tiers hold of some series, by (target, line): days in their order."""

    parts: dict[Pair, list[tuple[int, Windows]]] = field(default_factory=dict)

    def windows(self, pairs: Iterable[Pair]) -> tuple[Times, Windows] | None:
        """All windows of one series, and when they end; pairs: those with its labels."""
        found = [part for pair in pairs for part in self.parts.get(pair, ())]
        if not found:
            return None
        found.sort(key=lambda part: part[0])
        ends = [day * DAY_MS + (windows.at + 1) * WINDOW_MS for day, windows in found]
        joined = concatenate([windows for _, windows in found])
        times = np.concatenate(ends)
        if (times[1:] <= times[:-1]).any():  # two targets of the same labels
            times, kept = np.unique(times, return_index=True)
            joined = joined.take(kept)
        return times, joined


def read_parts(
    db: sqlite3.Connection,
    lines: Ids,
    targets: Ids,
    bounds: tuple[int, int],
    column: str,
    budget: Budget,
    parts: TierParts,
    findings: list[Finding],
) -> None:
    """Adds the tier rows of all lines of all targets that bounds (inclusive) touch.

    What is damaged is left out and added to findings.
    """
    # From the window before the first: what a counter rose since then belongs to the first.
    first, last = (bounds[0] - 1 - WINDOW_MS) // DAY_MS, (bounds[1] - 1) // DAY_MS
    query = f"""
        SELECT span, line, target, vals FROM tier
        WHERE level = {LEVEL} AND span {IN_LIST} AND line {IN_LIST} AND target {IN_LIST}
    """  # noqa: S608
    wanted = _DECODED.get(column, (column,))
    days = range(first, last + 1)
    for day, line, target, blob in db.execute(
        query, (id_list(days), id_list(lines), id_list(targets))
    ):
        try:
            windows = tierrow.decode(blob, mix(LEVEL, day, line, target), wanted)
        except DAMAGE:
            findings.append(Finding("tier", (LEVEL, day, line, target)))
            continue
        budget.take_samples(_WEIGHT * len(windows.at))
        parts.parts.setdefault((target, line), []).append((day, windows))


def add_newest(parts: TierParts, bounds: tuple[int, int], budget: Budget, runs: RunsOf) -> None:
    """For plain selectors: each window's last value, at its end, as if it were a sample."""
    for pair in parts.parts:
        found = parts.windows([pair])
        assert found is not None
        times, windows = found
        begin, end = times.searchsorted([bounds[0], bounds[1] + 1]).tolist()
        if begin < end:
            budget.take_samples(end - begin)
            values = np.where(windows.ended, STALE_NAN, windows.last)[begin:end]
            runs.setdefault(pair, []).insert(0, Run(times[begin:end], values))


@dataclass(frozen=True, slots=True)
class Folding:
    """Makes the series of one selection."""

    plan: Plan
    start_ms: int
    end_ms: int
    parts: TierParts
    joined: Joined = field(default_factory=dict)

    def series(self, labels: Labels, pairs: Sequence[Pair], runs: Sequence[Run]) -> Folded | None:
        times, values = join(runs, self.joined) if runs else _NOTHING
        history = self._history(self.parts.windows(pairs), times, values)
        if not len(times) and not len(history.times_ms):
            return None
        return Folded(labels, times, values, self.plan.until_ms, WINDOW_MS, history)

    def _history(
        self, found: tuple[Times, Windows] | None, times: Times, values: Floats
    ) -> History:
        """The windows, and each later sample as a window of its own."""
        live = ~is_marker(values)
        times, values = times[live], values[live]
        ends, own, counts, crossing, before = self._of_windows(found)
        after, ahead = (values, np.zeros(len(values)))
        if self.plan.column == "samples":
            after = np.ones(len(values))
        elif self.plan.column == "increase":
            after, ahead = _steps(times, values, *before)
        return History(
            np.concatenate([ends, times]), np.concatenate([own, after]),
            np.concatenate([counts, np.ones(len(times))]), np.concatenate([crossing, ahead]),
        )  # fmt: skip

    def _of_windows(
        self, found: tuple[Times, Windows] | None
    ) -> tuple[Times, Floats, Floats, Floats, tuple[float, int]]:
        """Ends, column, samples and crossing; and the last value of all with its window's end."""
        if found is None:
            return _NOTHING[0], _NOTHING[1], _NOTHING[1], _NOTHING[1], (np.nan, 0)
        live = found[1].samples > 0
        ends, windows = found[0][live], found[1].take(live)
        crossing = np.zeros(len(ends))
        if self.plan.column == "increase":
            told = increases(windows, ends)
            column, crossing = told.rose, told.crossing
        else:
            column = getattr(windows, self.plan.column)
        # A range that ends within a window takes it where that is nearer than to leave it.
        last = min(self.end_ms + WINDOW_MS // 2, self.plan.until_ms)
        begin, end = ends.searchsorted([self.start_ms, last + 1]).tolist()
        at = int(ends.searchsorted(self.plan.until_ms, side="right")) - 1
        before = (float(windows.last[at]), int(ends[at])) if at >= 0 else (np.nan, 0)
        cut = slice(begin, end)
        return ends[cut], column[cut], windows.samples[cut], crossing[cut], before


_WEIGHT = 2  # samples that a window counts as: of each there are several numbers
_NOTHING: tuple[Times, Floats] = (np.zeros(0, np.int64), np.zeros(0))


def _steps(times: Times, values: Floats, before: float, at_ms: int) -> tuple[Floats, Floats]:
    """By how much a counter rose to each sample, and the part from before a gap ahead of it."""
    if not len(values):
        return values, values
    previous = np.append(before, values[:-1])
    rose = np.where(values < previous, values, values - previous)
    ahead = np.zeros(len(values))
    if np.isnan(before):
        rose[0] = 0.0
    elif times[0] - at_ms > WINDOW_MS:
        ahead[0] = rose[0]
    return rose, ahead
