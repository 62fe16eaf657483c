"""How much memory hostile queries take, beside what api.query.max_samples counts of them.

    python benchmarks/query_memory.py [--targets 10] [--series 5000]

A store of its own holds a week of 100 series from each target, a sample every two minutes, an hour
of many series more, and a histogram's buckets. Each query runs in a process of its own: its answer
is written as the API writes it, and the process' largest resident size, less what it was before,
goes by the most samples that the query held by its own count. Then it is asked again with a limit
of a tenth of that, and has to be refused; what it took until then goes by that limit. Prints

- samples: the most held at a time, as counted against max_samples;
- MB, B/sample: the memory it took, and by sample;
- refused: the memory it took until it was refused, by sample of the limit.

The largest of both is what an operator has to reckon with for each sample of max_samples.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from api.answers import answer
from fleetpulse.errors import QueryError
from fleetpulse.model import Labels, Layout, Page
from fleetpulse.promql.asker import Asker, asked_by
from fleetpulse.promql.engine import Engine
from fleetpulse.storage.embedded import CompactionLimits, EmbeddedStore

END_MS = 1_700_000_000_000 // 7_200_000 * 7_200_000
DAY_MS, HOUR_MS, SCRAPE_MS = 86_400_000, 3_600_000, 120_000
_MUCH = 20_000_000  # bytes
DEEP = "wide + (" * 30 + "wide" + ")" * 30
CHANGING = (
    "wide * on(job) group_left(v) "
    'topk by (job) (1, label_replace(wide * 1000 % 7919, "v", "$1", "i", "(.*)"))'
)
GROWN = "wide"
for _ in range(6):
    GROWN = f'label_join({GROWN}, "host", "", "host", "host", "host")'


@dataclass(frozen=True)
class Hostile:
    """steps: of a range query over the last hour; 0 for an instant."""

    what: str
    query: str
    steps: int = 0


HOSTILE = (
    Hostile("all samples of a week", '{__name__=~".+"}[7d]'),
    Hostile("rate over a week", 'rate(metric[7d])'),
    Hostile("mean over a week", 'avg_over_time(metric[7d])'),
    Hostile("deviation over a week", 'stddev_over_time(metric[7d])'),
    Hostile("quantile over a week", 'quantile_over_time(0.5, metric[7d])'),
    Hostile("trend over a week", 'predict_linear(metric[7d], 60)'),
    Hostile("one instant, a week ago", 'metric offset 6d'),
    Hostile("many series", "wide"),
    Hostile("many series, many names of labels", 'label_replace(wide, "a", "$1", "host", "(.*)")'),
    Hostile("frames of 11,000 steps", "metric", 11_000),
    Hostile("rate at 11,000 steps", 'rate(metric[5m])', 11_000),
    Hostile("join one to one", "metric * on(host, i) metric", 11_000),
    Hostile("join many to one", "wide * on(job) group_left count by (job) (wide)", 1_000),
    Hostile("join with changing partners", CHANGING, 1_000),
    Hostile("or, and, unless", "(wide or metric) unless (metric and wide)", 1_000),
    Hostile("a stack of operands", DEEP, 1_000),
    Hostile("count_values of everything", 'count_values("v", metric)', 30),
    Hostile("count_values at an instant", 'count_values("v", wide + time())'),
    Hostile("topk of all", "topk(100000, wide)", 1_000),
    Hostile("quantile of all", "quantile(0.5, wide)", 1_000),
    Hostile("deviation of all", "stddev by (i) (wide)", 1_000),
    Hostile("histograms", "histogram_quantile(0.9, took_bucket)", 11_000),
    Hostile("a subquery of nothing but steps", "sum_over_time(vector(1)[30d:1s])"),
    Hostile("its samples themselves", "vector(1)[30d:1s]"),
    Hostile("subqueries in subqueries", "max_over_time(sum_over_time(vector(1)[1d:50ms])[1s:1ms])"),
    Hostile("a subquery of series", 'max_over_time(rate(metric[5m])[1d:1m])'),
    Hostile("labels that grow", GROWN),
)  # fmt: skip


def make_store(path: Path, targets: int, series: int) -> None:
    names = [Labels.of(__name__="metric", i=str(i)) for i in range(100)]
    few = Layout(tuple(names))
    hosts = [Labels.of(job="node", host=f"host-{i}") for i in range(targets)]
    store = EmbeddedStore(path, now=lambda: END_MS / 1000)
    for at_ms in range(END_MS - 7 * DAY_MS, END_MS, SCRAPE_MS):
        value = float(at_ms % 86_400_007)
        pages = [
            Page(host, few, at_ms, array("d", [value * (i + 1) for i in range(100)]))
            for host in hosts
        ]
        store.write(pages)
    store.compact(CompactionLimits(max_seconds=1e9), tiers=False)
    lines = [Labels.of(__name__="wide", i=str(i)) for i in range(series)]
    lines += [
        Labels.of(__name__="took_bucket", i=str(i), le=le)
        for i in range(series // 10)
        for le in ("0.1", "1", "10", "+Inf")
    ]
    wide = Layout(tuple(lines))
    for at_ms in range(END_MS - HOUR_MS, END_MS, SCRAPE_MS):
        values = array("d", [i + at_ms / 1e6 for i in range(len(lines))])
        store.write(
            [Page(Labels.of(job="wide", host="a-host-of-some-name:9100"), wide, at_ms, values)]
        )
    store.close()


def resident(field: str) -> int:
    """VmRSS or VmHWM of this process in bytes."""
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def run_one(path: Path, hostile: Hostile, limit: int) -> None:
    """Prints what it took as JSON."""
    store = EmbeddedStore(path, read_only=True)
    Engine(store).instant("count(metric)", END_MS)  # its index, and libraries as they are needed
    engine = Engine(store, max_samples=limit, timeout=600, tier="raw")
    asker, refused = Asker(), ""
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the largest size is counted from here
    try:
        with asked_by(asker):
            if hostile.steps:
                step_ms = HOUR_MS // hostile.steps
                times = END_MS - step_ms * (hostile.steps - 1), END_MS, step_ms
                result = engine.range(hostile.query, *times)
            else:
                result = engine.instant(hostile.query, END_MS)
            size = sum(map(len, answer(result).response))
    except QueryError as err:
        refused, size = str(err), 0
    took = resident("VmHWM") - before
    print(json.dumps({"peak": asker.stats.peak, "took": took, "refused": refused, "text": size}))


def measure(path: Path, place: int, limit: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", f"{place}:{limit}:{path}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=170)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", type=int, default=10)
    parser.add_argument("--series", type=int, default=5000)
    parser.add_argument("--only", default="", help="part of what a query is called")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        place, limit, path = options.one.split(":", 2)
        run_one(Path(path), HOSTILE[int(place)], int(limit))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        make_store(path, options.targets, options.series)
        print(f"{'query':34}{'samples':>13}{'MB':>7}{'B/sample':>10}{'refused':>12}{'text MB':>9}")
        chosen = [place for place, one in enumerate(HOSTILE) if options.only in one.what]
        worst = max(show(path, place) for place in chosen)
        print(f"at most {worst:.0f} bytes a sample")


def show(path: Path, place: int) -> float:
    """Measures a query with and without a limit; bytes a sample, the more of both."""
    whole = measure(path, place, 10**10)
    peak, took = int(whole["peak"]), int(whole["took"])
    less = measure(path, place, peak // 10)
    if whole["refused"] or not less["refused"]:
        sys.exit(f"{HOSTILE[place].what}: {whole['refused'] or 'was not refused'}")
    each, until = took / peak, int(less["took"]) / (peak // 10)
    text = int(whole["text"]) / 1e6
    print(
        f"{HOSTILE[place].what:34}{peak:13,}{took / 1e6:7.0f}{each:10.0f}{until:12.0f}{text:9.1f}",
        flush=True,
    )
    # Of little, most goes to what is loaded for the first time, whatever it is.
    return max(each if took > _MUCH else 0, until if int(less["took"]) > _MUCH else 0)


if __name__ == "__main__":
    main()
