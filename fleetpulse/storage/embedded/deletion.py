"""Deletes samples by matcher and time: what is left of each span is folded anew without them."""

import sqlite3
from collections.abc import Iterator, Sequence

import numpy as np

from fleetpulse.errors import StorageError
from fleetpulse.matchers import Matcher
from fleetpulse.storage.embedded import chunks, pages, tierdrop
from fleetpulse.storage.embedded.catalogue import Catalogue, Group
from fleetpulse.storage.embedded.compaction import Compactor
from fleetpulse.storage.embedded.database import Database
from fleetpulse.storage.embedded.labeltable import Ids
from fleetpulse.storage.embedded.runs import Run, RunsOf
from fleetpulse.storage.embedded.schema import SLOTS_PER_SPAN, SPAN_MS

_TARGETS_AT_ONCE = 10  # some 4 million samples
_ATTEMPTS = 5


class Deletion:
    """Call it under the housekeeping lock."""

    def __init__(self, database: Database, catalogue: Catalogue, compactor: Compactor) -> None:
        self._database, self._catalogue, self._compactor = database, catalogue, compactor

    def run(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> int:
        """How many samples went. Pages of the spans concerned become chunks on the way."""
        with self._database.reading() as db:
            self._catalogue.refresh(db)
            groups = self._catalogue.resolve(matchers, start_ms, end_ms).groups
            spans = _spans(db, start_ms, end_ms)
        if not groups:
            return 0
        targets = np.unique(np.concatenate([group.targets for group in groups]))
        drop = _Drop(groups, start_ms, end_ms)
        for span in spans:
            # What lies under a damaged layout cannot be read, and so not be folded without loss.
            blocked = self._catalogue.unreadable(span * SPAN_MS, (span + 1) * SPAN_MS - 1)
            for part in _parts(np.setdiff1d(targets, list(blocked))):
                self._rewrite(span, part, drop)
        tierdrop.drop(self._database, groups, start_ms, end_ms)
        return drop.count

    def _rewrite(self, span: int, targets: Ids, drop: "_Drop") -> None:
        before = drop.count
        for _ in range(_ATTEMPTS):
            if self._compactor.rewrite(span, targets, drop):
                return
            drop.count = before
        raise StorageError("another process rewrites the same samples; try again", retriable=True)


class _Drop:
    """Takes the samples to be deleted out of runs, and counts them."""

    def __init__(self, groups: Sequence[Group], start_ms: int, end_ms: int) -> None:
        self._groups = [(set(one.targets.tolist()), set(one.lines.tolist())) for one in groups]
        self._start, self._end = start_ms, end_ms
        self.count = 0

    def __call__(self, runs: RunsOf) -> None:
        for target, line in list(runs):
            if any(target in targets and line in lines for targets, lines in self._groups):
                left = [part for run in runs[target, line] for part in self._left_of(run)]
                if left:
                    runs[target, line] = left
                else:
                    del runs[target, line]

    def _left_of(self, run: Run) -> Iterator[Run]:
        kept = (run.times < self._start) | (run.times > self._end)
        self.count += len(kept) - int(kept.sum())
        if kept.any():
            written = None if run.written is None else run.written[kept]
            yield Run(run.times[kept], run.values[kept], written)


def _spans(db: sqlite3.Connection, start_ms: int, end_ms: int) -> list[int]:
    slots = pages.slots_between(db, start_ms, end_ms)
    of_pages = range(slots.start // SLOTS_PER_SPAN, (slots.stop - 1) // SLOTS_PER_SPAN + 1)
    found = {*chunks.spans_between(db, start_ms, end_ms), *(of_pages if slots else ())}
    return sorted(span for span in found if span * SPAN_MS <= end_ms)


def _parts(targets: Ids) -> Iterator[Ids]:
    for at in range(0, len(targets), _TARGETS_AT_ONCE):
        yield targets[at : at + _TARGETS_AT_ONCE]
