"""The index in memory: targets, lines, layouts and who held which, kept up with the file."""

import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleetpulse.errors import QueryError
from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels
from fleetpulse.storage.base import Cardinality, MatcherSets
from fleetpulse.storage.embedded.damage import DamageLog
from fleetpulse.storage.embedded.horizon import Horizon, Passes, rule_of
from fleetpulse.storage.embedded.indexstate import State
from fleetpulse.storage.embedded.labeltable import FAIL, PASS, SILENT, Ids
from fleetpulse.storage.embedded.seriescount import blocks, count_series
from fleetpulse.storage.embedded.stats import Stats

Mask = NDArray[np.bool_]

_NEVER_MS = -(1 << 62)
_NEWS_MAX = 1000  # lines; some 10 ms
_MATCHERS_MAX = 60  # one bit each


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a layout's lines those wanted: their columns and ids; and the targets to want them of.

    width: how many lines the layout has.
    """

    layout: int
    width: int
    columns: Ids
    lines: Ids
    targets: Ids


@dataclass(frozen=True, slots=True)
class Group:
    """Every one of lines matches on every one of targets; the shapes say where they are."""

    lines: Ids
    targets: Ids
    shapes: tuple[Shape, ...]


class Catalogue:
    """Safe from any thread. Every caller refreshes it inside its own transaction first.

    The tables only grow, so catching up is reading rows above the largest id known. Rows are
    deleted by retention alone, which raises the generation: then the ids are looked through.
    """

    def __init__(self, damage: DamageLog) -> None:
        self._damage = damage
        self._lock = threading.RLock()
        self._generation = -1
        self._state = State()

    def is_near(self, db: sqlite3.Connection) -> bool:
        """Whether refresh() will not take long: for who has the whole store wait for it."""
        query = "SELECT value, (SELECT max(id) FROM line) FROM counter WHERE name = 'generation'"
        generation, last_line = db.execute(query).fetchone()
        with self._lock:
            news = (last_line or 0) - self._state.lines.last_id
            return generation == self._generation and news < _NEWS_MAX

    def refresh(self, db: sqlite3.Connection) -> None:
        query = "SELECT value FROM counter WHERE name = 'generation'"
        generation = db.execute(query).fetchone()[0]
        with self._lock:
            if generation < self._generation:
                return  # an older snapshot; what it lacks here has expired
            if generation > self._generation:
                self._generation, self._state = generation, self._state.surviving(db)
            findings = self._state.catch_up(db)
        self._damage.report(findings)

    def target_id(self, labels: Labels) -> int | None:
        return self._state.targets.ids.get(labels)

    def line_id(self, labels: Labels) -> int | None:
        return self._state.lines.ids.get(labels)

    def layout_id(self, digest: bytes) -> int | None:
        return self._state.layout_ids.get(digest)

    def covers(self, target: int, layout: int, from_ms: int, until_ms: int) -> bool:
        with self._lock:
            return self._state.held.covers(target, layout, from_ms, until_ms)

    def counts(self) -> tuple[int, int, int]:
        """How many targets, lines and layouts there are."""
        with self._lock:
            state = self._state
            return len(state.targets.ids), len(state.lines.ids), len(state.layouts)

    def series_of_names(self) -> dict[str, int]:
        """How many series there are, by metric name; the most first."""
        with self._lock:
            state = self._state
            held_by, layouts = state.held.between(-(1 << 62), 1 << 62)
            group = _group(state, np.ones(len(state.lines.by_id), bool), held_by, layouts)
            pairs = [(one.lines[:, None] << 32 | one.targets).ravel() for one in group.shapes]
            lines = np.unique(np.concatenate(pairs)) >> 32 if pairs else np.zeros(0, np.int64)
            found, counts = np.unique(lines, return_counts=True)
            total = Counter[str]()
            for line, count in zip(found.tolist(), counts.tolist(), strict=True):
                labels = state.lines.by_id[line]
                if labels is not None:
                    total[labels.name] += count
            return dict(total.most_common())

    def count(self, limit: int, stats: Stats) -> Cardinality:
        """What storage.base.CountsSeries tells."""
        with self._lock:
            state = self._state
            held = state.held.between(-(1 << 62), 1 << 62)
            found = blocks(state.targets, state.lines, state.layouts, held)
            return count_series(state.targets, state.lines, found, limit, stats)

    def cardinality(self) -> dict[str, int]:
        """How many values each label has; the most first."""
        with self._lock:
            tables = (self._state.targets, self._state.lines)
            names = {one for table in tables for one in table.names()}
            counts = Counter(
                {
                    name: len(set().union(*(one.all_values(name) for one in tables)))
                    for name in names
                }
            )
            return dict(counts.most_common())

    def unreadable(self, start_ms: int, end_ms: int) -> set[int]:
        """Targets with samples, in the time given, of which the layout is damaged."""
        with self._lock:
            lost = [entry for found in self._state.lost_layouts.values() for entry in found]
            targets, layouts = self._state.held.between(start_ms, end_ms)
            return set(targets[np.isin(layouts, lost)].tolist())

    def whole(self, targets: Ids, start_ms: int, end_ms: int) -> Group:
        """All lines that some targets may have samples of in the time given."""
        with self._lock:
            state = self._state
            held_by, layouts = state.held.between(start_ms, end_ms)
            wanted = np.isin(held_by, targets)
            every = np.ones(len(state.lines.by_id), bool)
            return _group(state, every, held_by[wanted], layouts[wanted])

    def resolve(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> "Selection":
        """Which lines of which targets match, of those that may have samples in the time given."""
        with self._lock:
            state = self._state
            held = state.held.between(start_ms, end_ms)
            groups = _resolve(state, matchers, *held)
            return Selection(groups, len(held[0]), state, self._lock)

    def rule_of(self, rules: Sequence[Sequence[Matcher]], lines: Ids, targets: Ids) -> Ids:
        """Of the series (lines[i], targets[i]) the place of the first rule that is about it."""
        with self._lock:
            return rule_of(rules, _passing(self._state, lines, targets), len(lines))

    def names(self, sets: MatcherSets, start_ms: int, end_ms: int) -> set[str]:
        """Names of the labels of matching series."""
        with self._lock:
            state, found = self._state, set[str]()
            for shape in self._shapes(sets, start_ms, end_ms):
                for name in set(state.lines.names() + state.targets.names()) - found:
                    if _values(state, name, shape):
                        found.add(name)
            return found

    def values(self, name: str, sets: MatcherSets, start_ms: int, end_ms: int) -> set[str]:
        """Values of one label of matching series."""
        with self._lock:
            found = set[str]()
            for shape in self._shapes(sets, start_ms, end_ms):
                found |= _values(self._state, name, shape)
            return found

    def series(self, sets: MatcherSets, start_ms: int, end_ms: int) -> set[Labels]:
        """Labels of matching series."""
        with self._lock:
            pairs = {
                (target, line)
                for shape in self._shapes(sets, start_ms, end_ms)
                for target in shape.targets.tolist()
                for line in shape.lines.tolist()
            }
            return set(self._state.labels_of(pairs))

    def _shapes(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[Shape]:
        held = self._state.held.between(start_ms, end_ms)
        return [
            shape
            for matchers in (sets or [()])
            for group in _resolve(self._state, matchers, *held)
            for shape in group.shapes
        ]


class Selection:
    """What a resolve() found, with the state of the index that its ids belong to.

    held: how many targets had which layout in its time, in all: each once a layout.
    """

    def __init__(
        self, groups: Sequence[Group], held: int, state: State, lock: threading.RLock
    ) -> None:
        self.groups, self.held = groups, held
        self._state, self._lock = state, lock

    def labels_of(self, pairs: Iterable[tuple[int, int]]) -> list[Labels]:
        """The full labels of (target, line) pairs."""
        with self._lock:
            return self._state.labels_of(pairs)

    def gone_before(self, horizons: Sequence[Horizon]) -> tuple[int, int]:
        """Before what time (Unix ms) samples, and tiers, of some of the series are deleted."""
        if len(horizons) > 1:
            found = self._places([one.matchers for one in horizons])
            horizons = [horizons[place] for place in found]
        raw_ms = max((one.raw_ms for one in horizons), default=_NEVER_MS)
        return raw_ms, max((one.tier_ms for one in horizons), default=_NEVER_MS)

    def _places(self, rules: Sequence[Sequence[Matcher]]) -> set[int]:
        found = set[int]()
        with self._lock:
            for group in self.groups:
                lines = np.repeat(group.lines, len(group.targets))
                targets = np.tile(group.targets, len(group.lines))
                passes = _passing(self._state, lines, targets)
                found |= set(rule_of(rules, passes, len(lines)).tolist())
        return found


def _passing(state: State, lines: Ids, targets: Ids) -> Passes:
    """Which of the series (lines[i], targets[i]) a matcher lets pass."""

    def passes(matcher: Matcher) -> Mask:
        of_line, of_target = state.lines.verdict(matcher), state.targets.verdict(matcher)
        silent = PASS if matcher.matches_empty else FAIL
        by_target = np.where(of_target == SILENT, silent, of_target)[targets]
        verdict = of_line[lines]
        found: Mask = np.where(verdict == SILENT, by_target, verdict) == PASS
        return found

    return passes


def _resolve(state: State, matchers: Sequence[Matcher], targets: Ids, layouts: Ids) -> list[Group]:
    """targets and layouts: as Holdings.between() gives them."""
    groups = []
    for line_mask, target_mask in _groups(state, matchers):
        wanted = target_mask[targets]
        group = _group(state, line_mask, targets[wanted], layouts[wanted])
        if group.shapes:
            groups.append(group)
    return groups


def _groups(state: State, matchers: Sequence[Matcher]) -> list[tuple[Mask, Mask]]:
    """Masks of lines and of targets by id, such that all lines match on all targets.

    A matcher is decided by the line where that names the label, else by the target. So lines are
    parted by which matchers they leave to the target; few such parts exist.
    """
    if len(matchers) > _MATCHERS_MAX:
        raise QueryError("bad_data", f"more than {_MATCHERS_MAX} matchers in one selector")
    patterns = np.zeros(len(state.lines.by_id), np.int64)
    failed = state.lines.is_lost()
    by_target = []
    for bit, matcher in enumerate(matchers):
        verdict = state.lines.verdict(matcher)
        failed |= verdict == FAIL
        patterns |= (verdict == SILENT).astype(np.int64) << bit
        of_target = state.targets.verdict(matcher)
        silent = PASS if matcher.matches_empty else FAIL
        by_target.append(np.where(of_target == SILENT, silent, of_target) == PASS)
    groups = []
    for pattern in np.unique(patterns[~failed]).tolist():
        targets = ~state.targets.is_lost()
        for bit, passes in enumerate(by_target):
            if pattern >> bit & 1:
                targets &= passes
        groups.append((~failed & (patterns == pattern), targets))
    return groups


def _group(state: State, line_mask: Mask, targets: Ids, layouts: Ids) -> Group:
    """targets and layouts are pairs in the order of the layouts."""
    if not len(layouts):
        return Group(layouts, targets, ())
    shapes = []
    found, starts = np.unique(layouts, return_index=True)
    for layout, part in zip(found.tolist(), np.split(targets, starts[1:]), strict=True):
        lines = state.layouts.get(layout)
        if lines is None:
            continue  # damaged
        columns = np.flatnonzero(line_mask[lines])
        if len(columns):
            picked = lines[columns].astype(np.int64)
            shapes.append(Shape(layout, len(lines), columns, picked, part))
    if not shapes:
        return Group(layouts[:0], targets[:0], ())
    return Group(
        np.unique(np.concatenate([shape.lines for shape in shapes])),
        np.unique(np.concatenate([shape.targets for shape in shapes])),
        tuple(shapes),
    )


def _values(state: State, name: str, shape: Shape) -> set[str]:
    """Values of a label: those of the lines, and the targets' where a line is silent."""
    found = state.lines.values(name, shape.lines)
    if (state.lines.codes(name)[shape.lines] == SILENT).any():
        found |= state.targets.values(name, shape.targets)
    return found
