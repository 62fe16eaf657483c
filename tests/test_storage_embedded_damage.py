"""A damaged blob costs itself: it is left out, counted and told once; everything else reads on."""

import logging
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Page
from fleetpulse.storage.base import Hints
from fleetpulse.storage.embedded import CompactionLimits, EmbeddedStore
from tests.store_fakes import MINUTE, T0, everything, line, page, timed_page

HOSTS = [Labels.of(host="a"), Labels.of(host="b")]
LINES = [line("m", n=str(number)) for number in range(100)]  # more than one checksum's worth
LATE = T0 + 90 * MINUTE
ALL = CompactionLimits(min_age=0, gather=0)


@contextmanager
def counted(path: Path, kinds: list[str]) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(path, now=lambda: LATE / 1000, on_damage=kinds.append)
    try:
        yield store
    finally:
        store.close()


def turn(host: Labels, at: int) -> Page:
    return page(host, T0 + at * MINUTE, {one: at + k / 100 for k, one in enumerate(LINES)})


def make(path: Path, *, fold: bool) -> None:
    with counted(path, []) as store:
        for at in range(5):
            store.write([turn(host, at) for host in HOSTS])
        if fold:
            store.compact(ALL)


KEYS = {"chunk": "span, line, target", "clock": "span, target, n"}


def spoil(path: Path, table: str, column: str, where: str, at: int = 3) -> None:
    """Flips a bit of the at-th byte of one blob."""
    key = KEYS.get(table, "id")
    with closing(sqlite3.connect(path)) as db:
        query = f"SELECT CAST({column} AS BLOB), {key} FROM {table} WHERE {where}"
        ((blob, *found),) = db.execute(query).fetchall()
        broken = bytearray(blob)
        broken[at] ^= 1
        value = broken.decode() if column == "labels" else bytes(broken)
        places = ", ".join("?" * len(found))
        query = f"UPDATE {table} SET {column} = ? WHERE ({key}) = ({places})"
        db.execute(query, (value, *found))
        db.commit()


# Table, column, row and byte; whether compacted; series of 200 that are lost, samples of 1,000.
DAMAGE = [
    pytest.param("page", "vals", "id = 3", 3, False, (0, 100), id="a page"),
    pytest.param("page", "sums", "id = 3", 0, False, (0, 100), id="a page's checksum"),
    pytest.param("chunk", "vals", "line = 7 AND target = 1", 0, True, (1, 5), id="a chunk's kind"),
    pytest.param("chunk", "vals", "line = 7 AND target = 1", 9, True, (1, 5), id="a chunk"),
    pytest.param("clock", "times", "target = 2", 3, True, (100, 500), id="a clock"),
    pytest.param("target", "labels", "id = 1", 3, False, (100, 500), id="a target"),
    pytest.param("line", "labels", "id = 9", 3, True, (2, 10), id="a line"),
    pytest.param("layout", "lines", "id = 1", 3, False, (200, 1000), id="a layout"),
]


@pytest.mark.parametrize(("table", "column", "where", "at", "fold", "lost"), DAMAGE)
def test_what_is_damaged_is_left_out_and_told_once(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    table: str,
    column: str,
    where: str,
    at: int,
    fold: bool,
    lost: tuple[int, int],
) -> None:
    path, kinds = tmp_path / "x.db", list[str]()
    make(path, fold=fold)
    with counted(path, kinds) as store:
        before = everything(store)
    assert (len(before), kinds) == (200, [])
    spoil(path, table, column, where, at)

    with counted(path, kinds) as store:
        caplog.set_level(logging.ERROR)
        for _ in range(2):
            found = everything(store)
        store.label_values("n", [[Matcher("host", "!=", "c")]], T0, LATE)
        store.series([], T0, LATE)

    assert len(before) - len(found) == lost[0]
    assert sum(map(len, before.values())) - sum(map(len, found.values())) == lost[1]
    for labels, samples in found.items():
        assert samples.items() <= before[labels].items()
    assert kinds == [table]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert f"{table} (" in caplog.text


def test_a_page_is_read_where_it_is_whole(tmp_path: Path) -> None:
    path, kinds = tmp_path / "x.db", list[str]()
    make(path, fold=False)
    spoil(path, "page", "vals", "id = 1", 8 * 99)

    with counted(path, kinds) as store:
        first = store.select([Matcher("n", "=", "0")], T0, LATE, Hints())
        assert ([len(one.times_ms) for one in first], kinds) == ([5, 5], [])
        last = store.select([Matcher("n", "=", "99")], T0, LATE, Hints())

    assert ([len(one.times_ms) for one in last], kinds) == ([4, 5], ["page"])


@pytest.mark.parametrize("column", ["vals", "times", "cols"])
def test_a_page_with_its_own_times_is_damaged_as_a_whole(tmp_path: Path, column: str) -> None:
    path, kinds = tmp_path / "x.db", list[str]()
    with counted(path, kinds) as store:
        store.write([timed_page(HOSTS[0], [(line("m"), T0 + k, k) for k in range(3)])])
        store.write([timed_page(HOSTS[1], [(line("m"), T0 + k, k) for k in range(3)])])
    spoil(path, "page", column, "id = 1")

    with counted(path, kinds) as store:
        assert list(everything(store)) == [HOSTS[1].merged(line("m"))]
    assert kinds == ["page"]


