"""CPU per scrape and memory of the exporter, beside node_exporter telling the same.

Both run with the collectors that both have, on this host, and are scraped over one kept connection
in turns. Run: python benchmarks/exporter_scrape.py [SCRAPES]
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import requests

from exporter.names import COLLECTOR_NAMES

ROOT = Path(__file__).parents[1]
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Subject:
    name: str
    process: "subprocess.Popen[bytes]"
    url: str
    cpu: float = 0.0
    wall: float = 0.0
    scrapes: int = 0

    def scrape(self, session: requests.Session, times: int) -> None:
        cpu, wall = self.cpu_seconds(), time.perf_counter()
        for _ in range(times):
            assert session.get(self.url, timeout=30).ok
        self.cpu += self.cpu_seconds() - cpu
        self.wall += time.perf_counter() - wall
        self.scrapes += times

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    def rss_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) / 1024


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def started(name: str, command: Sequence[str], port: int) -> Subject:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=ROOT, stdout=quiet, stderr=quiet)
    subject = Subject(name, process, f"http://127.0.0.1:{port}/metrics")
    for _ in range(200):
        try:
            requests.get(subject.url, timeout=30)
            return subject
        except requests.ConnectionError:
            time.sleep(0.05)
    raise SystemExit(f"{name} does not answer")


def subjects(data_dir: str) -> list[Subject]:
    mine, theirs = free_port(), free_port()
    ours = [sys.executable, "-m", "fleetpulse_cli.main", "exporter"]
    ours += ["--listen", f"127.0.0.1:{mine}", "--data-dir", data_dir]
    found = [started("fleetpulse", ours, mine)]
    peer = shutil.which("prometheus-node-exporter")
    if peer is not None:
        command = [peer, f"--web.listen-address=127.0.0.1:{theirs}", "--collector.disable-defaults"]
        command += [f"--collector.{name}" for name in COLLECTOR_NAMES]
        found.append(started("node_exporter", command, theirs))
    return found


def report(all_of: Sequence[Subject]) -> None:
    for one in all_of:
        cpu, wall = one.cpu / one.scrapes * 1e3, one.wall / one.scrapes * 1e3
        print(
            f"{one.name:14} {cpu:6.2f} ms CPU a scrape, {wall:6.2f} ms wall, "
            f"{one.rss_mb():6.1f} MB RSS after {one.scrapes + 1} scrapes"
        )
    if len(all_of) == 2:
        ours, peer = all_of
        cpu, rss = ours.cpu / peer.cpu, ours.rss_mb() / peer.rss_mb()
        print(f"ratio to node_exporter: CPU {cpu:.2f}, RSS {rss:.2f}")


def main() -> None:
    scrapes = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    with tempfile.TemporaryDirectory() as data_dir, requests.Session() as session:
        running = subjects(data_dir)
        try:
            for _ in range(10):  # in turns, so that a busy host is busy for both
                for one in running:
                    one.scrape(session, max(1, scrapes // 10))
            report(running)
        finally:
            for one in running:
                one.process.terminate()
                one.process.wait(10)


if __name__ == "__main__":
    main()
