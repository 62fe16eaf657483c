"""What a VictoriaMetrics behind FleetPulse costs, a sample and a host: figures for docs/scale.md.

Starts Debian's victoria-metrics on loopback, writes pages of a real exporter's shape of so many
hosts through the writer of kind victoriametrics, and asks the shipped rules' expressions with both
engines. Prints CPU seconds of both processes, bytes on disk and memory.

Usage: victoria_cost.py [--hosts N] [--pages N] [--page FILE]
"""

import argparse
import os
import resource
import shutil
import subprocess
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import requests
import yaml
from prometheus_client import CollectorRegistry

from fleetpulse.backend import Storage, open_storage
from fleetpulse.exposition import iter_samples
from fleetpulse.model import Labels, Layout, Page
from fleetpulse.storage.promapi.config import PromApiConfig

ROOT = Path(__file__).parents[1]
STEP_MS = 10_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--pages", type=int, default=60, help="of each host, 10 s apart")
    parser.add_argument("--page", type=Path, default=ROOT / "tests/data/exporter/vm.prom")
    options = parser.parse_args()
    first = list(
        iter_samples(options.page.read_bytes().splitlines(keepends=True), openmetrics=False)
    )
    layout = Layout(tuple(labels for _, labels, _, _ in first))
    values = np.array([value for _, _, value, _ in first])
    with tempfile.TemporaryDirectory() as folder, victoria(Path(folder)) as (url, process):
        written(url, Path(folder), process, layout, values, options)
        for engine in ("own", "passthrough"):
            asked(url, Path(folder), process, engine)


@contextmanager
def victoria(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    program = shutil.which("victoria-metrics")
    if program is None:
        raise SystemExit("victoria-metrics is not installed (Debian package victoria-metrics)")
    address = "127.0.0.1:18431"
    flags = [f"-storageDataPath={folder / 'vm'}", f"-httpListenAddr={address}"]
    with subprocess.Popen(
        [program, *flags, "-retentionPeriod=1y"], stderr=subprocess.DEVNULL
    ) as it:
        try:
            while not answers(f"http://{address}/health"):
                time.sleep(0.1)
            yield f"http://{address}", psutil.Process(it.pid)
        finally:
            it.terminate()


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


def opened(url: str, folder: Path, **more: Any) -> Storage:
    config = PromApiConfig.model_validate({"kind": "victoriametrics", "url": url, **more})
    return open_storage(config, folder, "bench", CollectorRegistry())


def written(
    url: str,
    folder: Path,
    process: psutil.Process,
    layout: Layout,
    values: np.ndarray,
    options: argparse.Namespace,
) -> None:
    rng = np.random.default_rng(1)
    now_ms = round(time.time() * 1000) // STEP_MS * STEP_MS - options.pages * STEP_MS
    now = np.tile(values, (options.hosts, 1))
    moving = rng.random(len(values)) < 0.3  # so many of a real page change from scrape to scrape
    ours, theirs, since = cpu(), cpu_of(process), time.perf_counter()
    with opened(url, folder) as storage:
        for turn in range(options.pages):
            now[:, moving] += np.round(rng.random((options.hosts, int(moving.sum()))) * 9, 2)
            pages = [
                Page(
                    Labels.of(job="node", instance=f"host{host}:9100"),
                    layout,
                    now_ms + turn * STEP_MS,
                    array("d", now[host].tolist()),
                )
                for host in range(options.hosts)
            ]
            storage.writer.write(pages)
        while storage.backlog():
            time.sleep(0.05)
    requests.get(f"{url}/internal/force_flush", timeout=60)
    seconds = time.perf_counter() - since
    ours, theirs = cpu() - ours, cpu_of(process) - theirs
    samples = options.hosts * options.pages * len(values)
    requests.get(f"{url}/internal/force_merge", timeout=60)
    time.sleep(3)
    size = sum(one.stat().st_size for one in (folder / "vm" / "data").rglob("*") if one.is_file())
    index = sum(
        one.stat().st_size for one in (folder / "vm" / "indexdb").rglob("*") if one.is_file()
    )
    print(
        f"{options.hosts} hosts, {len(values)} series each, {samples:,} samples in {seconds:.1f} s"
    )
    print(f"FleetPulse {ours / samples * 1e6:.2f} us CPU a sample, spool and sending included")
    print(f"VictoriaMetrics {theirs / samples * 1e6:.2f} us CPU a sample")
    series, memory = options.hosts * len(values), process.memory_info().rss
    print(f"on disk {size / samples:.2f} bytes a sample, index {index / series:.0f} a series")
    print(f"VictoriaMetrics RSS {memory >> 20} MB, {memory / series:.0f} bytes a series")


def asked(url: str, folder: Path, process: psutil.Process, engine: str) -> None:
    with opened(url, folder, engine=engine) as storage:
        now_ms = round(time.time() * 1000) // STEP_MS * STEP_MS - STEP_MS
        hosts = len(storage.reader.label_values("instance", [], now_ms - 600_000, now_ms))
        for file in ("hosts.yml", "trends.yml"):
            groups = yaml.safe_load((ROOT / "rules/defaults" / file).read_text())["groups"]
            exprs = [rule["expr"] for group in groups for rule in group["rules"]]

            def run(exprs: Sequence[str] = exprs) -> None:
                for expr in exprs:
                    storage.engine.instant(expr, now_ms)

            run()
            seconds, ours, theirs = timed(run, process)
            print(
                f"{engine}: {len(exprs)} rules of {file}, {hosts} hosts: {seconds * 1000:.0f} ms, "
                f"CPU FleetPulse {ours * 1000:.0f} ms, VictoriaMetrics {theirs * 1000:.0f} ms"
            )


def timed(work: Callable[[], None], process: psutil.Process) -> tuple[float, float, float]:
    turns = 5
    ours, theirs, since = cpu(), cpu_of(process), time.perf_counter()
    for _ in range(turns):
        work()
    seconds = time.perf_counter() - since
    return seconds / turns, (cpu() - ours) / turns, (cpu_of(process) - theirs) / turns


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def cpu_of(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
