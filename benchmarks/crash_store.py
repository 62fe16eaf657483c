"""Kills every process that writes to an embedded store, at random points, round after round.

    python benchmarks/crash_store.py [--rounds 100] [--seed 1]

Two writers, a compactor with retention, and one that deletes and vacuums share a file and are
killed with SIGKILL within half a second. After each round everything that a writer said it had
committed must be there, bit for bit, nothing else may be, and every checksum must be right. The
seed fixes when each is killed, not how far it has come. Exit code 1 where anything is lost or
wrong.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fleetpulse.errors import StorageError
from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Layout, Page
from fleetpulse.storage.base import Hints
from fleetpulse.storage.embedded import CompactionLimits, EmbeddedStore, verify

START_MS = 1_699_999_200_000
STEP_MS = 5_000
TURNS_A_ROUND = 10_000
NOW = START_MS / 1000 + 86_400 * 365
LINES = tuple(Labels.of(__name__="m", n=str(number)) for number in range(40))
DELETED = Labels.of(__name__="gone")
HOSTS = ("a", "b")
ALL = CompactionLimits(min_age=0, gather=0, batch_pages=200)


def at_ms(turn: int) -> int:
    return START_MS + turn * STEP_MS


def values(turn: int) -> list[float]:
    return [turn + number / 64 for number in range(len(LINES))]


def write(store: EmbeddedStore, host: str, turn: int) -> None:
    layout = Layout((*LINES, DELETED))
    while True:
        lines = dict(zip(layout.lines, [*values(turn), 1.0], strict=True))
        store.write([Page.of(Labels.of(host=host), at_ms(turn), lines)])
        print(turn, flush=True)
        turn += 1


def compact(store: EmbeddedStore, _host: str, _turn: int) -> None:
    while True:
        store.compact(ALL)
        store.expire(86_400 * 3650)


def delete(store: EmbeddedStore, _host: str, _turn: int) -> None:
    gone = [Matcher("__name__", "=", DELETED.name)]
    while True:
        try:
            store.delete(gone, START_MS, at_ms(10**7))
            store.vacuum()
        except StorageError as err:  # the compactor is at it; the next turn may pass
            print(err, file=sys.stderr)
        time.sleep(0.01)


ROLES: dict[str, Callable[[EmbeddedStore, str, int], None]] = {
    "write": write,
    "compact": compact,
    "delete": delete,
}


@contextmanager
def running(role: str, path: Path, host: str, turn: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, __file__, "--role", role, "--store", str(path)]
    command += ["--host", host, "--turn", str(turn)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()
            process.wait(30)


def crash(path: Path, turn: int, chance: random.Random) -> dict[str, int]:
    """One round; how many turns each writer said it had committed."""
    with (
        running("write", path, "a", turn) as a,
        running("write", path, "b", turn) as b,
        running("compact", path, "", 0) as compactor,
        running("delete", path, "", 0) as deleter,
    ):
        assert a.stdout is not None and b.stdout is not None  # noqa: PT018
        said = {"a": a.stdout.readline(), "b": b.stdout.readline()}
        victims = [a, b, compactor, deleter]
        chance.shuffle(victims)
        for victim in victims:
            time.sleep(chance.uniform(0, 0.12))
            victim.kill()
        said = {"a": said["a"] + a.stdout.read(), "b": said["b"] + b.stdout.read()}
    return {host: text.count("\n") for host, text in said.items()}


def check(path: Path, rounds: dict[int, dict[str, int]]) -> tuple[int, int]:
    """Committed pages that are lost; reads that are wrong. rounds: what was told, by number."""
    lost = wrong = 0
    store = EmbeddedStore(path, now=lambda: NOW)
    try:
        for number, told in rounds.items():
            for host, count in told.items():
                missing, bad = check_host(store, host, number * TURNS_A_ROUND, count)
                lost, wrong = lost + missing, wrong + bad
    finally:
        store.close()
    return lost, wrong + len(verify(path).findings)


def check_host(store: EmbeddedStore, host: str, first: int, count: int) -> tuple[int, int]:
    """count: pages told of from the turn first on; one more may have been committed."""
    lost = wrong = 0
    matchers = [Matcher("host", "=", host), Matcher("__name__", "=", "m")]
    found = store.select(matchers, at_ms(first), at_ms(first + TURNS_A_ROUND) - 1, Hints())
    series = {one.labels.get("n"): one for one in found}
    for column in range(len(LINES)):
        one = series.get(str(column))
        if one is None:
            lost = max(lost, count)
            continue
        turns = (one.times_ms - START_MS) // STEP_MS
        lost = max(lost, count - len(turns))
        wrong += len(turns) > count + 1
        wrong += not np.array_equal(turns, np.arange(first, first + len(turns)))
        wrong += not np.array_equal(one.values, turns + column / 64)
    return lost, wrong


def run(rounds: int, seed: int) -> bool:
    chance, told = random.Random(seed), list[dict[str, int]]()
    lost = wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        for number in range(rounds):
            told.append(crash(path, number * TURNS_A_ROUND, chance))
            # All that went before is looked at now and then, and at the end.
            whole = number % 25 == 24 or number == rounds - 1
            seen = dict(enumerate(told)) if whole else {number: told[-1]}
            missing, bad = check(path, seen)
            lost, wrong = lost + missing, wrong + bad
        pages = sum(sum(one.values()) for one in told)
        print(f"{rounds} rounds, 4 processes killed in each, seed {seed}")
        print(f"committed pages: {pages}, lost: {lost}, corrupt reads: {wrong}")
    return not lost and not wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--role", choices=ROLES, help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--host", default="", help=argparse.SUPPRESS)
    parser.add_argument("--turn", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        store = EmbeddedStore(options.store, now=lambda: NOW)
        ROLES[options.role](store, options.host, options.turn)
    return 0 if run(options.rounds, options.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
