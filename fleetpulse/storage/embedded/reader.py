"""Answers selections: pages and chunks of a consistent state of the store, joined to series."""

import sqlite3
from collections.abc import Mapping, Sequence
from operator import itemgetter

import numpy as np

from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Metadata, Series
from fleetpulse.storage.base import Hints, MatcherSets
from fleetpulse.storage.embedded import chunks, horizon, pages, tiers
from fleetpulse.storage.embedded.catalogue import Catalogue, Selection
from fleetpulse.storage.embedded.clocks import ClockCache
from fleetpulse.storage.embedded.damage import DamageLog, Finding
from fleetpulse.storage.embedded.database import Database
from fleetpulse.storage.embedded.limits import Budget, check_series
from fleetpulse.storage.embedded.recent import RecentPages
from fleetpulse.storage.embedded.runs import Joined, Run, RunsOf, join
from fleetpulse.storage.embedded.untiered import made_until, tiers_end
from fleetpulse.storage.embedded.windows import WINDOW_MS

# Times are compared in 64 bits; nobody asks beyond the year 10000, but many ask "from ever".
_EVER_MS = 1 << 52


class Reader:
    """A SeriesReader (storage/base.py) of the embedded store."""

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        damage: DamageLog,
        recent: RecentPages | None = None,
    ) -> None:
        self._database, self._catalogue, self._damage = database, catalogue, damage
        self._recent, self._clocks = recent or RecentPages(), ClockCache()

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
    ) -> Sequence[Series]:
        # The steps are told by the end, which must then be the one that was asked for.
        step_ms = 0 if hints.range_ms or end_ms > _EVER_MS else hints.step_ms
        start_ms, end_ms = _clamped(start_ms, end_ms)
        budget, clocks = Budget(hints.max_samples, hints.check), self._clocks
        runs: RunsOf = {}
        parts = tiers.TierParts()
        findings: list[Finding] = []
        with self._database.reading() as db:
            self._catalogue.refresh(db)
            selection = self._catalogue.resolve(matchers, start_ms, end_ms)
            plan = _plan(db, selection, start_ms, end_ms, hints)
            from_ms = start_ms if plan is None else plan.until_ms + 1
            for group in selection.groups:
                lines, targets = group.lines, group.targets
                if plan is not None:
                    until = min(plan.until_ms, end_ms + WINDOW_MS)
                    bounds = (start_ms, until)
                    column = plan.column
                    tiers.read_parts(db, lines, targets, bounds, column, budget, parts, findings)
                bounds = (from_ms, end_ms)
                chunks.read_runs(
                    db, lines, targets, bounds, budget, runs, findings, step_ms, clocks
                )
                held = selection.held
                left = self._recent.read_runs(db, group.shapes, held, bounds, budget, runs)
                for shape in left:
                    pages.read_plain(db, shape, *bounds, budget, runs, findings)
                for shape in group.shapes:
                    pages.read_timed(db, shape, *bounds, budget, runs, findings)
        self._damage.report(findings)
        if plan is None:
            return _series(runs, selection, hints.max_series)
        if not hints.range_ms:
            tiers.add_newest(parts, (start_ms, min(plan.until_ms, end_ms)), budget, runs)
            return _series(runs, selection, hints.max_series)
        folding = tiers.Folding(plan, start_ms, end_ms, parts)
        return _folded(runs, selection, folding, hints.max_series)

    def labels(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        self._refresh()
        return sorted(self._catalogue.names(sets, *_clamped(start_ms, end_ms)))

    def label_values(self, name: str, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        self._refresh()
        return sorted(self._catalogue.values(name, sets, *_clamped(start_ms, end_ms)))

    def series(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[Labels]:
        self._refresh()
        return sorted(self._catalogue.series(sets, *_clamped(start_ms, end_ms)))

    def metadata(self) -> Mapping[str, Metadata]:
        with self._database.reading() as db:
            rows = db.execute("SELECT name, type, help, unit FROM metadata ORDER BY name")
            return {name: Metadata(*told) for name, *told in rows}

    def _refresh(self) -> None:
        with self._database.reading() as db:
            self._catalogue.refresh(db)


def _clamped(start_ms: int, end_ms: int) -> tuple[int, int]:
    # int(): SQLite takes no numpy integers, which a caller's arithmetic may bring.
    return max(int(start_ms), -_EVER_MS), min(int(end_ms), _EVER_MS)


def _plan(
    db: sqlite3.Connection, selection: Selection, start_ms: int, end_ms: int, hints: Hints
) -> tiers.Plan | None:
    if hints.tier == "raw" or not selection.groups:
        return None
    end = tiers_end(db)
    if end is None or start_ms > end:
        return None
    targets = np.unique(np.concatenate([group.targets for group in selection.groups]))
    raw_ms, tier_ms = selection.gone_before(horizon.load(db))
    kept = tiers.Kept(tier_ms, made_until(db, targets, end), min(raw_ms, end))
    return tiers.plan(hints, start_ms, end_ms, kept)


def _folded(
    runs: RunsOf, selection: Selection, folding: tiers.Folding, max_series: int
) -> list[Series]:
    """In the order of the labels."""
    pairs = list(dict.fromkeys([*folding.parts.parts, *runs]))
    by_labels: dict[Labels, list[tuple[int, int]]] = {}
    for labels, pair in zip(selection.labels_of(pairs), pairs, strict=True):
        by_labels.setdefault(labels, []).append(pair)
    check_series(len(by_labels), max_series)
    found = (
        folding.series(labels, same, [run for pair in same for run in runs.get(pair, ())])
        for labels, same in sorted(by_labels.items(), key=itemgetter(0))
    )
    return [one for one in found if one is not None]


def _series(runs: RunsOf, selection: Selection, max_series: int) -> list[Series]:
    """In the order of the labels. Different targets and lines may make the same labels."""
    by_labels: dict[Labels, list[Run]] = {}
    for labels, found in zip(selection.labels_of(runs), runs.values(), strict=True):
        known = by_labels.setdefault(labels, found)
        if known is not found:
            known.extend(found)
    check_series(len(by_labels), max_series)
    joined: Joined = {}
    # Sorted with what belongs to them: hashing that many labels once more takes as long as sorting.
    ordered = sorted(by_labels.items(), key=itemgetter(0))
    return [Series(labels, *join(found, joined)) for labels, found in ordered]
