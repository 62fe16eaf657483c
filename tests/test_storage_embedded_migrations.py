"""A store that an older version wrote is brought up to date in place, whatever interrupts it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest

from fleetpulse.errors import StorageError
from fleetpulse.model import Labels
from fleetpulse.storage.embedded import CompactionLimits, EmbeddedStore
from fleetpulse.storage.embedded.codec import is_sealed
from fleetpulse.storage.embedded.database import Database
from fleetpulse.storage.embedded.migrations import upgrade
from fleetpulse.storage.embedded.schema import VERSION
from fleetpulse.storage.embedded.sealing import Sealer
from tests import store_v1
from tests.store_fakes import MINUTE, T0, bits, everything, opened, page

LATE = T0 + 900 * MINUTE


def expected() -> dict[Labels, dict[int, int]]:
    return {
        labels: dict(zip(samples, bits(list(samples.values())), strict=True))
        for labels, samples in store_v1.samples().items()
    }


def asked(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


def unsealed(path: Path) -> int:
    blobs = asked(path, "SELECT vals FROM chunk UNION ALL SELECT times FROM clock")
    return sum(isinstance(blob, bytes) and not is_sealed(blob) for (blob,) in blobs)


def test_a_store_of_format_1_reads_the_same_at_once_and_after_all_is_done(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    store_v1.build(path)

    with opened(path, now_ms=LATE) as store:
        assert asked(path, "PRAGMA user_version") == [(VERSION,)]
        assert everything(store) == expected()
        assert unsealed(path) == 15
        store.compact()
        assert unsealed(path) == 0
        assert everything(store) == expected()
        assert store.stats().pages == 0
    assert asked(path, "SELECT 1 FROM counter WHERE name = 'unsealed'") == []


def test_an_older_store_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    store_v1.build(path)

    with opened(path, now_ms=LATE) as store:
        values = dict.fromkeys(store_v1.LINES, 1.0)
        store.write([page(store_v1.HOST, T0, values), page(store_v1.HOST, LATE, values)])
        store.compact(CompactionLimits(min_age=0, gather=0))
        found = everything(store)
        stats = store.stats()

    assert {len(samples) for samples in found.values()} == {303}
    assert all(samples[T0] == samples[LATE] == bits([1.0])[0] for samples in found.values())
    assert (stats.targets, stats.lines, stats.layouts) == (1, 4, 1)


def test_a_migration_that_is_cut_off_starts_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    store_v1.build(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE tier")  # what its last statement wants
        db.commit()
    with pytest.raises(sqlite3.OperationalError):
        upgrade(path)

    assert asked(path, "PRAGMA user_version") == [(1,)]
    assert len(asked(path, "PRAGMA table_info(page)")) == 9
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE tier (level)")
        db.commit()
    upgrade(path)
    with opened(path) as store:
        assert everything(store) == expected()


def ticks(*, after: int) -> Iterator[float]:
    """A clock that stands still for some looks and then leaps."""
    return (0.0 if turn < after else 1e9 for turn in count())


@pytest.mark.parametrize("looks", [3, 4, 7])
def test_sealing_is_taken_up_where_it_stopped(tmp_path: Path, looks: int) -> None:
    path = tmp_path / "x.db"
    store_v1.build(path)
    sealed = []
    with opened(path) as store:
        while not sealed or sealed[-1]:
            clock = ticks(after=looks)
            database = Database(path, read_only=False)
            sealed.append(Sealer(database, lambda: next(clock)).run(1.0))  # noqa: B023
            database.close()
            assert everything(store) == expected()

    assert sum(sealed) == 15
    assert len(sealed) > 1
    assert unsealed(path) == 0


def test_a_reader_of_an_older_store_waits_for_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    store_v1.build(path)

    with pytest.raises(StorageError, match="older format 1") as raised:
        EmbeddedStore(path, read_only=True)

    assert raised.value.retriable
    assert asked(path, "PRAGMA user_version") == [(1,)]
