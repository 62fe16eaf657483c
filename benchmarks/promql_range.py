"""Times a range query, columnar against one evaluation a step and series in plain Python.

Run as `python benchmarks/promql_range.py` from the project's root. 320 series (20 hosts of 2
CPUs with 8 modes) over two hours at a sample every 10 seconds; 481 steps of 15 seconds.
"""

import bisect
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Series
from fleetpulse.promql.engine import Engine
from fleetpulse.promql.result import Matrix
from fleetpulse.storage.base import Hints
from tests.promql_fakes import FakeReader

QUERY = "sum by(mode)(rate(node_cpu_seconds_total[5m]))"
MODES = ("idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user")
HOUR_MS = 3_600_000
WINDOW_MS, STEP_MS, SCRAPE_MS = 300_000, 15_000, 10_000
START_MS = 1_700_000_000_000


class HeldReader(FakeReader):
    """Gives the series away as they are, so that what is timed is the engine alone."""

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
    ) -> Sequence[Series]:
        return self.held


def make_series() -> list[Series]:
    rng = np.random.default_rng(1)
    made = []
    for host in range(20):
        first = START_MS - WINDOW_MS + host * 97
        times = np.arange(first, START_MS + 2 * HOUR_MS, SCRAPE_MS, dtype=np.int64)
        for cpu in range(2):
            for mode in MODES:
                labels = Labels.of(
                    __name__="node_cpu_seconds_total",
                    instance=f"host-{host}:9100",
                    cpu=str(cpu),
                    mode=mode,
                )
                made.append(Series(labels, times, np.cumsum(rng.random(len(times)))))
    return made


def columnar(reader: HeldReader) -> dict[str, list[float]]:
    result = Engine(reader).range(QUERY, START_MS, START_MS + 2 * HOUR_MS, STEP_MS)
    assert isinstance(result.data, Matrix)
    return {one.labels.get("mode"): one.values.tolist() for one in result.data.series}


def naive(reader: HeldReader) -> dict[str, list[float]]:
    """The same by the book: for each step, for each series, the samples of its window."""
    held = [(s.labels.get("mode"), s.times_ms.tolist(), s.values.tolist()) for s in reader.held]
    out: dict[str, list[float]] = {}
    for at in range(START_MS, START_MS + 2 * HOUR_MS + 1, STEP_MS):
        sums: dict[str, float] = {}
        for mode, times, values in held:
            lo, hi = bisect.bisect_right(times, at - WINDOW_MS), bisect.bisect_right(times, at)
            found = naive_rate(times[lo:hi], values[lo:hi], at)
            if found is not None:
                sums[mode] = sums.get(mode, 0.0) + found
        for mode, value in sums.items():
            out.setdefault(mode, []).append(value)
    return out


def naive_rate(times: list[int], values: list[float], at: int) -> float | None:
    if len(times) < 2:
        return None
    gained = values[-1] - values[0]
    for before, after in pairwise(values):
        if after < before:
            gained += before
    sampled = (times[-1] - times[0]) / 1000
    between = sampled / (len(times) - 1)
    to_start = (times[0] - (at - WINDOW_MS)) / 1000
    to_end = (at - times[-1]) / 1000
    if to_start >= between * 1.1:
        to_start = between / 2
    if gained > 0 and values[0] >= 0:
        to_start = min(to_start, sampled * values[0] / gained)
    if to_end >= between * 1.1:
        to_end = between / 2
    return gained * ((sampled + to_start + to_end) / sampled) / (WINDOW_MS / 1000)


def timed(work: Callable[[], object], turns: int) -> float:
    """Median seconds of a turn, after one to warm up."""
    work()
    taken = []
    for _ in range(turns):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def main() -> None:
    reader = HeldReader(make_series())
    fast, slow = columnar(reader), naive(reader)
    assert fast.keys() == slow.keys()
    for mode, values in fast.items():
        np.testing.assert_allclose(values, slow[mode], rtol=1e-9)
    engine_s = timed(lambda: columnar(reader), 15)
    naive_s = timed(lambda: naive(reader), 2)
    print(f"{QUERY}: {len(reader.held)} series, 481 steps")
    print(f"columnar engine {engine_s * 1000:8.1f} ms")
    print(f"step by step    {naive_s * 1000:8.1f} ms")
    print(f"ratio           {naive_s / engine_s:8.1f}")


if __name__ == "__main__":
    main()
