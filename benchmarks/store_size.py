"""Bytes a sample on disk: the embedded store beside Prometheus and VictoriaMetrics.

    python benchmarks/store_size.py [--hosts 20] [--scrapes 720] [--peer-hosts 4]

Debian's node_exporter gives a few real pages, a second apart. Each host's counters start elsewhere
and grow by increments that were seen, its gauges wander among values that were seen; a scrape every
10 s, each host at a place of its own. The embedded store takes them as pages and compacts them;
promtool makes blocks of the same samples and VictoriaMetrics imports them (of fewer hosts, as text
takes its time). Counted is the whole folder or file, index and log included. The limit is 0.45.
"""

import argparse
import shutil
import subprocess
import tempfile
import time
import urllib.request
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families
from query_vs_prometheus import free_port, running

from fleetpulse.model import Labels, Layout, Page
from fleetpulse.storage.embedded import CompactionLimits, EmbeddedStore

LIMIT = 0.45
START_MS, STEP_MS = 1_699_999_200_000, 10_000
PAGES = 12

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Seen:
    """Real pages: series, which are counters, values (pages, series), decimals of each series."""

    layout: Layout
    counters: NDArray[np.bool_]
    values: Floats
    decimals: NDArray[np.int64]


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def real_pages() -> Seen:
    address = f"127.0.0.1:{free_port()}"
    with running("prometheus-node-exporter", f"--web.listen-address={address}"):
        pages = []
        until = time.monotonic() + 10
        while len(pages) < PAGES:
            time.sleep(1)
            try:
                pages.append(read_page(fetch(f"http://{address}/metrics")))
            except OSError:
                if time.monotonic() > until:
                    raise
    common = [line for line in pages[0] if all(line in page for page in pages)]
    values = np.array([[page[line][0] for line in common] for page in pages])
    counters = np.array([pages[0][line][1] for line in common])
    return Seen(Layout(tuple(common)), counters, values, decimals_of(values))


