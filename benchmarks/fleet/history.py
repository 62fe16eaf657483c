"""Hours of a fleet's scrapes, made of what one real host tells in half a minute.

The exporter is scraped some times in a row; how each of its values moved is then played for every
host and turn: what stood still stands, counters grow by what they were seen to grow, gauges walk
through the values they were seen to have. So the share of constants, whole numbers and long
fractions is a real page's. Two things are put to it: a histogram of request durations, which
node_exporter does not have, and on counters a label with their name, as some relabel it, without
which rate() of many of them would be refused: it drops the name, and they would be the same.
"""

import subprocess
import sys
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import numpy as np
from numpy.typing import NDArray

from fleetpulse.exposition import read_page
from fleetpulse.model import METRIC_NAME, Labels, Layout, Page

ROOT = Path(__file__).parents[2]
_SEEN, _EVERY = 60, 0.5  # scrapes of the real host, seconds apart
_DIGITS = 7
_COUNTERS = ("_total", "_count", "_sum", "_bucket")
_BOUNDS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf")

Table = NDArray[np.float64]


@dataclass(frozen=True)
class History:
    """lines of a page, and of each host its times in ms (turns,) and values (turns, lines)."""

    lines: Sequence[Labels]
    targets: Sequence[Labels]
    times: Sequence[NDArray[np.int64]]
    values: Sequence[Table]

    @property
    def samples(self) -> int:
        return sum(table.size for table in self.values)

    def pages(self) -> Iterator[list[Page]]:
        """Turn by turn, all hosts'."""
        layout = Layout(tuple(self.lines))
        for turn in range(len(self.times[0])):
            yield [
                Page(target, layout, int(times[turn]), array("d", values[turn].tobytes()))
                for target, times, values in zip(self.targets, self.times, self.values, strict=True)
            ]

    def write_text(self, path: Path) -> None:
        """OpenMetrics, series by series."""
        with path.open("w") as out:
            for target, times, values in zip(self.targets, self.times, self.values, strict=True):
                marks = [f" {at / 1000:.3f}\n" for at in times.tolist()]
                for line, column in zip(self.lines, values.T.tolist(), strict=True):
                    name = str(target.merged(line)).replace('", ', '",') + " "
                    pairs = zip(column, marks, strict=True)
                    out.writelines([f"{name}{value!r}{mark}" for value, mark in pairs])
            out.write("# EOF\n")


def record(command: Sequence[str], address: str) -> tuple[Sequence[Labels], Table]:
    """Of a running exporter its lines, and their values (scrapes, lines)."""
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            seen = [_scrape(address) for _ in range(_SEEN)]
        finally:
            process.terminate()
    alike = [one for one in seen[1:] if one[0] == seen[-1][0]]
    return alike[0][0], np.array([values for _, values in alike])


def _scrape(address: str) -> tuple[tuple[Labels, ...], "array[float]"]:
    time.sleep(_EVERY)
    with urlopen(f"http://{address}/metrics", timeout=10) as answer:
        page = read_page(answer.read(), at_ms=0)
    return page.lines, page.values


def commands(address: str) -> dict[str, list[str]]:
    """Exporters that may be recorded, by the program that has to be there."""
    ours = [sys.executable, "-m", "fleetpulse_cli.main", "exporter", "--listen", address]
    theirs = ["prometheus-node-exporter", f"--web.listen-address={address}"]
    return {theirs[0]: theirs, sys.executable: ours}


def play(
    lines: Sequence[Labels], seen: Table, hosts: int, turns: int, begin_ms: int, every_ms: int
) -> History:
    """Each host's scrapes stand at a place of its own within the interval, off whole seconds."""
    rng = np.random.default_rng(1)
    grows = np.array([line.get(METRIC_NAME).endswith(_COUNTERS) for line in lines])
    lines = [*map(_with_metric, lines), *_histogram_lines()]
    shifts = rng.choice(np.arange(1, every_ms, 10), hosts, replace=False)
    return History(
        lines,
        [Labels.of(instance=f"host{host}:9100", job="node") for host in range(hosts)],
        [begin_ms + shift + every_ms * np.arange(turns) for shift in shifts.tolist()],
        [
            np.concatenate([_played(rng, seen, grows, turns), _requests(rng, turns)], axis=1)
            for _ in range(hosts)
        ],
    )


def _played(rng: np.random.Generator, seen: Table, grows: NDArray[np.bool_], turns: int) -> Table:
    steps = np.diff(seen, axis=0)
    some = np.flatnonzero(grows & (steps >= 0).all(axis=0))
    # Scrapes some seconds apart see the sum of so many that were half a second apart.
    drawn = rng.integers(0, len(steps), (turns, 20))
    out = seen[_to_and_fro(rng, len(seen), turns)]
    grown = np.cumsum(steps[:, some][drawn].sum(axis=1), axis=0)
    out[:, some] = seen[0, some] * rng.uniform(0.5, 2, len(some)) + grown
    digits = _digits(seen)
    for places in range(_DIGITS):
        out[:, digits == places] = np.round(out[:, digits == places], places)
    return out


def _to_and_fro(rng: np.random.Generator, seen: int, turns: int) -> NDArray[np.intp]:
    there_and_back = np.concatenate([np.arange(seen), np.arange(seen - 2, 0, -1)])
    return np.resize(np.roll(there_and_back, int(rng.integers(len(there_and_back)))), turns)


def _digits(seen: Table) -> NDArray[np.intp]:
    """Of each line, the decimals that its values were seen to have; _DIGITS: more than a few."""
    digits = np.full(seen.shape[1], _DIGITS)
    for places in range(_DIGITS - 1, -1, -1):
        digits[(np.round(seen, places) == seen).all(axis=0)] = places
    return digits


def _with_metric(line: Labels) -> Labels:
    name = line.get(METRIC_NAME)
    return line.with_(metric=name) if name.endswith("_total") else line


def _histogram_lines() -> list[Labels]:
    name = "http_request_duration_seconds"
    buckets = [Labels.of({METRIC_NAME: f"{name}_bucket", "le": le}) for le in _BOUNDS]
    return [*buckets, Labels.of({METRIC_NAME: f"{name}_count"})]


def _requests(rng: np.random.Generator, turns: int) -> Table:
    bounds = np.array([float(le) for le in _BOUNDS])
    durations = rng.lognormal(-3, 1.2, (turns, 50))
    buckets = (durations[:, :, None] <= bounds).sum(axis=1)
    # Since long ago: how rate() treats a counter that was zero a moment ago, versions differ on.
    buckets[0] *= 10_000
    totals = np.cumsum(np.concatenate([buckets, buckets[:, -1:]], axis=1), axis=0)
    return totals.astype(float)
