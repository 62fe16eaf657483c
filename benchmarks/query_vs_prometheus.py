"""The API's answers beside Prometheus' own, for the same samples: time, and whether they agree.

A fleet's CPU counters and load go as OpenMetrics text into both stores (`promtool tsdb
create-blocks-from openmetrics`, `fleetpulse import` and a compaction). Each query is then sent over
HTTP to both servers in turn. Prints the medians and their ratio, and by how much values differ at
most. Prometheus before 3.0 takes closed windows, so that of a sample exactly at a window's start
they tell different things; the samples here are never at such a time.

Usage: query_vs_prometheus.py [--hosts 40] [--cpus 1] [--hours 2] [--every 15] [--repeat 20]
"""

import argparse
import http.client
import itertools
import json
import math
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlencode

from fleetpulse.storage.embedded import CompactionLimits, EmbeddedStore
from fleetpulse_cli.importer import import_file

ROOT = Path(__file__).parents[1]
MODES = ("idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user")
HOUR = 3600

# (what, expression, range query with that step in seconds; 0: instant)
QUERIES = (
    ("CPU by mode", "sum by(mode)(rate(node_cpu_seconds_total[5m]))", 15),
    ("CPU of each series", "rate(node_cpu_seconds_total[5m])", 15),
    ("CPU busy by host", '1-avg by(instance)(rate(node_cpu_seconds_total{mode="idle"}[5m]))', 60),
    ("load, long windows", "max_over_time(node_load1[1h])", 15),
    ("load as it is", "node_load1", 15),
    ("top hosts, instant", "topk(5,node_load1)", 0),
)


def write_samples(path: Path, options: argparse.Namespace, begin: int) -> int:
    """OpenMetrics text, series by series; how many samples."""
    rng = random.Random(1)
    turns = options.hours * HOUR // options.every
    # Each host has a place of its own within the interval, as under a scraper.
    shifts = [rng.randrange(1, options.every * 1000) / 1000 for _ in range(options.hosts)]
    times = [[begin + turn * options.every + shift for turn in range(turns)] for shift in shifts]
    with path.open("w") as out:
        out.write("# TYPE node_cpu_seconds counter\n")
        for host, cpu, mode in itertools.product(range(options.hosts), range(options.cpus), MODES):
            grown = itertools.accumulate(rng.random() * options.every for _ in range(turns))
            first = 1e6 * (1 + rng.random())
            labels = f'cpu="{cpu}",mode="{mode}",instance="host{host}:9100",job="node"'
            write_series(
                out, f"node_cpu_seconds_total{{{labels}}}", times[host], (first + v for v in grown)
            )
        out.write("# TYPE node_load1 gauge\n")
        for host in range(options.hosts):
            name = f'node_load1{{instance="host{host}:9100",job="node"}}'
            write_series(out, name, times[host], (4 * rng.random() for _ in range(turns)))
        out.write("# EOF\n")
    count: int = turns * options.hosts * (options.cpus * len(MODES) + 1)
    return count


def write_series(out: TextIO, name: str, times: Sequence[float], values: Iterable[float]) -> None:
    out.writelines(f"{name} {v:.2f} {at:.3f}\n" for v, at in zip(values, times, strict=True))


