"""How long queries take, here and in Prometheus, of the same samples over HTTP.

    python benchmarks/query_latency.py [--hosts 20] [--hours 2] [--repeat 15] [--data FOLDER]

A fleet's hours are made of a real exporter's pages (fleet/history.py) and told to both: as pages
to FleetPulse's store, as OpenMetrics text to `promtool tsdb create-blocks-from`; both have them
compressed, as what is older than some minutes is. Each query goes to both in turn over kept
connections, so that noise hits both. Prints both medians and their ratio, the geometric mean of
the ratios (the aim is 1 at most) and the worst (at most 3), and by how much any values differ.
Exit code 1 where answers are not the same to 1e-9.

--data keeps the samples in a folder for the next time.
"""

import argparse
import math
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from fleet import history
from query_vs_prometheus import Api, ask, create_blocks, difference, free_port, prometheus_on
from store_read import serve

from fleetpulse.storage.embedded import CompactionLimits, EmbeddedStore

HOUR = 3600
EVERY = 10

# (what, expression, step of a range query in seconds; 0: instant)
QUERIES = (
    ("one gauge", 'node_load1{instance="host3:9100"}', 15),
    ("gauge of all hosts", "node_memory_MemFree_bytes", 15),
    ("join, one to one", "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes", 15),
    ("CPU by mode", "sum by(mode)(rate(node_cpu_seconds_total[5m]))", 15),
    ("CPU busy by host", '1 - avg by(instance)(rate(node_cpu_seconds_total{mode="idle"}[5m]))', 15),
    ("CPU of each series", "rate(node_cpu_seconds_total[5m])", 15),
    ("all counters", 'sum(rate({__name__=~"node_.*_total"}[5m]))', 15),
    ("quantile over time", "quantile_over_time(0.95, node_memory_MemFree_bytes[30m])", 15),
    ("average over time", "avg_over_time(node_memory_MemAvailable_bytes[30m])", 15),
    ("topk", "topk(3, rate(node_context_switches_total[5m]))", 15),
    (
        "join, many to one",
        "sum by(instance,mode)(rate(node_cpu_seconds_total[5m]))"
        " * on(instance) group_left(nodename) node_uname_info",
        15,
    ),
    (
        "histogram quantile",
        "histogram_quantile(0.99, sum by(le)(rate(http_request_duration_seconds_bucket[5m])))",
        15,
    ),
    (
        "subquery",
        "max_over_time(sum by(instance)(rate(node_network_receive_bytes_total[1m]))[30m:1m])",
        15,
    ),
    ("instant: one gauge", 'node_load1{instance="host3:9100"}', 0),
    ("instant: CPU by mode", "sum by(mode)(rate(node_cpu_seconds_total[5m]))", 0),
    ("instant: all series", 'count by(__name__)({__name__=~"node_.+"})', 0),
)


def prepare(folder: Path, options: argparse.Namespace) -> None:
    """Both stores in the folder, which is empty."""
    end = int(time.time()) // (2 * HOUR) * 2 * HOUR
    begin = end - options.hours * HOUR
    address = f"127.0.0.1:{free_port()}"
    name, command = next(kv for kv in history.commands(address).items() if shutil.which(kv[0]))
    lines, seen = history.record(command, address)
    turns = options.hours * HOUR // EVERY
    told = history.play(lines, seen, options.hosts, turns, begin * 1000, EVERY * 1000)
    print(f"pages of {Path(name).name}, {len(told.lines)} lines, {told.samples} samples")
    store = EmbeddedStore(folder / "store.db", now=lambda: float(end))
    for pages in told.pages():
        store.write(pages)
    store.compact(CompactionLimits(gather=0, max_seconds=math.inf))
    store.close()
    text = folder / "samples.om"
    told.write_text(text)
    create_blocks(text, folder / "tsdb")
    text.unlink()
    (folder / "times").write_text(f"{begin} {end}")


def compare(apis: Sequence[Api], times: tuple[int, int], repeat: int) -> bool:
    """Whether all answers were the same."""
    print(f"{'':22}{'Prometheus':>13}{'FleetPulse':>13}{'ratio':>8}{'answer':>11}{'apart':>9}")
    ratios, apart = [], []
    for what, expr, step in QUERIES:
        answers = [ask(api, expr, *times, step) for api in apis]
        apart.append(difference(*answers))
        ours, theirs = medians(apis, expr, (*times, step), repeat)
        ratios.append(ours / theirs)
        print(
            f"{what:22}{theirs:10.1f} ms{ours:10.1f} ms{ratios[-1]:8.2f}"
            f"{len(answers[0]) / 1000:8.0f} KB{apart[-1]:9.1g}",
            flush=True,
        )
    print(f"geometric mean {statistics.geometric_mean(ratios):.2f}, worst {max(ratios):.2f}")
    return max(apart) <= 1e-9


def medians(
    apis: Sequence[Api], expr: str, times: tuple[int, int, int], repeat: int
) -> tuple[float, float]:
    """Milliseconds of each."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeat):
        for api, durations in zip(apis, taken, strict=True):
            started = time.perf_counter()
            ask(api, expr, *times)
            durations.append(1000 * (time.perf_counter() - started))
    ours, theirs = map(statistics.median, taken)
    return ours, theirs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--hours", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    missing = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    if missing:
        print(f"skipped: {' and '.join(missing)} not installed (Debian: apt install prometheus)")
        return
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = options.data or Path(name)
        folder.mkdir(exist_ok=True)
        if not (folder / "times").exists():
            prepare(folder, options)
        begin, end = map(int, (folder / "times").read_text().split())
        apis = [serve(folder, stack), prometheus_on(folder / "tsdb", stack)]
        for api in apis:
            api.wait()
        if not compare(apis, (begin, end), options.repeat):
            sys.exit("answers differ")


if __name__ == "__main__":
    main()
