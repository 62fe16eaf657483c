"""Pages that hold some of a layout's lines: the store keeps the layout once."""

import contextlib
import sqlite3
from array import array
from pathlib import Path

import pytest

from fleetpulse.model import Labels, Layout, Page, Part
from tests.store_fakes import MINUTE, T0, bits, everything, line, opened

HOST = Labels.of(host="h")
A, B, C = line("a"), line("b"), line("c")
WHOLE = Layout((A, B, C))


def part(columns: list[int]) -> Part:
    return Part(WHOLE, array("i", columns))


def test_a_part_is_a_layout_to_whoever_does_not_know_it() -> None:
    assert part([2, 0]).lines == (C, A)
    assert len(part([2, 0])) == 2
    assert part([2, 0]).digest == Layout((C, A)).digest


@pytest.mark.parametrize("compacted", [False, True], ids=["page", "chunk"])
def test_parts_and_whole_pages_are_read_as_one(tmp_path: Path, compacted: bool) -> None:
    path = tmp_path / "x.db"
    with opened(path) as store:
        store.write([Page(HOST, WHOLE, T0, array("d", [1, 2, 3]))])
        store.write([Page(HOST, part([1]), T0 + 1000, array("d", [4]))])
        times = array("q", [T0 + 2000, T0 + MINUTE, T0 + 20 * MINUTE])
        store.write([Page(HOST, part([2, 0, 0]), T0, array("d", [5, 6, 7]), times)])
        assert store.stats().lines == 3
    with opened(path, now_ms=T0 + 300 * MINUTE) as store:
        if compacted:
            store.compact()
            assert store.stats().pages == 0
        found = everything(store)
    assert found == {
        HOST.merged(A): dict(
            zip([T0, T0 + MINUTE, T0 + 20 * MINUTE], bits([1, 6, 7]), strict=True)
        ),
        HOST.merged(B): dict(zip([T0, T0 + 1000], bits([2, 4]), strict=True)),
        HOST.merged(C): dict(zip([T0, T0 + 2000], bits([3, 5]), strict=True)),
    }


def test_the_last_value_written_for_a_time_counts(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db") as store:
        store.write([Page(HOST, part([0, 0]), T0, array("d", [1, 2]))])
        assert everything(store) == {HOST.merged(A): {T0: bits([2])[0]}}
        store.write([Page(HOST, WHOLE, T0, array("d", [3, 4, 5]))])
        store.write([Page(HOST, part([0]), T0, array("d", [6]))])
        found = everything(store)
    assert found[HOST.merged(A)] == {T0: bits([6])[0]}
    assert found[HOST.merged(B)] == {T0: bits([4])[0]}


def test_many_parts_are_one_layout_in_the_file(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db") as store:
        for minute in range(6):
            columns = [minute % 3, (minute + 1) % 3]
            at = T0 + minute * MINUTE
            store.write([Page(HOST, part(columns), at, array("d", [1, 2]))])
    with contextlib.closing(sqlite3.connect(tmp_path / "x.db")) as db:
        assert db.execute("SELECT count(*) FROM layout").fetchone() == (1,)