class Api:
    """One server's /api/v1, over a connection that is kept."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def get(self, path: str, **params: object) -> bytes:
        self._connection.request("GET", f"/api/v1/{path}?{urlencode(params)}")
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise SystemExit(f"HTTP {answer.status}: {body[:300].decode(errors='replace')}")
        return body

    def wait(self) -> None:
        """Until it answers, a minute at most."""
        until = time.monotonic() + 60
        while True:
            try:
                self.get("query", query="1")
            except OSError as err:
                self._connection.close()
                if time.monotonic() > until:
                    raise SystemExit(f"a server does not answer: {err}") from None
                time.sleep(0.1)
            else:
                return


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(*command: str) -> Iterator[None]:
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def fleetpulse(folder: Path, samples: Path, stack: ExitStack) -> Api:
    data = folder / "data"
    data.mkdir()
    store = EmbeddedStore(data / "store.db")
    import_file(samples, store, quiet=True)
    store.compact(CompactionLimits(gather=0, max_seconds=math.inf))
    store.close()
    config = folder / "fleetpulse.yml"
    config.write_text("api: {rate_limit: unlimited}\n")
    port = free_port()
    program = (sys.executable, "-m", "fleetpulse_cli.main", "api", "--config", str(config))
    listen = f"127.0.0.1:{port}"
    stack.enter_context(running(*program, "--data-dir", str(data), "--listen", listen))
    return Api(port)


def prometheus(folder: Path, samples: Path, stack: ExitStack) -> Api:
    create_blocks(samples, folder / "tsdb")
    return prometheus_on(folder / "tsdb", stack)


def create_blocks(samples: Path, blocks: Path) -> None:
    """Prometheus' store of what is in a file of OpenMetrics text."""
    promtool = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(samples), str(blocks)]
    subprocess.run(promtool, check=True, capture_output=True)


def prometheus_on(blocks: Path, stack: ExitStack) -> Api:
    """A Prometheus that scrapes nothing and serves this store."""
    config = blocks.with_name("prometheus.yml")
    config.write_text("")
    port = free_port()
    stack.enter_context(
        running(
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={blocks}",
            "--storage.tsdb.retention.time=10y",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        )
    )
    return Api(port)


def ask(api: Api, expr: str, begin: int, end: int, step: int) -> bytes:
    if step:
        return api.get("query_range", query=expr, start=begin, end=end, step=step)
    return api.get("query", query=expr, time=end)


def difference(ours: bytes, theirs: bytes) -> float:
    """The largest relative difference of two answers' values; inf where they hold others."""
    mine, other = _values(ours), _values(theirs)
    if mine.keys() != other.keys():
        return math.inf
    apart = (
        abs(value - other[key]) / max(abs(value), abs(other[key]), 1e-300)
        for key, value in mine.items()
        if value != other[key]
    )
    return max(apart, default=0.0)


def _values(body: bytes) -> dict[tuple[Any, ...], float]:
    return {
        (*sorted(series["metric"].items()), at): float(value)
        for series in json.loads(body)["data"]["result"]
        for at, value in series.get("values") or [series["value"]]
    }


def compare(apis: Sequence[Api], times: tuple[int, int], repeat: int) -> None:
    print(f"{'':20} {'Prometheus':>11} {'FleetPulse':>11} {'ratio':>7} {'answer':>9} {'apart':>8}")
    for what, expr, step in QUERIES:
        answers = [ask(api, expr, *times, step) for api in apis]
        taken: list[list[float]] = [[], []]
        for _ in range(repeat):
            for api, durations in zip(apis, taken, strict=True):
                started = time.perf_counter()
                ask(api, expr, *times, step)
                durations.append(1000 * (time.perf_counter() - started))
        ours, theirs = map(statistics.median, taken)
        print(
            f"{what:20} {theirs:8.1f} ms {ours:8.1f} ms {theirs / ours:6.1f}x "
            f"{len(answers[0]) / 1000:6.0f} KB {difference(*answers):8.1g}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--hosts", type=int, default=40)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--hours", type=int, default=2)
    parser.add_argument("--every", type=int, default=15)
    parser.add_argument("--repeat", type=int, default=20)
    options = parser.parse_args()
    missing = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    if missing:
        print(f"skipped: {' and '.join(missing)} not installed (Debian: apt install prometheus)")
        return
    end = int(time.time()) // (2 * HOUR) * 2 * HOUR
    begin = end - options.hours * HOUR
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        samples = Path(name) / "samples.om"
        count = write_samples(samples, options, begin)
        series = options.hosts * (options.cpus * len(MODES) + 1)
        print(f"{series} series, {count} samples, {options.hours} h")
        apis = [open_(Path(name), samples, stack) for open_ in (fleetpulse, prometheus)]
        for api in apis:
            api.wait()
        compare(apis, (begin, end), options.repeat)


if __name__ == "__main__":
    main()
