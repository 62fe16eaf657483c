"""The embedded store beside a SQLite table with a row a sample: write, read, size.

    python benchmarks/store_write_read.py [--hosts 10] [--hours 2]

Each host brings a page of 507 series (as many as node_exporter's) every 10 s; both sides commit
once per 10 s of the fleet, with the same durability. Prints times and ratios, the naive one first.
"""

import argparse
import json
import sqlite3
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Layout, Page
from fleetpulse.storage.base import Hints
from fleetpulse.storage.embedded import CompactionLimits, EmbeddedStore

START_MS = 1_699_999_200_000
STEP_MS = 10_000
SERIES = 507


class Side(Protocol):
    def write(self, pages: Sequence[Page]) -> None: ...
    def read(self, name: str, start_ms: int, end_ms: int) -> int:
        """How many samples of one metric there are, fetched as arrays by series."""


class RowPerSample:
    """What one writes first: series interned, a row for each value."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("CREATE TABLE series (id INTEGER PRIMARY KEY, name TEXT, labels TEXT)")
        self._db.execute("CREATE INDEX series_by_name ON series (name)")
        self._db.execute(
            "CREATE TABLE sample (series INTEGER, at_ms INTEGER, value REAL,"
            " PRIMARY KEY (series, at_ms)) WITHOUT ROWID"
        )
        self._ids: dict[tuple[Labels, Layout], list[int]] = {}

    def write(self, pages: Sequence[Page]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        for page in pages:
            ids = self._ids.get((page.target, page.layout)) or self._intern(page)
            rows = zip(ids, [page.at_ms] * len(ids), page.values, strict=True)
            self._db.executemany("INSERT OR REPLACE INTO sample VALUES (?, ?, ?)", rows)
        self._db.execute("COMMIT")

    def _intern(self, page: Page) -> list[int]:
        ids = self._ids[page.target, page.layout] = []
        for line in page.layout.lines:
            labels = page.target.merged(line)
            query = "INSERT INTO series (name, labels) VALUES (?, ?)"
            ids.append(self._db.execute(query, (labels.name, json.dumps(labels))).lastrowid or 0)
        return ids

    def read(self, name: str, start_ms: int, end_ms: int) -> int:
        total = 0
        series = self._db.execute("SELECT id, labels FROM series WHERE name = ?", (name,))
        for entry, labels in series.fetchall():
            json.loads(labels)
            query = "SELECT at_ms, value FROM sample WHERE series = ? AND at_ms BETWEEN ? AND ?"
            rows = self._db.execute(query, (entry, start_ms, end_ms)).fetchall()
            times, values = zip(*rows, strict=True)
            total += len(np.array(times, np.int64)) + 0 * len(np.array(values))
        return total

    def close(self) -> None:
        self._db.close()


class Embedded:
    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store

    def write(self, pages: Sequence[Page]) -> None:
        self._store.write(pages)

    def read(self, name: str, start_ms: int, end_ms: int) -> int:
        found = self._store.select([Matcher("__name__", "=", name)], start_ms, end_ms, Hints())
        return sum(len(series.times_ms) for series in found)


def layout() -> Layout:
    """64 lines of CPU time (8 CPUs, 8 modes), the rest like a node_exporter's."""
    cpu = [Labels.of(__name__="cpu", cpu=str(k // 8), mode=str(k % 8)) for k in range(64)]
    rest = [Labels.of(__name__=f"metric_{k // 4}", device=str(k % 4)) for k in range(64, SERIES)]
    return Layout((*cpu, *rest))


def values(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """(pages, series): CPU seconds to the hundredth, two fifths constant, counters, gauges."""
    table = np.empty((count, SERIES))
    table[:, :64] = np.round(np.cumsum(rng.random((count, 64)) * 5, axis=0), 2)
    table[:, 64:270] = rng.integers(0, 1000, 206)
    table[:, 270:420] = np.cumsum(rng.integers(0, 500, (count, 150)), axis=0)
    table[:, 420:] = np.round(rng.normal(1e6, 1e4, (count, SERIES - 420)))
    return table


def fleet(hosts: int, turns: int) -> Iterator[list[Page]]:
    """The pages of each turn."""
    rng, shape = np.random.default_rng(1), layout()
    targets = [Labels.of(job="node", instance=f"host{k}:9100") for k in range(hosts)]
    tables = [values(rng, turns) for _ in targets]
    for turn in range(turns):
        at = START_MS + turn * STEP_MS
        yield [
            Page(target, shape, at, array("d", table[turn].tobytes()))
            for target, table in zip(targets, tables, strict=True)
        ]


def seconds(work: Callable[[], object], repeat: int = 1) -> float:
    """The best of some runs."""
    taken = []
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


def write_all(side: Side, turns: Sequence[Sequence[Page]]) -> None:
    for pages in turns:
        side.write(pages)


def tell(what: str, naive: float, ours: float, unit: str) -> None:
    print(f"{what:<34} {naive:>10.3f} {ours:>10.3f} {unit:<12} {naive / ours:>7.1f} x")


def run(folder: Path, hosts: int, hours: float) -> None:
    turns = int(hours * 3_600_000 / STEP_MS)
    end = START_MS + turns * STEP_MS
    samples = hosts * turns * SERIES
    print(f"{hosts} hosts x {SERIES} series x {turns} pages = {samples / 1e6:.1f} M samples")
    print(f"{'':<34} {'row each':>10} {'embedded':>10} {'':<12} {'ratio':>7}")
    pages = list(fleet(hosts, turns))
    store = EmbeddedStore(folder / "store.db", now=lambda: end / 1000 + 86_400)
    with closing(RowPerSample(folder / "naive.db")) as naive, closing(store):
        sides: list[Side] = [naive, Embedded(store)]
        wrote = [1e6 / samples * seconds(partial(write_all, side, pages)) for side in sides]
        tell("write", wrote[0], wrote[1], "us/sample")
        read = (64 * hosts, f"read {64 * hosts} series x {hours:g} h")
        assert {side.read("cpu", START_MS, end) for side in sides} == {read[0] * turns}
        for form in ("pages", "chunks"):
            if form == "chunks":
                folded = seconds(lambda: store.compact(CompactionLimits(max_seconds=1e9)))
                ours = wrote[1] + 1e6 / samples * folded
                tell("write and compact", wrote[0], ours, "us/sample")
            took = [1000 * seconds(partial(side.read, "cpu", START_MS, end), 5) for side in sides]
            tell(f"{read[1]}, {form}", took[0], took[1], "ms")
        stats = store.stats()
    used = (folder / "store.db").stat().st_size - stats.free_bytes
    tell("size", (folder / "naive.db").stat().st_size / samples, used / samples, "bytes/sample")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--hosts", type=int, default=5)
    parser.add_argument("--hours", type=float, default=2.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), options.hosts, options.hours)


if __name__ == "__main__":
    main()
