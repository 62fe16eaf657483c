"""Kills the process that writes to InfluxDB at random points, and has InfluxDB away for a while.

    python -m benchmarks.crash_spool [--rounds 60] [--seed 1]

Each round a writer opens the store as every role does, writes pages of 40 samples, says of each
that it has been taken, and is killed with SIGKILL at a random moment: while it starts, writes or
sends. In every third round InfluxDB (a real 1.x, in a temporary folder) is away, and the writer
lives until half an hour of pages, one in 10 s, waits on disk; before and after, the server is
killed too. At the end all that was ever taken must be in InfluxDB with its value, and nothing else
but a page that was under way. The times are made up; nothing waits for them. Exit code 1 where
anything is lost or wrong.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry

from fleetpulse.backend import Storage, open_storage
from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Layout, Page
from fleetpulse.storage.base import Hints
from fleetpulse.storage.influx.config import Influx1Config
from fleetpulse.storage.spooled import SpooledWriter
from tests.influx_server import InfluxServer, influxd
from tests.support import free_port, wait_for

ROOT = Path(__file__).parent.parent
START_MS = 1_700_000_000_000
STEP_MS = 10_000
TURNS_A_ROUND = 10_000
HALF_AN_HOUR = 180  # pages
LINES = tuple(Labels.of(__name__="m", n=str(number)) for number in range(40))
DATABASE = "fleet"


def page(turn: int) -> Page:
    values = [turn + number / 64 for number in range(len(LINES))]
    lines = dict(zip(Layout(LINES).lines, values, strict=True))
    return Page.of(Labels.of(host="a"), START_MS + turn * STEP_MS, lines)


def opened(url: str, folder: Path) -> Storage:
    given = {"kind": "influxdb1", "url": url, "database": DATABASE, "flush_interval": "20ms"}
    config = Influx1Config.model_validate({**given, "batch_size": 400, "timeout": "5s"})
    return open_storage(config, folder, "scraper", CollectorRegistry())


def write(url: str, folder: Path, turn: int) -> None:
    """For ever. A page is told of once it has been taken."""
    storage = opened(url, folder)
    while True:
        storage.writer.write([page(turn)])
        print(turn, flush=True)
        turn += 1


@contextmanager
def running(url: str, folder: Path, turn: int) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "benchmarks.crash_spool", "--role", "write", "--url", url]
    command += ["--folder", str(folder), "--turn", str(turn)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()
            process.wait(30)


def crash(url: str, folder: Path, first: int, least: int, chance: random.Random) -> int:
    """One round: how many pages the writer said were taken. least: before it may be killed."""
    with running(url, folder, first) as process:
        assert process.stdout is not None
        told = sum(1 for _ in zip(range(least), process.stdout, strict=False))
        # Some die while they start.
        time.sleep(chance.uniform(0, 1.0 if least else 1.5))
        process.kill()
        return told + process.stdout.read().count("\n")


@dataclass(slots=True)
class Outcome:
    """taken: pages by round. lost: samples of those not stored. wrong: stored, but not so."""

    taken: list[int] = field(default_factory=list)
    waited: int = 0
    stored: int = 0
    lost: int = 0
    wrong: int = 0


def run(rounds: int, seed: int) -> Outcome:
    chance, port, outcome = random.Random(seed), free_port(), Outcome()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as server:
        data, spool = Path(folder) / "influxd", Path(folder) / "data"
        data.mkdir()
        url = start(server, data, port).url
        for number in range(rounds):
            away = number % 3 == 1
            if away:
                server.close()  # SIGKILL
            # The last writer that is away leaves its half an hour to the next one.
            first, least = number * TURNS_A_ROUND, HALF_AN_HOUR if away else 0
            outcome.taken.append(crash(url, spool, first, least, chance))
            if away:
                outcome.waited += outcome.taken[-1]
                start(server, data, port)
        send_the_rest(url, spool)
        check(url, spool, outcome)
    return outcome


def start(stack: ExitStack, folder: Path, port: int) -> InfluxServer:
    server = stack.enter_context(influxd(folder, port=port))
    server.query(f"CREATE DATABASE {DATABASE}")
    return server


def send_the_rest(url: str, folder: Path) -> None:
    with opened(url, folder) as storage:
        writer = storage.writer
        assert isinstance(writer, SpooledWriter)
        writer.start()
        wait_for("the spool to be empty", lambda: writer.backlog() == 0)


def check(url: str, folder: Path, outcome: Outcome) -> None:
    refused = folder / "spool" / "scraper.db.rejected"
    outcome.wrong += refused.exists()
    with opened(url, folder) as storage:
        end = START_MS + len(outcome.taken) * TURNS_A_ROUND * STEP_MS
        found = storage.reader.select([Matcher("__name__", "=", "m")], START_MS, end, Hints())
    series = {one.labels.get("n"): one for one in found}
    for number in range(len(LINES)):
        one = series.get(str(number))
        times = [] if one is None else one.times_ms.tolist()
        values = [] if one is None else one.values.tolist()
        stored = {
            (at - START_MS) // STEP_MS: value for at, value in zip(times, values, strict=True)
        }
        outcome.stored += len(stored)
        count_wrong(stored, number, outcome)


def count_wrong(stored: dict[int, float], number: int, outcome: Outcome) -> None:
    """Of one series, by turn."""
    may_be = set[int]()
    for place, count in enumerate(outcome.taken):
        first = place * TURNS_A_ROUND
        outcome.lost += sum(turn not in stored for turn in range(first, first + count))
        may_be.update(range(first, first + count + 1))
    outcome.wrong += sum(
        turn not in may_be or value != turn + number / 64 for turn, value in stored.items()
    )


def told(outcome: Outcome, seed: int) -> Sequence[str]:
    pages = sum(outcome.taken)
    return [
        f"{len(outcome.taken)} rounds, a writer killed in each, seed {seed}",
        f"{outcome.waited} pages were taken while InfluxDB was away",
        f"taken: {pages * len(LINES)} samples in {pages} pages, stored: {outcome.stored}, "
        f"lost: {outcome.lost}, wrong: {outcome.wrong}",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--role", choices=["write"], help=argparse.SUPPRESS)
    parser.add_argument("--url", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--turn", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        write(options.url, options.folder, options.turn)
    outcome = run(options.rounds, options.seed)
    print("\n".join(told(outcome, options.seed)))
    return 1 if outcome.lost or outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
