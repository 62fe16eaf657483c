"""What a scrape costs: our exporter beside Debian's node_exporter telling the same families.

CPU and wall time a scrape, memory, time from start to first answer, CPU when nobody asks. Both are
asked in turns over one kept connection each, so that a busy host is busy for both; of the turns'
ratios the median counts, of the starts the fastest. Exit code 1 where a limit is passed, or where
the two do not tell the same.
Run: python benchmarks/exporter_cost.py [SCRAPES]
"""

import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from exporter_pair import Subject, commands, pair, started

from exporter.settings.names import COLLECTOR_NAMES

_TURNS = 15
_STARTS = 5
_IDLE = 5.0  # seconds
# What both have; ours has some that node_exporter has not.
_OURS_ALONE = {"script", "sensors", "top"}
# Not at hand in a machine without them, or of no use in a comparison by default.
_OFF = {"interrupts", "processes", "systemd", "tcpstat"}
# What each tells of itself even with --web.disable-exporter-metrics.
_OF_ITSELF = ("fleetpulse_", "promhttp_")
_ENCODINGS: Mapping[str, Mapping[str, str]] = {"plain": {}, "gzip": {"Accept-Encoding": "gzip"}}


@dataclass(frozen=True)
class Check:
    """A figure of ours, or its ratio to theirs, and what it must not exceed."""

    what: str
    figure: float
    limit: float

    @property
    def passed(self) -> bool:
        return self.figure <= self.limit

    def __str__(self) -> str:
        verdict = "ok" if self.passed else "TOO MUCH"
        return f"{self.what:36} {self.figure:7.2f}   limit {self.limit:5g}   {verdict}"


@dataclass
class Cost:
    """Of one exporter under one encoding: CPU ms a scrape of each turn, wall seconds of each."""

    cpu_ms: list[float] = field(default_factory=list)
    walls: list[float] = field(default_factory=list)

    def wall_ms(self, quantile: float) -> float:
        return sorted(self.walls)[int(len(self.walls) * quantile)] * 1e3

    def add(self, subject: Subject, times: int, headers: Mapping[str, str]) -> None:
        before = subject.cpu_seconds()
        for _ in range(times):
            begun = time.perf_counter()
            subject.get(headers)
            self.walls.append(time.perf_counter() - begun)
        self.cpu_ms.append((subject.cpu_seconds() - before) / times * 1e3)


def flags() -> list[str]:
    names = [name for name in COLLECTOR_NAMES if name not in _OURS_ALONE | _OFF]
    return [
        "--web.disable-exporter-metrics",
        "--collector.disable-defaults",
        *(f"--collector.{name}" for name in names),
    ]


def told(subject: Subject) -> tuple[set[str], int]:
    """Names of the families and number of the series, without those of the exporter itself."""
    lines = [
        line
        for line in subject.get().decode().splitlines()
        if not line.removeprefix("# TYPE ").startswith(_OF_ITSELF)
    ]
    families = {line.split()[2] for line in lines if line.startswith("# TYPE ")}
    return families, sum(not line.startswith("#") for line in lines)


def same_told(subjects: Sequence[Subject]) -> Check:
    (ours, series), (theirs, their_series) = map(told, subjects)
    print(f"{len(ours)} families, {series} series; node_exporter: {len(theirs)}, {their_series}")
    for name in sorted(ours ^ theirs):
        print(f"  {name} is {'ours' if name in ours else 'theirs'} alone")
    return Check("families that only one tells", len(ours ^ theirs), 0)


def scrapes(subjects: Sequence[Subject], encoding: str, times: int) -> Iterator[Check]:
    costs = [Cost() for _ in subjects]
    for _ in range(_TURNS):
        for subject, cost in zip(subjects, costs, strict=True):
            cost.add(subject, max(1, times // _TURNS), _ENCODINGS[encoding])
    for subject, cost in zip(subjects, costs, strict=True):
        print(
            f"{subject.name:14} {encoding:6} CPU {statistics.median(cost.cpu_ms):5.2f} ms   "
            f"wall p50 {cost.wall_ms(0.5):5.2f}, p99 {cost.wall_ms(0.99):5.2f} ms   "
            f"RSS {subject.rss_mb():5.1f} MB"
        )
    ours, theirs = costs
    turns = [mine / peer for mine, peer in zip(ours.cpu_ms, theirs.cpu_ms, strict=True)]
    yield Check(f"CPU a scrape, {encoding}, ratio", statistics.median(turns), 0.4)
    ratio = ours.wall_ms(0.99) / theirs.wall_ms(0.99)
    yield Check(f"wall time p99, {encoding}, ratio", ratio, 1.0)
    yield Check(f"memory after {encoding}, MB", subjects[0].rss_mb(), 36.0)


def starts() -> Check:
    fastest = []
    for name, command in commands(flags()).items():
        seconds = []
        for _ in range(_STARTS):
            with tempfile.TemporaryDirectory() as folder:
                subject, took = started(name, command, folder)
                subject.close()
                seconds.append(took)
        fastest.append(min(seconds))
        print(
            f"{name:14} start to first answer, median of {_STARTS}: "
            f"{statistics.median(seconds):.2f} s, fastest {fastest[-1]:.2f} s"
        )
    return Check("start to first answer, s", fastest[0], 0.7)


def idle(subjects: Sequence[Subject]) -> Check:
    before = [one.cpu_seconds() for one in subjects]
    time.sleep(_IDLE)
    spent = [(one.cpu_seconds() - cpu) * 1e3 for one, cpu in zip(subjects, before, strict=True)]
    for one, cpu in zip(subjects, spent, strict=True):
        print(f"{one.name:14} CPU of {_IDLE:g} s without a scrape: {cpu:.1f} ms")
    return Check(f"CPU of {_IDLE:g} s without a scrape, ms", spent[0], 10)


def main() -> int:
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    print(
        f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f}, Linux {platform.release()}, Python "
        f"{platform.python_version()}; {times} scrapes each"
    )
    checks = [starts()]
    with pair(flags()) as subjects:
        checks.append(same_told(subjects))
        for encoding in _ENCODINGS:
            checks += scrapes(subjects, encoding, times)
        checks.append(idle(subjects))
    print(*checks, sep="\n")
    return int(not all(check.passed for check in checks))


if __name__ == "__main__":
    raise SystemExit(main())
