"""Kills whoever writes to a remote store, at random points, while the store comes and goes.

    python benchmarks/crash_spool.py [--rounds 40] [--seed 1] [--influxd]

A writer's process is killed with SIGKILL within a quarter of a second, round after round; each
goes on with the queue that the one before left. In half of the rounds the store is away. When it
is there, it drops connections before and after it has taken a batch, and answers 503 now and then.
Then it is away for half an hour's scrapes, of which some more writers die. In the end everything
that a writer was told to be safe must be in the store, the same, nothing else may be, and each
series must have come in its order; what came twice is counted. The seed fixes when each dies, not
how far it has come. With --influxd the store is a real InfluxDB 1 (Debian's package influxdb),
which is killed with SIGKILL as well. Exit code 1 where anything is lost or wrong.
"""

import argparse
import http.server
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import requests
from prometheus_client import CollectorRegistry

from fleetpulse.model import Labels, Page
from fleetpulse.storage.influx.config import Influx1Config
from fleetpulse.storage.influx.writer import open_writer

START_MS = 1_700_000_000_000
STEP_MS = 10_000
TURNS_A_ROUND = 10_000
HALF_AN_HOUR = 1_800_000 // STEP_MS
LINES = 100
DEADLINE = 120.0  # seconds for the queue to become empty

Times = Mapping[int, float]


def at_ms(turn: int) -> int:
    return START_MS + turn * STEP_MS


def write(url: str, spool: Path, turn: int, turns: int) -> None:
    """Tells each turn on standard output, once it is safe; then waits for its end."""
    settings = {"kind": "influxdb1", "url": url, "database": "fleet", "batch_size": 350}
    config = Influx1Config.model_validate(settings | {"flush_interval": "10ms", "timeout": "2s"})
    writer = open_writer(config, spool, CollectorRegistry())
    for now in range(turn, turn + turns):
        lines = {Labels.of(__name__="m", n=str(n)): now + n / 64 for n in range(LINES)}
        writer.write([Page.of(Labels.of(host="h"), at_ms(now), lines)])
        print(now, flush=True)
    writer.start()
    while writer.backlog():
        time.sleep(0.01)
    print("empty", flush=True)
    signal.pause()


class Store(Protocol):
    url: str

    def away(self) -> None: ...
    def back(self, *, for_good: bool = False) -> None: ...
    def series(self) -> Mapping[str, Times]:
        """Values by time, by the label n."""

    def close(self) -> str:
        """What else there is to tell."""


class FakeStore:
    """Takes lines as InfluxDB does, when it is in the mood."""

    _LINE = re.compile(rb"m,host=h,n=(\d+) value=(\S+) (\d+)")

    def __init__(self, chance: random.Random) -> None:
        self._chance, self._away, self._well = chance, False, 4
        self._found: dict[str, dict[int, float]] = defaultdict(dict)
        self.requests, self.again, self.disorder = Counter[str](), 0, 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                mood = outer.take(body)
                if mood.startswith("cut"):
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(503 if mood == "busy" else 204)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                """Nothing."""

        self._server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def take(self, body: bytes) -> str:
        moods = ("ok",) * self._well + ("cut after", "cut before", "busy")
        mood = "cut before" if self._away else self._chance.choice(moods)
        self.requests[mood] += 1
        if mood in ("ok", "cut after"):
            for n, value, time_ms in self._LINE.findall(body):
                times = self._found[n.decode()]
                if int(time_ms) in times:
                    self.again += 1
                elif times and int(time_ms) < next(reversed(times)):
                    self.disorder += 1
                times.setdefault(int(time_ms), float(value))
        return mood

    def away(self) -> None:
        self._away = True

    def back(self, *, for_good: bool = False) -> None:
        self._away = False
        if for_good:  # each failure has the writer wait
            self._well = 400

    def series(self) -> Mapping[str, Times]:
        return self._found

    def close(self) -> str:
        self._server.shutdown()
        self._server.server_close()
        asked = ", ".join(f"{mood} {count}" for mood, count in sorted(self.requests.items()))
        if self.disorder:
            sys.exit(f"{self.disorder} samples came out of their order")
        return f"requests: {asked}; samples that came twice: {self.again}; out of order: 0"


