"""Retention: what is too old goes, with the index rows that only it needed."""

from pathlib import Path

import pytest

from fleetpulse.model import Labels, Page
from tests.store_fakes import T0, everything, line, opened

SPAN = 7_200_000
OLD, BOTH, NEW = Labels.of(host="old"), Labels.of(host="both"), Labels.of(host="new")


def pages() -> list[Page]:
    return [
        Page.of(OLD, T0, {line("gone"): 1, line("stays"): 2}),
        Page.of(BOTH, T0, {line("stays"): 3}),
        Page.of(BOTH, T0 + 3 * SPAN, {line("stays"): 4}),
        Page.of(NEW, T0 + 3 * SPAN, {line("stays"): 5}),
    ]


@pytest.mark.parametrize("compacted", [False, True], ids=["pages", "chunks"])
def test_old_samples_and_their_index_go(tmp_path: Path, compacted: bool) -> None:
    with (
        opened(tmp_path / "x.db", now_ms=T0 + 4 * SPAN) as store,
        opened(tmp_path / "x.db") as other,
    ):
        store.write(pages())
        before = everything(other)
        if compacted:
            store.compact()

        done = store.expire(2 * SPAN / 1000)

        kept = {BOTH.merged(line("stays")), NEW.merged(line("stays"))}
        assert set(before) - kept == {OLD.merged(line("gone")), OLD.merged(line("stays"))}
        for reader in (store, other):
            found = everything(reader)
            assert set(found) == kept
            assert {at for times in found.values() for at in times} == {T0 + 3 * SPAN}
            assert reader.label_values("host", [], 0, T0 + 9 * SPAN) == ["both", "new"]
        assert (done.pages, done.chunks) == ((0, 3) if compacted else (2, 0))
        assert (done.targets, done.lines) == (1, 1)
        assert (store.stats().oldest_ms or 0) >= T0 + 2 * SPAN
        assert store.expire(2 * SPAN / 1000).pages == 0


def test_a_writer_that_knew_what_is_gone_writes_it_anew(tmp_path: Path) -> None:
    with (
        opened(tmp_path / "x.db", now_ms=T0 + 4 * SPAN) as store,
        opened(tmp_path / "x.db") as other,
    ):
        other.write(pages())
        everything(other)
        store.expire(2 * SPAN / 1000)
        again = Page.of(OLD, T0 + 4 * SPAN, {line("gone"): 6, line("stays"): 7})

        other.write([again])

        for reader in (store, other):
            assert list(everything(reader)[OLD.merged(line("gone"))]) == [T0 + 4 * SPAN]
            assert len(everything(reader)) == 4


def test_the_span_that_the_retention_cuts_stays_whole(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db", now_ms=T0 + SPAN) as store:
        store.write(pages()[:2])
        store.compact()
        before = everything(store)

        store.expire(SPAN / 2000)

        assert everything(store) == before
        assert store.label_values("host", [], T0, T0) == ["both", "old"]
        # What comes late is joined with what is there.
        store.write([Page.of(OLD, T0 + 1, {line("gone"): 8})])
        store.compact()
        assert list(everything(store)[OLD.merged(line("gone"))]) == [T0, T0 + 1]


def test_freed_space_goes_back_to_the_file_system(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    lines = {line("m", n=str(number)): number / 7 for number in range(2000)}
    with opened(path, now_ms=T0 + 4 * SPAN) as store:
        for turn in range(30):
            store.write([Page.of(OLD, T0 + turn * 50 + k, lines) for k in range(50)])
    before = path.stat().st_size
    with opened(path, now_ms=T0 + 4 * SPAN) as store:
        assert store.expire(SPAN / 1000).pages == 1500
    assert path.stat().st_size < before
