"""Those who scrape the fleet, each as a process of its own, and what they cost."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

ROOT = Path(__file__).parents[2]


def made_up_page() -> bytes:
    """507 samples in some 58 KB, as many as node_exporter told of a small host."""
    lines = []
    for metric in range(169):
        name = f"node_made_{metric}_total"
        lines += [
            f"# HELP {name} Made up for a benchmark, and about as long as such texts mostly are.",
            f"# TYPE {name} counter",
        ]
        for cpu in range(3):
            labels = f'cpu="{cpu}",mode="idle",device="/dev/disk/by-id/{metric}-{cpu}"'
            lines.append(f"{name}{{{labels}}} {metric * cpu * 1234.25}")
    return "\n".join(lines).encode() + b"\n"


@dataclass(frozen=True)
class Fleet:
    """A running fleet: targets by address, and how to ask it for its report."""

    port: int
    targets: Sequence[str]
    interval: float

    def report(self) -> dict[str, float]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", "/-/report")
        report: dict[str, float] = json.loads(connection.getresponse().read())
        connection.close()
        return report


@contextmanager
def fleet(count: int, interval: float, page: bytes) -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "page")
        file.write_bytes(page)
        command = [sys.executable, str(Path(__file__).with_name("server.py")), str(file)]
        process = subprocess.Popen([*command, str(interval)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            # 127.0.0.1 itself is left to those who ask for the report, and to remote write.
            hosts = [f"127.{1 + i // 62_500}.{i // 250 % 250}.{1 + i % 250}" for i in range(count)]
            yield Fleet(port, [f"{host}:{port}" for host in hosts], interval)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def fleetpulse(folder: Path, fleet: Fleet) -> list[str]:
    every = f"{round(fleet.interval * 1000)}ms"
    jobs = [{"job_name": "many", "static_configs": [{"targets": list(fleet.targets)}]}]
    scraper = {"listen": "127.0.0.1:0", "scrape_interval": every, "scrape_configs": jobs}
    scraper["scrape_timeout"] = f"{round(fleet.interval * 800)}ms"
    file = folder / "fleetpulse.yml"
    file.write_text(json.dumps({"log_level": "warn", "scraper": scraper}))
    command = [sys.executable, "-m", "fleetpulse_cli.main", "scraper", "--config", str(file)]
    return [*command, "--data-dir", str(folder / "data")]


def prometheus(folder: Path, fleet: Fleet) -> list[str]:
    return [
        "prometheus",
        f"--config.file={_prometheus_file(folder, fleet)}",
        f"--storage.tsdb.path={folder}/tsdb",
        "--web.listen-address=127.0.0.1:0",
        "--log.level=error",
    ]


def vmagent(folder: Path, fleet: Fleet) -> list[str]:
    return [
        "vmagent",
        f"-promscrape.config={_prometheus_file(folder, fleet)}",
        f"-remoteWrite.url=http://127.0.0.1:{fleet.port}/write",
        f"-remoteWrite.tmpDataPath={folder}/queue",
        "-httpListenAddr=127.0.0.1:0",
        "-loggerLevel=ERROR",
    ]


def _prometheus_file(folder: Path, fleet: Fleet) -> Path:
    every = f"{round(fleet.interval * 1000)}ms"
    jobs = [{"job_name": "many", "static_configs": [{"targets": list(fleet.targets)}]}]
    settings = {"scrape_interval": every, "scrape_timeout": every}
    file = folder / "prometheus.yml"
    file.write_text(json.dumps({"global": settings, "scrape_configs": jobs}))
    return file


Contender = Callable[[Path, Fleet], list[str]]
CONTENDERS: dict[str, Contender] = {
    "fleetpulse": fleetpulse,
    "vmagent": vmagent,
    "prometheus": prometheus,
}


@dataclass(frozen=True)
class Cost:
    """cpu: seconds a minute. memory: resident at the end, peak: at its highest, MB."""

    cpu: float
    memory: float
    peak: float
    report: dict[str, float]

    def row(self, name: str, base: "Cost") -> str:
        report = self.report
        return (
            f"{name:11} {report['scrapes']:8,.0f} scrapes of {report['addresses']:6,.0f}  "
            f"late {report['late']:4.0f}  longest gap {report['longest']:6.2f} s  "
            f"CPU {self.cpu:6.2f} s/min ({self.cpu / base.cpu:5.2f})  "
            f"RSS {self.memory:6.0f} MB ({self.memory / base.memory:5.2f})  "
            f"peak {self.peak:6.0f} MB"
        )


def measure(name: str, fleet: Fleet, seconds: float, settle: float) -> Cost | None:
    """Runs one for settle seconds and then for the time asked for; None: it is not installed."""
    if name != "fleetpulse" and shutil.which(name) is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = CONTENDERS[name](Path(folder), fleet)
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        try:
            time.sleep(settle)
            fleet.report()
            began, used = time.monotonic(), _cpu(process.pid)
            time.sleep(seconds)
            if process.poll() is not None:
                raise SystemExit(f"{command[0]} ended with {process.returncode}")
            spent, took = _cpu(process.pid) - used, time.monotonic() - began
            report = fleet.report()
            memory, peak = _memory(process.pid, "VmRSS"), _memory(process.pid, "VmHWM")
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    return Cost(spent * 60 / took, memory, peak, report)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int, which: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if which in line) / 1024


def compare(options: "Sequence[str]", fleet: Fleet, seconds: float, settle: float) -> None:
    """Measures one after the other and prints each beside vmagent, or beside the first there is."""
    costs = {name: measure(name, fleet, seconds, settle) for name in options}
    found = {name: cost for name, cost in costs.items() if cost is not None}
    base = found.get("vmagent") or next(iter(found.values()))
    for name, cost in costs.items():
        print(cost.row(name, base) if cost else f"{name} is not installed")
