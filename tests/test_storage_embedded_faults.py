"""Files and folders that cannot be used: one clear line, and whether a retry may help."""

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from fleetpulse.errors import StorageError
from fleetpulse.model import Labels, Metadata
from fleetpulse.storage.base import Hints
from fleetpulse.storage.embedded import EmbeddedStore
from fleetpulse.storage.embedded.database import fault
from tests.store_fakes import MINUTE, T0, everything, line, opened, page

HOST = Labels.of(host="h")


def make(path: Path) -> None:
    with opened(path) as store:
        store.write([page(HOST, T0 + k, {line("m"): k}) for k in range(3)])


def refused(path: Path, *, read_only: bool = False) -> StorageError:
    with pytest.raises(StorageError) as raised:
        EmbeddedStore(path, read_only=read_only)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    return raised.value


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE recipes (name)")
        db.commit()


def newer(path: Path) -> None:
    make(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")


FILES = [
    pytest.param(lambda path: path.write_text("text" * 999), "not a FleetPulse", id="text"),
    pytest.param(lambda path: path.touch(), "no FleetPulse store", id="empty"),
    pytest.param(foreign, "no FleetPulse store", id="another program's database"),
    pytest.param(newer, "has format 99, this program knows 2", id="a later version's"),
    pytest.param(lambda path: path.mkdir(), "is a folder", id="a folder"),
]


@pytest.mark.parametrize(("spoil", "expected"), FILES)
@pytest.mark.parametrize("read_only", [False, True], ids=["rw", "ro"])
def test_what_is_no_store_is_refused_and_left_alone(
    tmp_path: Path, spoil: Callable[[Path], object], expected: str, read_only: bool
) -> None:
    path = tmp_path / "x.db"
    spoil(path)
    before = path.read_bytes() if path.is_file() else b""

    error = refused(path, read_only=read_only)

    assert expected in str(error)
    assert not error.retriable
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_reader_of_a_store_that_is_not_there_yet_may_retry(tmp_path: Path) -> None:
    assert refused(tmp_path / "x.db", read_only=True).retriable
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert "writable folder" in str(refused(tmp_path / "file" / "x.db"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert "writable folder" in str(refused(tmp_path / "x.db"))
    finally:
        tmp_path.chmod(stat.S_IRWXU)


def test_a_damaged_page_of_the_file_is_told_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    make(path)
    whole = path.read_bytes()
    # All but the first page, which tells what the file is.
    path.write_bytes(whole[:16384] + b"\xff" * (len(whole) - 16384))

    assert "damaged" in str(refused(path))
    with opened(path, read_only=True) as store:
        with pytest.raises(StorageError, match="damaged") as raised:
            store.select([], T0, T0 + 9, Hints())
        assert not raised.value.retriable


def test_a_full_disk_is_retriable_and_loses_only_what_was_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    make(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        size = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {size}")
        with pytest.raises(sqlite3.OperationalError) as full:
            db.execute("INSERT INTO line (labels) VALUES (zeroblob(99999))")

    error = fault(path, full.value)

    assert error.retriable
    assert "disk is full" in str(error)
    with opened(path) as store:
        assert len(everything(store)) == 1


def test_a_lock_held_too_long_is_retriable(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    make(path)
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as one,
        closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as two,
    ):
        one.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError) as busy:
            two.execute("BEGIN IMMEDIATE")

    assert fault(path, busy.value).retriable


def test_reading_only_means_it(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    make(path)

    with opened(path, read_only=True) as store:
        assert len(everything(store)) == 1
        for forbidden in (
            lambda: store.write([page(HOST, T0, {line("m"): 1})]),
            lambda: store.describe({"m": Metadata("gauge")}),
            lambda: store.expire(0),
            store.compact,
        ):
            with pytest.raises(StorageError, match="for reading only") as raised:
                forbidden()
            assert not raised.value.retriable


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db") as store:
        store.close()
        for call in (
            lambda: store.write([page(HOST, T0, {line("m"): 1})]),
            lambda: store.select([], T0, T0, Hints()),
            store.compact,
        ):
            with pytest.raises(StorageError, match="is closed"):
                call()


def test_a_lock_file_that_cannot_be_made(tmp_path: Path) -> None:
    with opened(tmp_path / "x.db") as store:
        (tmp_path / "x.db.lock").mkdir()
        with pytest.raises(StorageError, match=r"x\.db\.lock"):
            store.compact()


def test_a_backup_by_copy_is_a_store(tmp_path: Path) -> None:
    make(tmp_path / "x.db")
    shutil.copy(tmp_path / "x.db", tmp_path / "y.db")
    with opened(tmp_path / "x.db") as one, opened(tmp_path / "y.db") as two:
        assert everything(one) == everything(two)


def test_nothing_is_left_beside_the_file(tmp_path: Path) -> None:
    make(tmp_path / "x.db")
    assert [path.name for path in tmp_path.iterdir()] == ["x.db"]


@pytest.mark.parametrize("again", [False, True], ids=["deleted", "replaced"])
def test_a_file_that_went_away_takes_nothing_in_silence(tmp_path: Path, again: bool) -> None:
    path = tmp_path / "x.db"
    with opened(path) as store:
        store.write([page(HOST, T0, {line("m"): 1})])
        for file in tmp_path.iterdir():
            file.rename(tmp_path / f"old-{file.name}")
        if again:
            make(path)
        for call in (
            lambda: store.write([page(HOST, T0 + MINUTE, {line("m"): 2})]),
            lambda: store.select([], T0, T0, Hints()),
        ):
            with pytest.raises(StorageError, match="deleted or replaced") as raised:
                call()
            assert raised.value.retriable
