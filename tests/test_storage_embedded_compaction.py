"""What compaction takes, when, and that two at once do no harm."""

import fcntl
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from fleetpulse.model import Labels, Page
from fleetpulse.storage.embedded import Compaction, CompactionLimits
from fleetpulse.storage.embedded.catalogue import Catalogue, Group
from fleetpulse.storage.embedded.compaction import Compactor
from fleetpulse.storage.embedded.damage import DamageLog
from fleetpulse.storage.embedded.database import Database
from fleetpulse.storage.embedded.labeltable import Ids
from tests.store_fakes import MINUTE, T0, everything, line, opened

HOSTS = [Labels.of(host=name) for name in "abc"]
LIMITS = CompactionLimits(min_age=600, gather=1200, batch_pages=50)


def minutes(target: Labels, first: int, last: int) -> list[Page]:
    """A page a minute, of the minutes given."""
    lines = [line("m", n=str(number)) for number in range(5)]
    return [
        Page.of(target, T0 + at * MINUTE, {one: at * k for k, one in enumerate(lines)})
        for at in range(first, last)
    ]


# Minutes written, minute it is, pages that stay.
AGES = [
    pytest.param((0, 30), 29, 30, id="fewer than twenty minutes are old enough: nothing yet"),
    pytest.param((0, 31), 30, 11, id="then all but the last ten minutes"),
    pytest.param((110, 125), 129, 15, id="the span is not over for long enough"),
    pytest.param((110, 125), 130, 5, id="the span is over: its pages do not wait for more"),
    pytest.param((50, 60), 20, 10, id="pages from the future stay"),
]


@pytest.mark.parametrize(("written", "now", "left"), AGES)
def test_what_is_old_enough_is_folded(
    tmp_path: Path, written: tuple[int, int], now: int, left: int
) -> None:
    with opened(tmp_path / "x.db", now_ms=T0 + now * MINUTE) as store:
        store.write(minutes(HOSTS[0], *written))
        before = everything(store)

        done = store.compact(LIMITS)

        assert store.stats().pages == left
        assert done.pages == written[1] - written[0] - left
        assert done.samples == done.pages * 5
        assert everything(store) == before


def test_later_folds_go_into_the_same_chunks(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    for turn in range(1, 5):
        with opened(path, now_ms=T0 + (turn * 30 + 10) * MINUTE) as store:
            store.write(minutes(HOSTS[0], (turn - 1) * 30, turn * 30))
            done = store.compact(LIMITS)
            assert (done.pages, done.chunks, done.samples) == (30, 5, turn * 30 * 5)
            assert len(everything(store)) == 5


def test_a_batch_is_bounded_and_time_too(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with opened(path, now_ms=T0 + 90 * MINUTE) as store:
        for host in HOSTS:
            store.write(minutes(host, 0, 40))
    ticks = count()
    database = Database(path, read_only=False)
    try:
        # A clock that jumps a second at each look: one batch of one target fits, two do not.
        damage = DamageLog(path)
        compactor = Compactor(database, Catalogue(damage), damage, lambda: float(next(ticks)))
        limits = CompactionLimits(batch_pages=50, max_seconds=2)
        done = [compactor.run(T0 / 1000 + 5400, limits).pages for _ in range(3)]
    finally:
        database.close()

    assert done == [80, 40, 0]


def test_while_another_compacts_nothing_is_done(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db", now_ms=T0 + 90 * MINUTE) as store:
        store.write(minutes(HOSTS[0], 0, 30))
        with (tmp_path / "x.db.lock").open("w") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            assert store.compact() == Compaction(busy=True)
            assert store.expire(0).busy
        assert store.compact().pages == 30


class Meddled(Catalogue):
    """Lets another process in after the fold began to read."""

    def __init__(self, meddle: Callable[[], object]) -> None:
        super().__init__(DamageLog(Path()))
        self._meddle = meddle

    def whole(self, targets: Ids, start_ms: int, end_ms: int) -> Group:
        self._meddle()
        return super().whole(targets, start_ms, end_ms)


def test_a_fold_prepared_on_an_older_state_is_dropped(tmp_path: Path) -> None:
    """Should the lock ever fail (a network file system), the second of two starts over."""
    path = tmp_path / "x.db"
    with opened(path, now_ms=T0 + 90 * MINUTE) as store:
        store.write(minutes(HOSTS[0], 0, 30))
        before = everything(store)
        database = Database(path, read_only=False)
        try:
            late = Compactor(database, Meddled(store.compact), DamageLog(path))
            done = late.run(T0 / 1000 + 5400, CompactionLimits())
        finally:
            database.close()

        assert done == Compaction()
        assert store.stats().pages == 0
        assert everything(store) == before


def test_constant_series_cost_a_few_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    lines = {line("m", n=str(number)): float(number) for number in range(1000)}
    with opened(path, now_ms=T0 + 300 * MINUTE) as store:
        empty = store.stats().bytes
        pages = [Page.of(HOSTS[0], T0 + k * 10_000, lines) for k in range(720)]
        for at in range(0, 720, 60):
            store.write(pages[at : at + 60])
        assert store.compact().samples == 720_000
    with opened(path) as store:  # closing has emptied the write-ahead log
        stats = store.stats()

    # A chunk takes thirteen bytes and its key, a line some forty, a day's tier some sixty.
    assert stats.pages == 0
    assert stats.bytes - stats.free_bytes - empty < 180_000
