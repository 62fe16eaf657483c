"""How fast samples go into InfluxDB 1, by the size of a batch, and what that costs.

    python benchmarks/influx_write.py [--hosts 40] [--seconds 4]

Pages of 500 samples go through the whole way: lines, the queue on disk, /write of a real influxd
(Debian's package influxdb) on loopback with its files in a temporary folder. Tells samples a
second, and the processor time of a million samples: here and in influxd. The first pass, which
makes the series, does not count.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from prometheus_client import CollectorRegistry

from fleetpulse.model import Labels, Layout, Page
from fleetpulse.storage.influx.config import Influx1Config
from fleetpulse.storage.influx.writer import open_writer

SIZES = (100, 500, 1_000, 2_000, 5_000, 10_000, 20_000)
START_MS = 1_700_000_000_000
LINES = Layout(
    (
        *(
            Labels.of(__name__="node_cpu_seconds_total", cpu=str(cpu), mode=mode)
            for cpu in range(16)
            for mode in ("idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user")
        ),
        *(
            Labels.of(__name__=f"node_disk_{kind}_total", device=f"sd{disk}")
            for kind in ("reads", "writes", "read_bytes", "written_bytes", "io_time_seconds")
            for disk in "abcdefghij"
        ),
        *(Labels.of(__name__=f"node_memory_{number}_bytes") for number in range(322)),
    )
)
_CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:{backup}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
[http]
  bind-address = "127.0.0.1:{port}"
  log-enabled = false
[monitor]
  store-enabled = false
"""


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    pid: int

    def query(self, text: str) -> list[list[float]]:
        answer = requests.post(
            f"{self.url}/query", params={"q": text, "db": "fleet", "epoch": "ms"}, timeout=60
        )
        answer.raise_for_status()
        return [s["values"] for r in answer.json()["results"] for s in r.get("series", [])]

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def influxd(folder: Path) -> Iterator[Server]:
    port, config = free_port(), folder / "influxd.conf"
    config.write_text(_CONFIG.format(folder=folder, port=port, backup=free_port()))
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        ["influxd", "-config", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            until = time.monotonic() + 30
            while not _answers(url):
                if time.monotonic() > until or process.poll() is not None:
                    sys.exit("influxd does not answer")
                time.sleep(0.05)
            yield Server(url, process.pid)
        finally:
            process.kill()


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/ping", timeout=5).status_code == 204
    except requests.ConnectionError:
        return False


def scrape(hosts: int, turn: int) -> list[Page]:
    at_ms = START_MS + turn * 10_000
    return [
        Page(
            Labels.of(instance=f"host{host}:9100", job="node"),
            LINES,
            at_ms,
            array("d", [turn * 1000.25 + host + number for number in range(len(LINES))]),
        )
        for host in range(hosts)
    ]


@dataclass(frozen=True, slots=True)
class Cost:
    samples: int
    seconds: float
    own: float
    servers: float

    def __str__(self) -> str:
        million = self.samples / 1e6
        return (
            f"{self.samples / self.seconds:>10,.0f} samples/s"
            f"{self.own / million:>8.2f} s here{self.servers / million:>8.2f} s in influxd"
        )


def measure(server: Server, batch_size: int, gzip: bool, hosts: int, seconds: float) -> Cost:
    server.query("DROP DATABASE fleet")
    server.query("CREATE DATABASE fleet")
    given = {"kind": "influxdb1", "url": server.url, "database": "fleet", "flush_interval": "20ms"}
    config = Influx1Config.model_validate(given | {"batch_size": batch_size, "gzip": gzip})
    with tempfile.TemporaryDirectory() as folder:
        registry = CollectorRegistry()
        writer = open_writer(config, Path(folder) / "spool.db", registry)
        try:
            writer.write(scrape(hosts, 0))
            _drained(registry, len(LINES) * hosts)
            began, own, servers = time.monotonic(), time.process_time(), server.cpu_seconds()
            turns = 0
            while time.monotonic() - began < seconds:
                turns += 1
                writer.write(scrape(hosts, turns))
                # Never far ahead: it is the sending that is measured.
                _drained(registry, len(LINES) * hosts * turns)
            _drained(registry, len(LINES) * hosts * (turns + 1))
            spent = Cost(
                len(LINES) * hosts * turns,
                time.monotonic() - began,
                time.process_time() - own,
                server.cpu_seconds() - servers,
            )
        finally:
            writer.close()
    found = server.query('SELECT count("value") FROM /.*/')
    there = sum(int(values[0][1]) for values in found)
    if there != len(LINES) * hosts * (turns + 1):
        sys.exit(f"{there} samples are there, {len(LINES) * hosts * (turns + 1)} were written")
    return spent


def _drained(registry: CollectorRegistry, samples: int) -> None:
    name, labels = "fleetpulse_storage_samples_sent_total", {"store": "influxdb1"}
    while (registry.get_sample_value(name, labels) or 0) < samples:
        time.sleep(0.002)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--hosts", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=4.0, help="for each size")
    options = parser.parse_args()
    if shutil.which("influxd") is None:
        print("skipped: needs influxd (Debian's package influxdb)")
        return 0
    with tempfile.TemporaryDirectory() as folder, influxd(Path(folder)) as server:
        for gzip in (False, True):
            for size in SIZES:
                cost = measure(server, size, gzip, options.hosts, options.seconds)
                print(f"{size:>7,} a batch{' , gzip' if gzip else '':<7}{cost}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
