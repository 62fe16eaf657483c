"""Debian's node_exporter and ours on this host, started with the same flags, asked in turns."""

import http.client
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
PEER = "prometheus-node-exporter"
# Where the defaults of Debian's 1.5 and ours differ, both are told.
FLAGS = (
    "--collector.filesystem.mount-points-exclude=^/(dev|proc|run/credentials/.+|sys)($|/)",
    r"--collector.diskstats.device-exclude=^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$",
)
_TICK = os.sysconf("SC_CLK_TCK")


class Subject:
    """A running exporter and one kept connection to it."""

    def __init__(self, name: str, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.name, self.process, self.port = name, process, port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def get(self, headers: Mapping[str, str] = {}, path: str = "/metrics") -> bytes:
        self._connection.request("GET", path, headers=dict(headers))
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise SystemExit(f"{self.name}: HTTP {response.status}: {body[:200]!r}")
        return body

    def cpu_seconds(self) -> float:
        """Of the process and its children, those that ended included."""
        return sum(_cpu_seconds(pid) for pid in self.pids())

    def rss_mb(self) -> float:
        return sum(_rss_kb(pid) for pid in self.pids()) / 1024

    def pids(self) -> list[int]:
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def close(self) -> None:
        self._connection.close()
        self.process.terminate()
        self.process.wait(15)


def commands(extra: Sequence[str] = ()) -> dict[str, list[str]]:
    """How each is started, but for its address."""
    peer = shutil.which(PEER)
    if peer is None:
        raise SystemExit(f"{PEER} is missing; apt install {PEER}")
    ours = [sys.executable, "-m", "fleetpulse_cli.main", "exporter"]
    return {"fleetpulse": [*ours, *extra], "node_exporter": [peer, *extra]}


@contextmanager
def pair(extra: Sequence[str] = ()) -> Iterator[tuple[Subject, Subject]]:
    """Ours and theirs, answering."""
    with ExitStack() as undo:
        folder = undo.enter_context(tempfile.TemporaryDirectory())
        found = []
        for name, command in commands([*FLAGS, *extra]).items():
            subject, _ = started(name, command, folder)
            undo.callback(subject.close)
            found.append(subject)
        yield found[0], found[1]


def started(name: str, command: Sequence[str], folder: str) -> tuple[Subject, float]:
    """The exporter once it has answered, and the seconds that this took from its start."""
    port = _free_port()
    if name == "fleetpulse":
        command = [*command, "--data-dir", folder]
    begun = time.perf_counter()
    process = subprocess.Popen(
        [*command, f"--web.listen-address=127.0.0.1:{port}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while time.perf_counter() - begun < 30:
        subject = Subject(name, process, port)
        try:
            subject.get()
        except OSError:
            if process.poll() is not None:
                raise SystemExit(f"{name} ended with {process.returncode}: {command}") from None
            time.sleep(0.005)
        else:
            return subject, time.perf_counter() - begun
    process.kill()
    raise SystemExit(f"{name} does not answer")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _cpu_seconds(pid: int) -> float:
    """Of the process by its own clock, to the nanosecond; of its ended children in ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return time.clock_gettime(_clock_of(pid)) + sum(map(int, fields[13:15])) / _TICK


def _clock_of(pid: int) -> int:
    """The number that clock_getcpuclockid(3) gives for a process on Linux."""
    return ~pid << 3 | 2


def _rss_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])