def test_damage_at_rest_is_dropped_when_its_place_is_written_anew(tmp_path: Path) -> None:
    """A chunk must never meet a clock that is not its own, and nobody hears of it twice."""
    path, kinds = tmp_path / "x.db", list[str]()
    make(path, fold=True)
    spoil(path, "clock", "times", "target = 1")
    spoil(path, "chunk", "vals", "line = 7 AND target = 2")
    with counted(path, kinds) as store:
        store.write([turn(host, 10) for host in HOSTS])
        store.compact(ALL)
        found = everything(store)
        assert sorted(kinds) == ["chunk", "clock"]

    assert {len(samples) for samples in found.values()} == {1, 6}
    with counted(path, kinds) as store:
        assert everything(store) == found
    assert len(kinds) == 2


def test_a_damaged_layout_is_mended_by_the_next_scrape(tmp_path: Path) -> None:
    path, kinds = tmp_path / "x.db", list[str]()
    make(path, fold=False)
    with counted(path, kinds) as store:
        before = everything(store)
    spoil(path, "layout", "lines", "id = 1")

    with counted(path, kinds) as store:
        assert everything(store) == {}
        assert store.compact(ALL).pages == 0  # not a sample is folded away under it
        assert not store.expire(LATE / 1000).lines
        store.write([turn(HOSTS[0], 10)])
        found = everything(store, end_ms=T0 + 9 * MINUTE)
        assert found == before
        store.compact(ALL)
        assert everything(store, end_ms=T0 + 9 * MINUTE) == before
    assert kinds == ["layout"]


@pytest.mark.parametrize("table", ["target", "line"])
def test_what_lost_its_labels_goes_on_under_a_new_id(tmp_path: Path, table: str) -> None:
    path, kinds = tmp_path / "x.db", list[str]()
    make(path, fold=False)
    spoil(path, table, "labels", "id = 1")

    with counted(path, kinds) as store:
        store.write([turn(host, 10) for host in HOSTS])
        now = everything(store, start_ms=T0 + 10 * MINUTE)
        assert len(now) == 200
        store.compact(ALL)
        assert everything(store, start_ms=T0 + 10 * MINUTE) == now
    assert kinds == [table]


@pytest.mark.parametrize("column", ["target", "layout"])
def test_an_index_row_that_points_nowhere_hides_no_other(tmp_path: Path, column: str) -> None:
    path = tmp_path / "x.db"
    make(path, fold=True)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"UPDATE held SET {column} = 999 WHERE target = 1")
        db.commit()

    with counted(path, []) as store:
        assert len(everything(store)) == 100
        store.write([turn(HOSTS[0], 10)])
        assert len(everything(store)) == 200


# Table and column of what may be damaged: blobs, and the numbers that say whose they are.
ANYWHERE = [
    ("page", "vals"), ("page", "sums"), ("page", "from_ms"), ("page", "target"),
    ("page", "layout"), ("chunk", "vals"), ("chunk", "clock"), ("chunk", "target"),
    ("chunk", "line"), ("clock", "times"), ("clock", "samples"), ("clock", "target"),
    ("layout", "lines"), ("layout", "digest"), ("line", "labels"), ("target", "labels"),
]  # fmt: skip


def damage_anything(path: Path, chance: random.Random) -> str:
    """Flips one bit of one row anywhere; what it was."""
    table, column = chance.choice(ANYWHERE)
    key = KEYS.get(table, "id")
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute(f"SELECT {column}, {key} FROM {table}").fetchall()
        value, *found = chance.choice(rows)
        if isinstance(value, int):
            value ^= 1 << chance.randrange(20)
        else:
            broken = bytearray(value.encode() if isinstance(value, str) else value)
            broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(7)
            value = broken.decode() if column == "labels" else bytes(broken)
        places = ", ".join("?" * len(found))
        query = f"UPDATE OR IGNORE {table} SET {column} = ? WHERE ({key}) = ({places})"
        db.execute(query, (value, *found))
        db.commit()
    return f"{table}.{column} of {found}"


@pytest.mark.parametrize("seed", range(15))
def test_no_damage_is_ever_read_as_a_sample(tmp_path: Path, seed: int) -> None:
    path, chance = tmp_path / "x.db", random.Random(seed)
    make(path, fold=True)
    with counted(path, []) as store:
        store.write([turn(host, at) for at in (10, 11) for host in HOSTS])
        before = everything(store)
    done = [damage_anything(path, chance) for _ in range(3)]

    for _ in range(2):
        with counted(path, []) as store:
            for labels, samples in everything(store).items():
                assert samples.items() <= before[labels].items(), done
            store.compact(ALL)  # and what is folded of it is no worse
