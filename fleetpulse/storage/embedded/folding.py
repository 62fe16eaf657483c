"""One fold: what becomes of some targets' pages and chunks of one span, row by row.

It is carried out step by step, each in one or more transactions, and may be cut off between any
two of them. So a row goes only when what it tells is told by others, in this order: clocks with
numbers of their own, chunks, pages (the older ones first, so that of two rows with the same sample
the later one is still the one that counts), and last the clocks that no chunk needs any more.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field

from fleetpulse.storage.embedded.catalogue import Group
from fleetpulse.storage.embedded.checksums import mix
from fleetpulse.storage.embedded.codec import Times, encode_times, encode_values
from fleetpulse.storage.embedded.damage import Finding
from fleetpulse.storage.embedded.labeltable import Ids
from fleetpulse.storage.embedded.runs import Joined, RunsOf, join
from fleetpulse.storage.embedded.schema import PAGE_SIZE, SLOTS_PER_SPAN, SPAN_MS
from fleetpulse.storage.embedded.sql import IN_LIST, id_list
from fleetpulse.storage.embedded.steps import Step

_PUT_CLOCK = "INSERT INTO clock VALUES (?, ?, ?, ?, ?)"
_PUT_CHUNK = "INSERT OR REPLACE INTO chunk VALUES (?, ?, ?, ?, ?)"
_DROP_CHUNK = "DELETE FROM chunk WHERE span = ? AND line = ? AND target = ?"
_DROP_PAGE = "DELETE FROM page WHERE id = ?"
_DROP_CLOCK = "DELETE FROM clock WHERE span = ? AND target = ? AND n = ?"

_NO_SLOT = -(1 << 50)


@dataclass(slots=True)
class Fold:
    """What there is, then what is to be there.

    page_ids: rising. last_slot: none of the pages is in a later one. page_weight: how much longer
    it takes to delete one than a small row. old_clocks: target and n. folds: the counter when this
    was read. finished: the span is over; if not, all is soon written anew. at_start: there is a
    sample at the very start of the span. anew: chunks that are there and not among those to be
    written go.
    """

    span: int
    targets: list[int]
    lines: list[int]
    page_ids: list[int]
    last_slot: int
    page_weight: int
    old_clocks: list[tuple[int, int]]
    folds: int
    finished: bool
    samples: int = 0
    at_start: bool = False
    anew: bool = False
    clocks: list[tuple[int, int, int, int, bytes]] = field(default_factory=list)
    chunks: list[tuple[int, int, int, int, bytes]] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @classmethod
    def read(
        cls,
        db: sqlite3.Connection,
        span: int,
        targets: Ids,
        group: Group,
        slots: range,
        end_slot: int,
    ) -> "Fold":
        """group: all that the targets may have; slots: of the pages that are to go.

        end_slot: up to where all pages go, this one excluded.
        """
        last = slots[-1] if slots else _NO_SLOT
        widest = max((shape.width for shape in group.shapes), default=0)
        return cls(
            span, targets.tolist(), group.lines.tolist(), _page_ids(db, slots, targets), last,
            1 + 8 * widest // PAGE_SIZE, _clocks(db, span, targets), folds_of(db),
            end_slot >= (span + 1) * SLOTS_PER_SPAN,
        )  # fmt: skip

    def steps(self) -> list[Step]:
        return [
            Step(_PUT_CLOCK, self.clocks),
            Step(_PUT_CHUNK, self.chunks),
            Step(_DROP_CHUNK, self._gone() if self.anew else ()),
            Step(_DROP_PAGE, [(entry,) for entry in self.page_ids], self.page_weight),
            Step(_DROP_CLOCK, [(self.span, *clock) for clock in self.old_clocks]),
        ]

    def _gone(self) -> Sequence[tuple[int, int, int]]:
        kept = {(line, target) for _, line, target, _, _ in self.chunks}
        pairs = ((line, target) for line in self.lines for target in self.targets)
        return [(self.span, *pair) for pair in pairs if pair not in kept]

    def encode(self, runs: RunsOf) -> None:
        """Every series of the targets and the span anew, in the order of the chunks' key."""
        joined: Joined = {}
        numbers: dict[tuple[int, bytes], int] = {}
        seen: dict[tuple[int, int], tuple[Times, int]] = {}
        for target, line in sorted(runs, key=_by_line):
            times, values = join(runs[target, line], joined)
            # Most series of a target share one array; the array in the entry keeps its id from
            # being given to another.
            known = seen.get((target, id(times)))
            if known is None:
                known = seen[target, id(times)] = (times, self._clock(target, times, numbers))
                self.at_start |= int(times[0]) == self.span * SPAN_MS
            self.samples += len(times)
            key = mix(self.span, line, target, known[1])
            blob = encode_values(values, key, quick=not self.finished)
            self.chunks.append((self.span, line, target, known[1], blob))

    def _clock(self, target: int, times: Times, numbers: dict[tuple[int, bytes], int]) -> int:
        """The number of a clock that tells these times, made where there is none yet."""
        key = (target, times.tobytes())
        if key not in numbers:
            first = 1 + max((n for _, n in self.old_clocks), default=-1)
            n = numbers[key] = first + len(numbers)
            blob = encode_times(times, mix(self.span, target, n, len(times)))
            self.clocks.append((self.span, target, n, len(times), blob))
        return numbers[key]


def folds_of(db: sqlite3.Connection) -> int:
    """The counter that whoever rewrites chunks or deletes pages raises."""
    count: int = db.execute("SELECT value FROM counter WHERE name = 'folds'").fetchone()[0]
    return count


def note_folded(db: sqlite3.Connection, last_slot: int) -> int:
    """Raises that counter, in the same transaction; by how much.

    last_slot: that of the last page deleted, or above.
    """
    db.execute("UPDATE counter SET value = value + 1 WHERE name = 'folds'")
    db.execute(
        "INSERT INTO counter VALUES ('folded_slot', ?)"
        " ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)",
        (last_slot,),
    )
    return 1


def _by_line(pair: tuple[int, int]) -> tuple[int, int]:
    return pair[1], pair[0]


def _page_ids(db: sqlite3.Connection, slots: range, targets: Ids) -> list[int]:
    query = f"SELECT id FROM page WHERE slot {IN_LIST} AND target {IN_LIST} ORDER BY id"  # noqa: S608
    return [entry for (entry,) in db.execute(query, (id_list(slots), id_list(targets)))]


def _clocks(db: sqlite3.Connection, span: int, targets: Ids) -> list[tuple[int, int]]:
    query = f"SELECT target, n FROM clock WHERE span = ? AND target {IN_LIST}"  # noqa: S608
    return db.execute(query, (span, id_list(targets))).fetchall()
