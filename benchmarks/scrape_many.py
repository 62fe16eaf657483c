"""Scraping many targets for some time, beside Prometheus and vmagent where they are installed.

A small server answers on ADDRESSES addresses of 127.0.0.0/8 with a page of about 500 samples and
notes when each is asked. A turn is missed where two requests are more than 1.5 intervals apart.
The scraper runs in a process of its own and writes to an embedded store, Prometheus to its own
database, vmagent to a server that takes everything.

Usage: scrape_many.py ADDRESSES SECONDS [--interval S] [--page FILE] [--only NAME]
"""

import argparse
import asyncio
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Server(asyncio.Protocol):
    """One connection: answers every request with the page, and notes the time by address."""

    answer = b""
    asked: dict[str, list[float]] = {}  # noqa: RUF012 - one process, one run at a time

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._got = transport, b""
        self._host = transport.get_extra_info("sockname")[0]

    def data_received(self, data: bytes) -> None:
        self._got += data
        while b"\r\n\r\n" in self._got:
            head, _, self._got = self._got.partition(b"\r\n\r\n")
            if head.startswith(b"POST"):  # vmagent's remote write
                self._transport.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                self._transport.close()
                return
            self._transport.write(self.answer)
            self.asked.setdefault(self._host, []).append(time.monotonic())


def hosts(count: int) -> list[str]:
    return [f"127.1.{i // 250}.{1 + i % 250}" for i in range(count)]


def serve(addresses: Sequence[str], page: bytes) -> int:
    """Starts the server in a thread; the port, the same on all addresses."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {len(page)}\r\n\r\n"
    Server.answer = head.encode() + page
    loop, ready = asyncio.new_event_loop(), threading.Event()
    ports: list[int] = []

    async def listen() -> None:
        first = await loop.create_server(Server, addresses[0], 0, backlog=1024)
        ports.append(first.sockets[0].getsockname()[1])
        for address in addresses[1:]:
            await loop.create_server(Server, address, ports[0])
        ready.set()

    def run() -> None:
        loop.create_task(listen())
        loop.run_forever()

    threading.Thread(target=run, daemon=True).start()
    if not ready.wait(60):
        raise SystemExit("the server did not start; is the limit of open files too low?")
    return ports[0]


def made_up_page() -> bytes:
    lines = []
    for metric in range(100):
        name = f"node_made_{metric}_total"
        lines += [f"# HELP {name} Made up.", f"# TYPE {name} counter"]
        lines += [f'{name}{{cpu="{cpu}",mode="idle"}} {metric * cpu * 1.25}' for cpu in range(5)]
    return "\n".join(lines).encode() + b"\n"


def fleetpulse(folder: Path, targets: Sequence[str], interval: float) -> list[str]:
    jobs = [{"job_name": "many", "static_configs": [{"targets": list(targets)}]}]
    config = {
        "listen": "127.0.0.1:0",
        "scrape_interval": f"{round(interval * 1000)}ms",
        "scrape_timeout": f"{round(interval * 800)}ms",
        "scrape_configs": jobs,
    }
    (folder / "scraper.json").write_text(json.dumps(config))
    return [sys.executable, __file__, "--scrape", str(folder)]


def prometheus(folder: Path, targets: Sequence[str], interval: float) -> list[str]:
    _prometheus_file(folder, targets, interval)
    return [
        "prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/tsdb",
        "--web.listen-address=127.0.0.1:0",
        "--log.level=error",
    ]


def vmagent(folder: Path, targets: Sequence[str], interval: float) -> list[str]:
    _prometheus_file(folder, targets, interval)
    return [
        "vmagent",
        f"-promscrape.config={folder}/prometheus.yml",
        f"-remoteWrite.url=http://{targets[0]}/write",
        f"-remoteWrite.tmpDataPath={folder}/queue",
        "-httpListenAddr=127.0.0.1:0",
        "-loggerLevel=ERROR",
    ]


def _prometheus_file(folder: Path, targets: Sequence[str], interval: float) -> None:
    every = f"{round(interval * 1000)}ms"
    config = {
        "global": {"scrape_interval": every, "scrape_timeout": every},
        "scrape_configs": [{"job_name": "many", "static_configs": [{"targets": list(targets)}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))


CONTENDERS = {"fleetpulse": fleetpulse, "prometheus": prometheus, "vmagent": vmagent}


@dataclass(frozen=True)
class Result:
    scraped: int
    missed: int
    cpu: float  # seconds a minute
    memory: float  # MB, at its highest


def measure(command: Sequence[str], seconds: float, interval: float) -> Result:
    """Runs a scraper for an interval to settle and then for the time asked for."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            time.sleep(interval + 2)
            Server.asked = {}
            began, used = time.monotonic(), _cpu(process.pid)
            time.sleep(seconds)
            if process.poll() is not None:
                raise SystemExit(f"{command[0]} ended with {process.returncode}")
            spent = _cpu(process.pid) - used
            asked, took = Server.asked, time.monotonic() - began
            memory = _peak_memory(process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
    missed = sum(
        round((after - before) / interval) - 1
        for times in asked.values()
        for before, after in zip([began, *times], [*times, began + took], strict=True)
        if after - before > 1.5 * interval
    )
    return Result(sum(map(len, asked.values())), missed, spent * 60 / took, memory)


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak_memory(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line) / 1024


def scrape(folder: Path) -> None:
    """In the child: the scraper with an embedded store, until SIGTERM."""
    from fleetpulse.service import run_until_signalled
    from fleetpulse.storage.embedded.store import EmbeddedStore
    from fleetpulse.telemetry import new_registry
    from fleetpulse.yamlconf import load_model
    from scraper.app import ScraperApp
    from scraper.config import ScraperConfig

    config = load_model(folder / "scraper.json", ScraperConfig)
    store = EmbeddedStore(folder / "store.db")
    run_until_signalled([ScraperApp(config, store, new_registry(), base_dir=folder)])
    store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("addresses", type=int, nargs="?", default=50)
    parser.add_argument("seconds", type=float, nargs="?", default=60)
    parser.add_argument("--interval", type=float, default=10.0)
    parser.add_argument("--page", type=Path, help="a page saved from an exporter")
    parser.add_argument("--only", choices=CONTENDERS, help="run one contender alone")
    parser.add_argument("--scrape", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    if options.scrape:
        scrape(options.scrape)
        return
    compare(options)


def compare(options: argparse.Namespace) -> None:
    page = options.page.read_bytes() if options.page else made_up_page()
    addresses = hosts(options.addresses)
    port = serve(addresses, page)
    targets = [f"{address}:{port}" for address in addresses]
    names = [options.only] if options.only else list(CONTENDERS)
    print(f"{len(targets)} targets every {options.interval:g} s for {options.seconds:g} s each")
    base: Result | None = None
    for name in names:
        if name != "fleetpulse" and shutil.which(name) is None:
            print(f"{name:12} is not installed")
            continue
        with tempfile.TemporaryDirectory() as folder:
            command = CONTENDERS[name](Path(folder), targets, options.interval)
            result = measure(command, options.seconds, options.interval)
        base = base or result
        print(
            f"{name:12} scraped {result.scraped:6}  missed {result.missed:4}  "
            f"CPU {result.cpu:6.2f} s/min ({result.cpu / max(base.cpu, 1e-9):.1f}x)  "
            f"memory {result.memory:6.0f} MB ({result.memory / base.memory:.1f}x)"
        )


if __name__ == "__main__":
    main()
