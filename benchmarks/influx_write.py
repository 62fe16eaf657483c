"""What a batch's size and compression cost, on the way to a real InfluxDB 1.

    python -m benchmarks.influx_write [--samples 400000]

A fleet's pages (2,000 samples each) go through the store's writer: encoded, put on disk, taken from
there and sent. Per setting: samples a second until InfluxDB has acknowledged the last, CPU time of
this process and of influxd per 100,000 samples. Each setting has a database of its own, so that
none finds the series of another.
"""

import argparse
import resource
import tempfile
import time
from array import array
from dataclasses import dataclass
from pathlib import Path

import psutil
from prometheus_client import CollectorRegistry

from fleetpulse.model import Labels, Layout, Page
from fleetpulse.storage.influx.config import Influx1Config
from fleetpulse.storage.influx.writer import open_writer
from tests.influx_server import InfluxServer, influxd
from tests.support import wait_for

SIZES = (100, 1_000, 5_000, 10_000, 20_000)
LINES = tuple(
    Labels.of(__name__=f"node_metric_{number % 40}_total", device=f"d{number // 40}", mode="idle")
    for number in range(2_000)
)
LAYOUT = Layout(LINES)
HOSTS = 10
START_MS = 1_700_000_000_000


@dataclass(frozen=True, slots=True)
class Measured:
    """Samples a second; seconds of CPU per 100,000 samples, ours and the server's."""

    rate: float
    ours: float
    theirs: float


def pages(samples: int) -> list[Page]:
    return [
        Page(
            Labels.of(instance=f"web{turn % HOSTS}:9100", job="node"),
            LAYOUT,
            START_MS + turn // HOSTS * 10_000,
            array("d", [turn * 1.25 + number for number in range(len(LINES))]),
        )
        for turn in range(samples // len(LINES))
    ]


def measure(server: InfluxServer, folder: Path, samples: int, size: int, gzip: bool) -> Measured:
    name = f"b{size}_{gzip}"
    server.query(f"CREATE DATABASE {name}")
    given = {"kind": "influxdb1", "url": server.url, "database": name, "flush_interval": "1s"}
    config = Influx1Config.model_validate({**given, "batch_size": size, "gzip": gzip})
    writer = open_writer(config, folder / f"{name}.db", CollectorRegistry())
    todo, influx = pages(samples), _influxd()
    theirs, ours, begin = _seconds_of(influx), _ours(), time.perf_counter()
    for at in range(0, len(todo), HOSTS):
        writer.write(todo[at : at + HOSTS])  # as the scraper does: what came in meanwhile
    wait_for("all to be sent", lambda: writer.backlog() == 0, 120)
    took = time.perf_counter() - begin
    per = samples / 100_000
    found = Measured(samples / took, (_ours() - ours) / per, (_seconds_of(influx) - theirs) / per)
    writer.close()
    server.query(f"DROP DATABASE {name}")
    return found


def _ours() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _influxd() -> psutil.Process:
    (found,) = [one for one in psutil.Process().children() if one.name() == "influxd"]
    return found


def _seconds_of(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--samples", type=int, default=400_000)
    samples = parser.parse_args().samples
    print("batch_size  gzip   samples/s   CPU s/100k   influxd CPU s/100k")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with influxd(folder) as server:
            measure(server, folder, 100_000, 1_001, gzip=False)  # what the first one pays for all
            for gzip in (False, True):
                for size in SIZES:
                    found = measure(server, folder, samples, size, gzip)
                    print(
                        f"{size:10}  {'yes' if gzip else 'no':4} {found.rate:11,.0f} "
                        f"{found.ours:12.2f} {found.theirs:20.2f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
