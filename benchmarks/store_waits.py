"""How long a writer waits while another process keeps house: the aim is at most 100 ms.

    python benchmarks/store_waits.py [--hosts 40] [--hours 26] [--wide 50000] [--churn 100000]

A store of some hosts, 507 series each at a sample in 30 s, and of one target with tens of thousands
of series is folded into chunks, then tiers, then expires, while a second process commits a page
every 10 ms. With them expires what pages of ever new lines have left in the index. Prints the
writer's waits by phase.
"""

import argparse
import multiprocessing
import tempfile
import time
from array import array
from collections.abc import Callable, Sequence
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import numpy as np
from store_write_read import START_MS, layout, values

from fleetpulse.model import Labels, Layout, Page
from fleetpulse.storage.embedded import CompactionLimits, EmbeddedStore, Keeping

STEP_MS = 30_000
EVERY = 0.01
DAY = 86_400_000
LIMIT_MS = 100


def write_on(
    path: Path, end_ms: int, told: "SimpleQueue[list[tuple[float, float]]]", stop: Path
) -> None:
    """Commits a page every 10 ms; tells when each began and how long it took."""
    store = EmbeddedStore(path)
    target, shape = Labels.of(job="node", instance="writer"), layout()
    waits: list[tuple[float, float]] = []
    store.stats()  # what it takes to learn the index is nobody else's doing
    while not stop.exists():
        page = Page(target, shape, end_ms + len(waits), array("d", bytes(8 * len(shape))))
        begin = time.monotonic()
        store.write([page])
        waits.append((begin, time.monotonic() - begin))
        time.sleep(EVERY)
    store.close()
    told.put(waits)


def fill(store: EmbeddedStore, hosts: int, hours: float, begin_ms: int) -> None:
    rng, shape = np.random.default_rng(1), layout()
    turns = int(hours * 3_600_000 / STEP_MS)
    for host in range(hosts):
        table = values(rng, turns)
        target = Labels.of(job="node", instance=f"host{host}:9100")
        for first in range(0, turns, 200):
            store.write(
                [
                    Page(
                        target, shape, begin_ms + turn * STEP_MS, array("d", table[turn].tobytes())
                    )
                    for turn in range(first, min(turns, first + 200))
                ]
            )


def fill_wide(store: EmbeddedStore, series: int, begin_ms: int) -> None:
    """One target with many series, an hour of it."""
    rng = np.random.default_rng(2)
    shape = Layout(tuple(Labels.of(__name__="wide", n=str(k)) for k in range(series)))
    target = Labels.of(job="wide", instance="one")
    table = np.round(rng.random(series) * 1000)
    for turn in range(60):
        table[: series // 2] += turn
        store.write([Page(target, shape, begin_ms + turn * 60_000, array("d", table.tobytes()))])


def fill_churn(store: EmbeddedStore, lines: int, begin_ms: int) -> None:
    """Pages of which each has lines that none had before."""
    target = Labels.of(job="churn", instance="one")
    for first in range(0, lines, 1000):
        shape = Layout(tuple(Labels.of(__name__="churn", n=str(first + k)) for k in range(1000)))
        page = Page(target, shape, begin_ms + 60 * first, array("d", bytes(8000)))
        store.write([page])


def tell(phase: str, waits: Sequence[float], took: float) -> None:
    found = 1000 * np.array(waits)
    worst = found.max() if len(found) else float("nan")
    print(
        f"{phase:<26} {took:7.1f} s {len(found):6} commits  median {np.median(found):6.2f} ms"
        f"  p99 {np.percentile(found, 99):6.1f}  worst {worst:6.1f}"
        f"  {'within' if worst <= LIMIT_MS else 'ABOVE'} {LIMIT_MS} ms"
    )


def run(folder: Path, options: argparse.Namespace) -> None:
    hosts, hours = options.hosts, options.hours
    path, stop = folder / "store.db", folder / "stop"
    begin_ms = START_MS // DAY * DAY
    end_ms = begin_ms + int(hours * 3_600_000)
    now = [end_ms / 1000]
    store = EmbeddedStore(path, now=lambda: now[0])
    fill(store, hosts, hours, begin_ms)
    fill_wide(store, options.wide, begin_ms)
    fill_churn(store, options.churn, begin_ms)
    context = multiprocessing.get_context("spawn")
    told: SimpleQueue[list[tuple[float, float]]] = context.SimpleQueue()
    writer = context.Process(target=write_on, args=(path, end_ms + DAY, told, stop))
    limits = CompactionLimits(gather=0, max_seconds=1e9)
    phases: list[tuple[str, Callable[[], object]]] = [
        ("alone", lambda: time.sleep(3)),
        ("pages to chunks", lambda: store.compact(limits, tiers=False)),
        ("tiers", lambda: store.compact(limits)),
        ("samples expire", lambda: store.expire(Keeping(3 * 3600, 40 * 86400))),
        ("all expired", lambda: store.expire(1)),
    ]
    now[0] += 7200
    marks = []
    writer.start()
    time.sleep(1)
    for phase, work in phases:
        began = time.monotonic()
        work()
        marks.append((phase, began, time.monotonic()))
    stop.touch()
    waits = told.get()
    writer.join()
    store.close()
    print(f"{hosts} hosts x 507 series x {hours:g} h, a sample in {STEP_MS / 1000:g} s")
    print(f"one target of {options.wide} series, {options.churn} lines that came and went")
    for phase, began, ended in marks:
        mine = [wait for at, wait in waits if at + wait >= began and at <= ended]
        tell(phase, mine, ended - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--hosts", type=int, default=40)
    parser.add_argument("--hours", type=float, default=26.0)
    parser.add_argument("--wide", type=int, default=50_000)
    parser.add_argument("--churn", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(Path(folder), options)


if __name__ == "__main__":
    main()
