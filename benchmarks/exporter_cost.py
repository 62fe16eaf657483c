"""What a scrape costs: our exporter beside Debian's node_exporter telling the same families.

CPU and wall time a scrape, memory, time from start to first answer, CPU when nobody asks. Both are
asked in turns over one kept connection each, so that a busy host is busy for both.
Run: python benchmarks/exporter_cost.py [SCRAPES]
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence

from exporter_pair import Subject, commands, pair, started

from exporter.settings.names import COLLECTOR_NAMES

_TURNS = 10
_STARTS = 5
_IDLE = 5.0  # seconds
# What both have; ours has some that node_exporter has not.
_OURS_ALONE = {"script", "sensors", "top"}
# Not at hand in a machine without them, or of no use in a comparison by default.
_OFF = {"interrupts", "processes", "systemd", "tcpstat"}
_ENCODINGS: Mapping[str, Mapping[str, str]] = {"plain": {}, "gzip": {"Accept-Encoding": "gzip"}}


def flags() -> list[str]:
    names = [name for name in COLLECTOR_NAMES if name not in _OURS_ALONE | _OFF]
    return [
        "--web.disable-exporter-metrics",
        "--collector.disable-defaults",
        *(f"--collector.{name}" for name in names),
    ]


def measure(subject: Subject, times: int, headers: Mapping[str, str]) -> tuple[float, list[float]]:
    """CPU seconds of all, and wall seconds of each."""
    cpu, walls = subject.cpu_seconds(), []
    for _ in range(times):
        begun = time.perf_counter()
        subject.get(headers)
        walls.append(time.perf_counter() - begun)
    return subject.cpu_seconds() - cpu, walls


def compare(subjects: Sequence[Subject], encoding: str, scrapes: int) -> None:
    cpu = dict.fromkeys((one.name for one in subjects), 0.0)
    walls: dict[str, list[float]] = {one.name: [] for one in subjects}
    for _ in range(_TURNS):
        for one in subjects:
            seconds, each = measure(one, scrapes // _TURNS, _ENCODINGS[encoding])
            cpu[one.name] += seconds
            walls[one.name] += each
    figures = {}
    for one in subjects:
        each = sorted(walls[one.name])
        figures[one.name] = (
            cpu[one.name] / len(each) * 1e3,
            statistics.median(each) * 1e3,
            each[int(len(each) * 0.99)] * 1e3,
            one.rss_mb(),
        )
        row = "  ".join(f"{value:7.2f}" for value in figures[one.name])
        print(f"{one.name:14} {encoding:6} {row}")
    ours, theirs = figures.values()
    ratios = "  ".join(f"{mine / peer:7.2f}" for mine, peer in zip(ours, theirs, strict=True))
    print(f"{'ratio':14} {encoding:6} {ratios}")


def starts() -> None:
    for name, command in commands(flags()).items():
        seconds = []
        for _ in range(_STARTS):
            with tempfile.TemporaryDirectory() as folder:
                subject, took = started(name, command, folder)
                subject.close()
                seconds.append(took)
        print(f"{name:14} start to first answer, median of {_STARTS}: "
              f"{statistics.median(seconds):.2f} s")  # fmt: skip


def idle(subjects: Sequence[Subject]) -> None:
    before = [one.cpu_seconds() for one in subjects]
    time.sleep(_IDLE)
    for one, cpu in zip(subjects, before, strict=True):
        print(f"{one.name:14} CPU of {_IDLE:g} s without a scrape: "
              f"{(one.cpu_seconds() - cpu) * 1e3:.0f} ms")  # fmt: skip


def main() -> None:
    scrapes = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    starts()
    with pair(flags()) as subjects:
        for one in subjects:
            print(f"{one.name:14} {one.get().count(b'} ') + 0} labelled series")
        heads = "  ".join(f"{head:>7}" for head in ("CPU ms", "p50 ms", "p99 ms", "RSS MB"))
        print(f"{'':14} {'':6} {heads}   ({scrapes} scrapes each)")
        for encoding in _ENCODINGS:
            compare(subjects, encoding, scrapes)
        idle(subjects)


if __name__ == "__main__":
    main()
