"""Range selectors read from the embedded store, beside the same asked of Prometheus by `query`.

    python benchmarks/store_read.py [--hosts 1000] [--every 10] [--repeat 5] [--width 16]

The same samples go to both: 16 series of CPU time on each of many hosts for an hour, and a series
of a day. Of the embedded store's, what is older than 10 minutes is in chunks, the rest in pages as
they came. Three selectors: one series over its day, one series of each host over the last five
minutes, all 16 of each host over the hour. Prints for each the median time of

- first: the store's own answer, arrays by series, to the first who asks, the index being loaded;
- select: the same when asked again;
- query: the same over HTTP as JSON, from `fleetpulse api`;
- Prometheus: the same over HTTP as JSON;

and how often theirs goes into ours; the aim is that neither is below 1. With --width, the pages
have that many lines, as real ones do; Prometheus is not given those beyond the 16.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TextIO

import numpy as np
from query_vs_prometheus import Api, free_port, prometheus, running

from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Layout, Page
from fleetpulse.storage.base import Hints
from fleetpulse.storage.embedded import CompactionLimits, EmbeddedStore

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
MODES = ("idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user")
LINES = [
    Labels.of(__name__="node_cpu_seconds_total", cpu=str(cpu), mode=mode)
    for cpu in range(2)
    for mode in MODES
]
DAILY = Labels.of(__name__="daily")

# (what, selector with its range)
SELECTORS = (
    ("1 series, 24 h", "daily[1d]"),
    ("1 of each host, last 5 min", 'node_cpu_seconds_total{cpu="0",mode="user"}[5m]'),
    ("16 of each host, 1 h", "node_cpu_seconds_total[1h]"),
)
QUESTIONS = (
    ([Matcher("__name__", "=", "daily")], DAY_MS),
    (
        [
            Matcher("__name__", "=", "node_cpu_seconds_total"),
            Matcher("cpu", "=", "0"),
            Matcher("mode", "=", "user"),
        ],
        300_000,
    ),
    ([Matcher("__name__", "=", "node_cpu_seconds_total")], HOUR_MS),
)


def turns(hosts: int, every_ms: int, end_ms: int, width: int) -> Iterator[list[Page]]:
    """The hour's pages, all hosts' of each turn; each host has a place of its own within it."""
    rng = np.random.default_rng(1)
    more = [Labels.of(__name__=f"other_{k}") for k in range(width - len(LINES))]
    shape, others = Layout((*LINES, *more)), array("d", range(len(more)))
    targets = [Labels.of(instance=f"host{k}:9100", job="node") for k in range(hosts)]
    shifts = rng.integers(1, every_ms, hosts).tolist()
    table = rng.random((hosts, len(LINES))) * 1e6
    for at in range(end_ms - HOUR_MS, end_ms, every_ms):
        table += rng.random(table.shape) * every_ms / 8000
        rounded = np.round(table, 2)
        yield [
            Page(target, shape, at + shift, array("d", rounded[k].tobytes()) + others)
            for k, (target, shift) in enumerate(zip(targets, shifts, strict=True))
        ]


def day(every_ms: int, end_ms: int) -> list[Page]:
    rng = np.random.default_rng(2)
    target, shape = Labels.of(instance="host0:9100", job="node"), Layout((DAILY,))
    ats = range(end_ms - DAY_MS + 1, end_ms, every_ms)
    values = np.round(np.cumsum(rng.random(len(ats))), 2).tolist()
    return [
        Page(target, shape, at, array("d", [value])) for at, value in zip(ats, values, strict=True)
    ]


def write_text(path: Path, pages: Sequence[Page]) -> None:
    """OpenMetrics, series by series."""
    by_series: dict[str, list[str]] = {}
    names: dict[tuple[Labels, Labels], str] = {}
    for page in pages:
        for line, value in zip(page.layout.lines[: len(LINES)], page.values, strict=False):
            key = names.setdefault(
                (page.target, line), str(page.target.merged(line)).replace(", ", ",")
            )
            by_series.setdefault(key, []).append(f"{value!r} {page.at_ms / 1000}")
    with path.open("w") as out:
        for name, kind in (("daily", "gauge"), ("node_cpu_seconds_total", "counter")):
            out.write(f"# TYPE {name.removesuffix('_total')} {kind}\n")
            _write_family(out, name, by_series)
        out.write("# EOF\n")


def _write_family(out: TextIO, name: str, by_series: dict[str, list[str]]) -> None:
    for key, samples in by_series.items():
        if key.startswith(name + "{"):
            out.writelines(f"{key} {sample}\n" for sample in samples)


def fill(path: Path, options: argparse.Namespace, end_ms: int, samples: Path) -> int:
    """The store, and the same samples as text; how many."""
    store = EmbeddedStore(path, now=lambda: end_ms / 1000)
    pages = day(options.every * 1000, end_ms)
    for begin in range(0, len(pages), 1000):
        store.write(pages[begin : begin + 1000])
    for part in turns(options.hosts, options.every * 1000, end_ms, options.width):
        store.write(part)
        pages += part
    store.compact(CompactionLimits(max_seconds=1e9))
    store.close()
    write_text(samples, pages)
    return sum(len(page.values) for page in pages)


def median_ms(work: Callable[[], object], repeat: int) -> float:
    taken = []
    for _ in range(repeat):
        begin = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - begin))
    return statistics.median(taken)


def serve(folder: Path, stack: ExitStack) -> Api:
    config = folder / "fleetpulse.yml"
    config.write_text("api: {rate_limit: unlimited}\n")
    port = free_port()
    program = (sys.executable, "-m", "fleetpulse_cli.main", "api", "--config", str(config))
    listen = ("--data-dir", str(folder), "--listen", f"127.0.0.1:{port}")
    stack.enter_context(running(*program, *listen))
    return Api(port)


def compare(store: EmbeddedStore, apis: Sequence[Api], end_ms: int, repeat: int) -> None:
    print(
        f"{'':28}{'samples':>10}{'first':>11}{'select':>11}{'query':>11}{'Prometheus':>13}{'ratios':>15}"
    )
    for (what, selector), (matchers, range_ms) in zip(SELECTORS, QUESTIONS, strict=True):
        select = partial(read, store, matchers, end_ms - range_ms + 1, end_ms, range_ms)
        first_ms, select_ms = (median_ms(select, times) for times in (1, repeat))
        asked = {"query": selector, "time": f"{end_ms / 1000:.3f}"}
        query_ms, prometheus_ms = (
            median_ms(partial(api.get, "query", **asked), repeat) for api in apis
        )
        ours = "".join(f"{one:8.1f} ms" for one in (first_ms, select_ms, query_ms))
        print(
            f"{what:28}{select():10}{ours}{prometheus_ms:10.1f} ms"
            f"{prometheus_ms / select_ms:8.1f}x{prometheus_ms / query_ms:6.1f}x"
        )


def read(
    store: EmbeddedStore, matchers: Sequence[Matcher], start_ms: int, end_ms: int, range_ms: int
) -> int:
    """How many samples there are."""
    found = store.select(matchers, start_ms, end_ms, Hints(range_ms=range_ms))
    return sum(len(one.times_ms) for one in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--width", type=int, default=len(LINES))
    options = parser.parse_args()
    missing = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    if missing:
        print(f"skipped: {' and '.join(missing)} not installed (Debian: apt install prometheus)")
        return
    end_ms = int(time.time()) // 7200 * 7_200_000
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder, samples = Path(name), Path(name) / "samples.om"
        count = fill(folder / "store.db", options, end_ms, samples)
        print(f"{options.hosts} hosts, {count} samples, one in {options.every} s")
        theirs = prometheus(folder, samples, stack)
        ours = serve(folder, stack)
        for api in (ours, theirs):
            api.wait()
        store = EmbeddedStore(folder / "store.db", read_only=True)
        store.labels([], 0, end_ms)
        compare(store, (ours, theirs), end_ms, options.repeat)
        store.close()


if __name__ == "__main__":
    main()