class InfluxStore:
    """A real server; where it is away, it has been killed."""

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

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        port, self._config, self._kills = free_port(), folder / "influxd.conf", 0
        text = self._CONFIG.format(folder=folder, port=port, backup=free_port())
        self._config.write_text(text)
        self.url = f"http://127.0.0.1:{port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.back()
        requests.post(f"{self.url}/query", params={"q": "CREATE DATABASE fleet"}, timeout=20)

    def away(self) -> None:
        if self._process is not None:
            self._kills += 1
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def back(self, *, for_good: bool = False) -> None:
        if self._process is not None:
            return
        command = ["influxd", "-config", str(self._config)]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdout=quiet, stderr=quiet)
        until = time.monotonic() + 60
        while not self._answers():
            if time.monotonic() > until or self._process.poll() is not None:
                sys.exit("influxd does not answer")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.url}/ping", timeout=5).status_code == 204
        except requests.ConnectionError:
            return False

    def series(self) -> Mapping[str, Times]:
        query = 'SELECT "value" FROM "m" GROUP BY "n"'
        params = {"q": query, "db": "fleet", "epoch": "ms"}
        answer = requests.post(f"{self.url}/query", params=params, timeout=120)
        answer.raise_for_status()
        found = answer.json()["results"][0].get("series", [])
        return {one["tags"]["n"]: dict(one["values"]) for one in found}

    def close(self) -> str:
        kills = self._kills
        self.away()
        return f"influxd was killed {kills} times"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Writers:
    """Starts writers over one queue, one after the other, and kills them."""

    def __init__(self, url: str, spool: Path, chance: random.Random) -> None:
        self._url, self._spool, self._chance = url, spool, chance
        self.told: set[int] = set()  # turns that are safe
        self.might: set[int] = set()  # the turn after them, that may be, too

    def run(self, turn: int, turns: int, *, until_empty: bool = False) -> None:
        command = [sys.executable, __file__, "--write", self._url, "--spool", str(self._spool)]
        command += ["--turn", str(turn), "--turns", str(turns)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            killer = threading.Timer(
                DEADLINE if until_empty else self._chance.uniform(0, 0.25), process.kill
            )
            said = ""
            try:
                if until_empty:
                    killer.start()
                    while (line := process.stdout.readline()) not in ("empty\n", ""):
                        said += line
                    process.kill()
                    if not line:
                        sys.exit(f"the queue did not become empty within {DEADLINE:g} s")
                else:
                    said = process.stdout.readline()  # it has begun
                    killer.start()
                    said += process.stdout.read()
            finally:
                process.kill()
                killer.cancel()
        done = [int(one) for one in said.split() if one != "empty"]
        self.told.update(done)
        self.might.add(max(done, default=turn - 1) + 1)


def run(rounds: int, seed: int, real: bool) -> bool:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        store: Store
        store = InfluxStore(Path(folder) / "influx") if real else FakeStore(chance)
        try:
            writers = Writers(store.url, Path(folder) / "spool.db", chance)
            for number in range(rounds):
                store.away() if chance.random() < 0.5 else store.back()
                writers.run(number * TURNS_A_ROUND, TURNS_A_ROUND)
            store.away()
            writers.run(rounds * TURNS_A_ROUND, HALF_AN_HOUR)
            left = HALF_AN_HOUR - sum(turn >= rounds * TURNS_A_ROUND for turn in writers.told)
            store.back(for_good=True)
            writers.run((rounds + 1) * TURNS_A_ROUND, left, until_empty=True)
            lost, wrong = check(store.series(), writers)
        finally:
            more = store.close()
    print(f"{rounds + 1} writers killed, seed {seed}; {more}")
    print(f"samples written: {len(writers.told) * LINES}, lost: {lost}, wrong: {wrong}")
    return not lost and not wrong


def check(found: Mapping[str, Times], writers: Writers) -> tuple[int, int]:
    """Samples that are missing; those that nobody wrote, or not so."""
    lost = wrong = 0
    for n in range(LINES):
        turns = {(at - START_MS) // STEP_MS: value for at, value in found.get(str(n), {}).items()}
        lost += len(writers.told - turns.keys())
        wrong += len(turns.keys() - writers.told - writers.might)
        wrong += sum(value != turn + n / 64 for turn, value in turns.items())
    return lost, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--influxd", action="store_true", help="the store is a real InfluxDB 1")
    parser.add_argument("--write", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--spool", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--turn", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--turns", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        os.environ["NO_PROXY"] = "*"
        write(options.write, options.spool, options.turn, options.turns)
    if options.influxd and shutil.which("influxd") is None:
        print("skipped: needs influxd (Debian's package influxdb)")
        return 0
    return 0 if run(options.rounds, options.seed, options.influxd) else 1


if __name__ == "__main__":
    sys.exit(main())