def read_page(text: str) -> dict[Labels, tuple[float, bool]]:
    return {
        Labels.of({"__name__": sample.name, **sample.labels}): (
            sample.value,
            family.type in ("counter", "histogram", "summary"),
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def decimals_of(values: Floats) -> NDArray[np.int64]:
    """Digits after the point that a series needs, 9 at most."""
    found = np.full(values.shape[1], 9)
    for digits in range(8, -1, -1):
        found[np.all(np.round(values, digits) == values, axis=0)] = digits
    return found


def host(seen: Seen, number: int, scrapes: int) -> Floats:
    """(scrapes, series)."""
    rng = np.random.default_rng(number)
    count = seen.values.shape[1]
    picked = rng.integers(0, len(seen.values) - 1, (scrapes, count))
    steps = np.maximum(np.diff(seen.values, axis=0), 0.0) * (STEP_MS / 1000)
    grown = np.cumsum(np.take_along_axis(steps, picked, axis=0), axis=0)
    begin = seen.values[0] * (1 + number * rng.integers(0, 100, count) / 100)
    wandering = np.take_along_axis(seen.values, picked, axis=0)
    table: Floats = np.where(seen.counters, begin + grown, wandering)
    for digits in range(9):
        of = seen.decimals == digits
        table[:, of] = np.round(table[:, of], digits)
    return table


def times_of(number: int, scrapes: int) -> list[int]:
    return [START_MS + 1 + number * 487 % STEP_MS + turn * STEP_MS for turn in range(scrapes)]


def ours(folder: Path, seen: Seen, hosts: int, scrapes: int) -> float:
    path = folder / "store.db"
    end = START_MS / 1000 + scrapes * STEP_MS / 1000
    store = EmbeddedStore(path, now=lambda: end + 7200)
    for number in range(hosts):
        target = Labels.of(job="node", instance=f"host{number}:9100")
        table = host(seen, number, scrapes)
        pages = [
            Page(target, seen.layout, at, array("d", row.tobytes()))
            for at, row in zip(times_of(number, scrapes), table, strict=True)
        ]
        for begin in range(0, scrapes, 100):
            store.write(pages[begin : begin + 100])
        store.compact(CompactionLimits(max_seconds=1e9), tiers=False)
    store.close()
    samples = hosts * scrapes * len(seen.layout)
    size = _used(path) / samples
    began = time.perf_counter()
    store = EmbeddedStore(path, now=lambda: end + 2 * 86_400)
    rows = store.compact(CompactionLimits(max_seconds=1e9)).tiers
    store.close()
    took = time.perf_counter() - began
    print(
        f"tiers of these {scrapes * STEP_MS / 3_600_000:.1f} h: {_used(path) / samples - size:.3f}"
        f" bytes more a sample, {1e6 * took / max(rows, 1):.0f} us a series and day"
    )
    return size


def _used(path: Path) -> float:
    store = EmbeddedStore(path)
    stats = store.stats()
    store.close()
    return path.stat().st_size - stats.free_bytes


def lines(seen: Seen, hosts: int, scrapes: int) -> Iterator[tuple[str, str, float, int]]:
    """Metric, series as text, value and time, by metric and series."""
    tables = [host(seen, number, scrapes) for number in range(hosts)]
    order = sorted(range(len(seen.layout)), key=lambda k: seen.layout.lines[k].name)
    for column in order:
        line = seen.layout.lines[column]
        for number, table in enumerate(tables):
            labels = Labels.of(job="node", instance=f"host{number}:9100").merged(line)
            text = str(labels).replace(", ", ",")
            for at, value in zip(times_of(number, scrapes), table[:, column], strict=True):
                yield line.name, text, float(value), at


def prometheus(folder: Path, seen: Seen, hosts: int, scrapes: int) -> float:
    samples, blocks = folder / "samples.om", folder / "tsdb"
    with samples.open("w") as out:
        last = ""
        for name, text, value, at in lines(seen, hosts, scrapes):
            if name != last:
                out.write(f"# TYPE {name} unknown\n")
                last = name
            out.write(f"{text} {value!r} {at / 1000}\n")
        out.write("# EOF\n")
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(samples), str(blocks)]
    subprocess.run(command, check=True, capture_output=True)
    samples.unlink()
    return folder_size(blocks) / (hosts * scrapes * len(seen.layout))


def victoriametrics(folder: Path, seen: Seen, hosts: int, scrapes: int) -> float:
    data, address = folder / "vm", f"127.0.0.1:{free_port()}"
    flags = (f"-storageDataPath={data}", f"-httpListenAddr={address}", "-retentionPeriod=100y")
    with running("victoria-metrics", *flags):
        until = time.monotonic() + 20
        while True:
            try:
                fetch(f"http://{address}/health")
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)
        for body in _bodies(lines(seen, hosts, scrapes)):
            urllib.request.urlopen(
                f"http://{address}/api/v1/import/prometheus", body, timeout=60
            ).close()
        fetch(f"http://{address}/internal/force_flush")
        fetch(f"http://{address}/internal/force_merge")
        time.sleep(5)
    return folder_size(data) / (hosts * scrapes * len(seen.layout))


def _bodies(samples: Iterator[tuple[str, str, float, int]]) -> Iterator[bytes]:
    part: list[str] = []
    for _, text, value, at in samples:
        part.append(f"{text} {value!r} {at}\n")
        if len(part) == 100_000:
            yield "".join(part).encode()
            part = []
    yield "".join(part).encode()


def folder_size(path: Path) -> int:
    return sum(one.stat().st_size for one in path.rglob("*") if one.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--scrapes", type=int, default=720)
    parser.add_argument("--peer-hosts", type=int, default=4)
    options = parser.parse_args()
    if shutil.which("prometheus-node-exporter") is None:
        print("skipped: prometheus-node-exporter is not installed (Debian has it)")
        return
    seen = real_pages()
    count = len(seen.layout)
    samples = options.hosts * options.scrapes * count
    print(f"{options.hosts} hosts x {count} series x {options.scrapes} = {samples / 1e6:.1f} M")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mine = ours(folder, seen, options.hosts, options.scrapes)
        verdict = "within" if mine <= LIMIT else "ABOVE"
        print(f"{'FleetPulse':<16}{mine:6.3f} bytes a sample, {verdict} {LIMIT}")
        for program, size_of in (("promtool", prometheus), ("victoria-metrics", victoriametrics)):
            if shutil.which(program) is None or not options.peer_hosts:
                print(f"{size_of.__name__:<16}skipped")
                continue
            theirs = size_of(folder, seen, options.peer_hosts, options.scrapes)
            print(
                f"{size_of.__name__:<16}{theirs:6.3f} bytes a sample, {theirs / mine:5.1f} x ours"
            )


if __name__ == "__main__":
    main()
