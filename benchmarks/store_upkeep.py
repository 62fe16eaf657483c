"""What the upkeep of a store costs: CPU of folding pages into chunks, and of making tiers.

    python benchmarks/store_upkeep.py [--hosts 40] [--hours 4] [--for-hosts 1000]

Hosts with 507 series each bring a page every 10 s, on a clock that runs as fast as it can; once a
minute of that clock the store is looked after as by the scraper, and at its end, a day later, tiers
are made of all. Prints CPU seconds a minute of that clock, multiplied to as many hosts as one asks
for, and CPU a sample; beside it the same of taking the pages in.
"""

import argparse
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from store_write_read import SERIES, START_MS, STEP_MS, layout, values

from fleetpulse.model import Labels, Page
from fleetpulse.storage.embedded import CompactionLimits, EmbeddedStore

MINUTE_MS, DAY_MS = 60_000, 86_400_000


class Meter:
    """CPU seconds by what they were spent on."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def of(self, what: str, work: Callable[[], object]) -> None:
        begin = time.process_time()
        work()
        self.spent[what] = self.spent.get(what, 0.0) + time.process_time() - begin


def turns(hosts: int, count: int, begin_ms: int) -> Iterator[tuple[int, list[Page]]]:
    """When each turn ends, and its pages; hosts differ by where in the turn they are."""
    rng, shape = np.random.default_rng(1), layout()
    shifts = rng.integers(0, STEP_MS, hosts).tolist()
    targets = [Labels.of(job="node", instance=f"host{k}:9100") for k in range(hosts)]
    tables = [values(rng, count) for _ in targets]
    for turn in range(count):
        at = begin_ms + turn * STEP_MS
        pages = [
            Page(target, shape, at + shift, array("d", table[turn].tobytes()))
            for target, shift, table in zip(targets, shifts, tables, strict=True)
        ]
        yield at + STEP_MS, pages


def run(path: Path, hosts: int, hours: float) -> Meter:
    begin_ms = START_MS // DAY_MS * DAY_MS
    now, meter = [begin_ms / 1000], Meter()
    store = EmbeddedStore(path, now=lambda: now[0])
    for end_ms, pages in turns(hosts, int(hours * 3_600_000 / STEP_MS), begin_ms):
        meter.of("pages in", partial(store.write, pages))
        now[0] = end_ms / 1000
        if end_ms % MINUTE_MS == 0:
            meter.of("pages to chunks", store.compact)
    everything = CompactionLimits(gather=0, max_seconds=1e9)
    now[0] += 10_000
    meter.of("pages to chunks", partial(store.compact, everything))
    now[0] = (begin_ms + DAY_MS) / 1000 + 10_000
    meter.of("tiers", partial(store.compact, everything))
    store.close()
    return meter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--hosts", type=int, default=40)
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--for-hosts", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        meter = run(Path(folder) / "store.db", options.hosts, options.hours)
    minutes, samples = 60 * options.hours, options.hosts * SERIES * options.hours * 360
    print(f"{options.hosts} hosts x {SERIES} series x {options.hours:g} h, a sample in 10 s")
    print(f"{'':18} {'CPU s a minute at':>18} {options.for_hosts} hosts {'us a sample':>14}")
    for what, spent in meter.spent.items():
        a_minute = spent / minutes * options.for_hosts / options.hosts
        print(f"{what:18} {a_minute:25.2f} {1e6 * spent / samples:20.3f}")


if __name__ == "__main__":
    main()
