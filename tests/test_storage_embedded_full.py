"""A disk that is really full: writers wait, reads go on, and all recovers by itself."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from fleetpulse.errors import StorageError
from fleetpulse.model import Labels, Page
from fleetpulse.storage.embedded import CompactionLimits, EmbeddedStore, verify
from scraper.buffer import PageBuffer
from scraper.metrics import BufferMetrics
from tests.store_fakes import MINUTE, T0, everything, line

pytestmark = pytest.mark.integration

HOST = Labels.of(host="h")
LINES = [line("m", n=str(number)) for number in range(2000)]
NOW = (T0 + 900 * MINUTE) / 1000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "fleetpulse-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def turn(at: int) -> Page:
    return Page.of(HOST, T0 + at * MINUTE, {one: at * k + 0.5 for k, one in enumerate(LINES)})


def fill(disk: Path) -> Path:
    """Takes all space there is."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return filler


def write_on(store: EmbeddedStore, turns: Iterator[int], written: list[int]) -> None:
    for at in turns:
        store.write([turn(at)])
        written.append(at)


def written_until_full(store: EmbeddedStore, first: int) -> int:
    """The turn that was refused: the log of a store has some room of its own."""
    written = [first - 1]
    with pytest.raises(StorageError, match="disk is full") as refused:
        write_on(store, iter(range(first, first + 1000)), written)
    assert refused.value.retriable
    return written[-1] + 1


def test_a_full_disk_stops_writers_and_no_reader(disk: Path) -> None:
    path = disk / "store.db"
    store = EmbeddedStore(path, now=lambda: NOW)
    try:
        store.write([turn(at) for at in range(10)])
        filler = fill(disk)
        refused = written_until_full(store, 10)

        for _ in range(3):  # again and again: nothing gets worse
            assert {len(samples) for samples in everything(store).values()} == {refused}
            with pytest.raises(StorageError, match="disk is full"):
                store.write([turn(refused)])
            with contextlib.suppress(StorageError):
                store.compact(CompactionLimits(min_age=0, gather=0))
        with contextlib.closing(EmbeddedStore(path, read_only=True)) as reader:
            assert len(everything(reader)) == len(LINES)

        filler.unlink()
        store.write([turn(refused)])
        store.compact(CompactionLimits(min_age=0, gather=0))
        found = everything(store)
        assert {len(samples) for samples in found.values()} == {refused + 1}
    finally:
        store.close()
    assert verify(path).findings == []


def test_what_is_scraped_meanwhile_waits_and_what_is_too_much_is_counted(disk: Path) -> None:
    registry = CollectorRegistry()
    store = EmbeddedStore(disk / "store.db", now=lambda: NOW)
    buffer = PageBuffer(store, BufferMetrics(registry), max_samples=3 * len(LINES))
    try:
        filler = fill(disk)
        refused = written_until_full(store, 0)
        for at in range(refused, refused + 5):
            buffer.add([turn(at)])
            assert not buffer.flush()
        assert registry.get_sample_value("fleetpulse_scraper_dropped_pages_total") == 2

        filler.unlink()
        assert buffer.flush()

        times = set(next(iter(everything(store).values())))
        expected = {*range(refused), *range(refused + 2, refused + 5)}
        assert times == {T0 + at * MINUTE for at in expected}
    finally:
        store.close()
