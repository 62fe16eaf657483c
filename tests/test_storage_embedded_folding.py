"""A fold that is cut off between any two of its transactions changes no answer."""

from pathlib import Path

import pytest

from fleetpulse.matchers import Matcher
from fleetpulse.model import STALE_NAN, Labels, Page
from fleetpulse.storage.embedded import CompactionLimits, EmbeddedStore, verify
from fleetpulse.storage.embedded.catalogue import Catalogue
from fleetpulse.storage.embedded.compaction import Compactor
from fleetpulse.storage.embedded.damage import DamageLog
from fleetpulse.storage.embedded.database import Database
from fleetpulse.storage.embedded.deletion import Deletion
from fleetpulse.storage.embedded.pace import Pace
from fleetpulse.storage.embedded.steps import Step, parts
from tests.store_fakes import (
    FOR_EVER,
    FROM_EVER,
    MINUTE,
    T0,
    everything,
    line,
    opened,
    page,
    timed_page,
)

HOSTS = [Labels.of(host="a"), Labels.of(host="b")]
LINES = [line("m", n=str(number)) for number in range(30)]
NOW = T0 + 90 * MINUTE
ALL = CompactionLimits(min_age=0, gather=0)
# So many slow turns until a pace takes no more than it must: 80 rows of a fold.
LEARNT = 9


class CutError(Exception):
    """Instead of a kill."""


def cutting(after: int) -> Pace:
    """Small transactions, and the end after so many."""
    now, left = [0.0], [after + LEARNT]

    def clock() -> float:
        now[0] += 60.0
        return now[0]

    def rest(_seconds: float) -> None:
        left[0] -= 1
        if not left[0]:
            raise CutError

    pace = Pace(clock, rest)
    for _ in range(LEARNT):
        with pace.turn():
            pass
    return pace


def turn(at: int, value: float) -> list[Page]:
    return [page(host, T0 + at * 10_000, dict.fromkeys(LINES, value)) for host in HOSTS]


def fill(store: EmbeddedStore) -> None:
    """Chunks, then pages that add to them, say otherwise, and say otherwise than each other."""
    for at in range(3):
        store.write(turn(at, float(at)))
    store.compact(ALL)
    for round_ in range(3):
        for at in range(60):
            store.write(turn(at, 100.0 * round_ + at))
    store.write(turn(4, STALE_NAN))
    store.write([timed_page(HOSTS[0], [(LINES[5], T0 + MINUTE, 7.0), (LINES[6], T0 + 1, 8.0)])])
    store.write([page(HOSTS[1], T0 + MINUTE, dict.fromkeys(LINES[:7], 9.0))])


def parts_of(path: Path, pace: Pace) -> tuple[Database, Catalogue, Compactor]:
    damage = DamageLog(path)
    database, catalogue = Database(path, read_only=False), Catalogue(damage)
    return database, catalogue, Compactor(database, catalogue, damage, pace=pace)


def left_of(found: dict[Labels, dict[int, int]]) -> dict[Labels, dict[int, int]]:
    """What test_a_deletion… does not delete."""
    return {one: samples for one, samples in found.items() if not dict(one)["n"].startswith("1")}


@pytest.mark.parametrize("after", range(1, 7))
def test_a_fold_that_is_cut_off(tmp_path: Path, after: int) -> None:
    path = tmp_path / "x.db"
    with opened(path, now_ms=NOW) as store:
        fill(store)
        before = everything(store)
        database, _, compactor = parts_of(path, cutting(after))
        with pytest.raises(CutError):
            compactor.run(NOW / 1000, ALL)
        database.close()
        assert everything(store) == before
        store.compact(ALL)
        assert everything(store) == before
        assert store.stats().pages == 0
        assert not verify(path).findings


@pytest.mark.parametrize("after", range(1, 7))
def test_a_deletion_that_is_cut_off_is_done_by_the_next(tmp_path: Path, after: int) -> None:
    path = tmp_path / "x.db"
    matchers = [Matcher("n", "=~", "1.*")]
    with opened(path, now_ms=NOW) as store:
        fill(store)
        kept = left_of(everything(store))
        database, catalogue, compactor = parts_of(path, cutting(after))
        with pytest.raises(CutError):
            Deletion(database, catalogue, compactor).run(matchers, FROM_EVER, FOR_EVER)
        assert left_of(everything(store)) == kept
        database.close()
        store.delete(matchers, FROM_EVER, FOR_EVER)
        assert everything(store) == kept
        assert not verify(path).findings


CUTS = [
    pytest.param([], [], id="nothing is nothing"),
    pytest.param([("a", 3, 1)], [[("a", 3)]], id="what fits is one part"),
    pytest.param([("a", 12, 1)], [[("a", 10)], [("a", 2)]], id="what does not is cut"),
    pytest.param(
        [("a", 7, 1), ("b", 7, 1)], [[("a", 7), ("b", 3)], [("b", 4)]], id="the next fills the part"
    ),
    pytest.param([("a", 5, 4)], [[("a", 2)], [("a", 2)], [("a", 1)]], id="rows weigh"),
    pytest.param([("a", 2, 99)], [[("a", 1)], [("a", 1)]], id="a heavy row has a part of its own"),
    pytest.param([("a", 0, 1), ("b", 1, 1)], [[("b", 1)]], id="a step without rows is none"),
]


@pytest.mark.parametrize(("steps", "expected"), CUTS)
def test_steps_are_cut_into_parts(
    steps: list[tuple[str, int, int]], expected: list[list[tuple[str, int]]]
) -> None:
    rows = [
        Step(sql, [(number,) for number in range(count)], weight) for sql, count, weight in steps
    ]
    found = list(parts(rows, lambda: 10))
    assert [[(step.sql, len(step.rows)) for step in part] for part in found] == expected
    together = [(step.sql, row) for part in found for step in part for row in step.rows]
    assert together == [(step.sql, row) for step in rows for row in step.rows]
