"""PromQL over InfluxDB 1, beside the embedded store and beside InfluxQL's own answer.

    python benchmarks/influx_read.py [--hosts 20] [--repeat 15]

The same two hours of a fleet, a real exporter's pages every 15 s, go to both stores, each through
its writer. Two things are asked of both by the engine, in this process: a range query over all CPU
counters, and the expressions of the shipped rules, one after the other, at one time. Prints the
median of each; how long InfluxDB takes for the same statements alone, their answers read to the
end and thrown away (raw), one after the other as they come; and the ratios: the aims are at most 4
times embedded, and at most twice raw. Exit code 1 where answers are not the same to 1e-9.
"""

import argparse
import math
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import requests
from fleet import history
from fleet.influx import filled
from query_vs_prometheus import free_port

from fleetpulse.model import Labels
from fleetpulse.promql.engine import Engine
from fleetpulse.promql.result import Matrix, Result, Vector
from fleetpulse.storage.base import SeriesReader
from fleetpulse.storage.embedded import CompactionLimits, EmbeddedStore
from fleetpulse.storage.influx.answer import Part, Texts
from fleetpulse.storage.influx.ask import InfluxAsker, Patience
from fleetpulse.storage.influx.config import Influx1Config
from fleetpulse.storage.influx.influxql import Place
from fleetpulse.storage.influx.reader import InfluxReader
from rules.files import SHIPPED, load_groups

CPU = "sum by(mode)(rate(node_cpu_seconds_total[5m]))"
HOUR, EVERY = 3600, 15
Answers = Sequence[Result]
ANY = Patience()


class Noting(InfluxAsker):
    """Keeps what was asked."""

    def __init__(self, config: Influx1Config) -> None:
        super().__init__(config)
        self.statements: list[str] = []

    def parts(
        self,
        statement: str,
        database: str,
        texts: Texts,
        patience: Patience = ANY,
        *,
        few: bool = False,
    ) -> Iterator[Part]:
        self.statements.append(statement)
        return super().parts(statement, database, texts, patience, few=few)


def told(hosts: int) -> history.History:
    end = int(time.time()) // HOUR * HOUR
    address = f"127.0.0.1:{free_port()}"
    name, command = next(kv for kv in history.commands(address).items() if shutil.which(kv[0]))
    lines, seen = history.record(command, address)
    made = history.play(
        lines, seen, hosts, 2 * HOUR // EVERY, (end - 2 * HOUR) * 1000, EVERY * 1000
    )
    print(f"pages of {Path(name).name}: {hosts} hosts, {len(lines)} lines, {made.samples} samples")
    return made


def embedded(path: Path, made: history.History, end_ms: int) -> EmbeddedStore:
    store = EmbeddedStore(path, now=lambda: end_ms / 1000)
    for pages in made.pages():
        store.write(pages)
    store.compact(CompactionLimits(gather=0, max_seconds=math.inf))
    return store


def questions(begin_ms: int, end_ms: int) -> dict[str, Callable[[Engine], Answers]]:
    groups = load_groups(sorted(SHIPPED.glob("*.yml")), 10.0)
    rules = [rule.expr for group in groups for rule in group.rules]
    return {
        "CPU by mode, 2 h": lambda engine: [engine.range(CPU, begin_ms, end_ms, EVERY * 1000)],
        f"{len(rules)} rules": lambda engine: [engine.instant(rule, end_ms) for rule in rules],
    }


def median_ms(work: Callable[[], object], repeat: int) -> float:
    work()
    taken = []
    for _ in range(repeat):
        began = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)


def raw(config: Influx1Config, statements: Sequence[str], accept: str) -> None:
    """Answers read to the end and thrown away."""
    params = {"db": config.database, "epoch": "ms", "chunked": "true", "chunk_size": "100000"}
    with requests.Session() as session:
        for statement in statements:
            answer = session.post(
                f"{config.url}/query",
                params=params,
                data={"q": statement},
                headers={"Accept": accept, "Accept-Encoding": "identity"},
                timeout=60,
            )
            answer.raise_for_status()


def apart(ours: Answers, theirs: Answers) -> float:
    """By how much values differ at most; infinity where series or times do."""
    most = 0.0
    for one, other in zip(ours, theirs, strict=True):
        mine, wanted = values(one), values(other)
        if mine.keys() != wanted.keys():
            return math.inf
        for labels, found in mine.items():
            scale = np.maximum(np.abs(wanted[labels]), 1e-300)
            most = max(most, float(np.max(np.abs(found - wanted[labels]) / scale, initial=0.0)))
    return most


def values(result: Result) -> dict[Labels, "np.ndarray[tuple[int], np.dtype[np.float64]]"]:
    if isinstance(result.data, Matrix):
        return {one.labels: one.values for one in result.data.series}
    assert isinstance(result.data, Vector)
    pairs = zip(result.data.labels, result.data.values, strict=True)
    return {labels: np.array([value]) for labels, value in pairs}


def compare(store: SeriesReader, config: Influx1Config, end_ms: int, repeat: int) -> float:
    print(f"{'':20}{'embedded':>12}{'InfluxDB':>12}{'raw':>12}{'raw JSON':>12}{'ratios':>16}")
    asker = Noting(config)
    reader = InfluxReader(asker, Place(config.database), Place(""), config.retention, dict)
    ours, theirs = Engine(reader), Engine(store)
    most = 0.0
    for what, ask in questions(end_ms - 2 * HOUR * 1000, end_ms).items():
        asker.statements.clear()
        most = max(most, apart(ask(ours), ask(theirs)))
        statements = list(asker.statements)
        told, influx = (median_ms(partial(ask, engine), repeat) for engine in (theirs, ours))
        alone, json = (
            median_ms(partial(raw, config, statements, accept), repeat)
            for accept in ("application/x-msgpack", "application/json")
        )
        print(
            f"{what:20}{told:9.1f} ms{influx:9.1f} ms{alone:9.1f} ms{json:9.1f} ms"
            f"{influx / told:7.2f}x{influx / alone:7.2f}x",
            flush=True,
        )
    asker.close()
    return most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=15)
    options = parser.parse_args()
    if shutil.which("influxd") is None:
        print("skipped: influxd not installed (Debian: apt install influxdb)")
        return
    made = told(options.hosts)
    end_ms = max(int(times[-1]) for times in made.times)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        store = embedded(folder / "store.db", made, end_ms)
        stack.callback(store.close)
        config = stack.enter_context(filled(folder, made.pages()))
        most = compare(store, config, end_ms, options.repeat)
    print(f"values differ by at most {most:.1g}")
    if not most <= 1e-9:
        sys.exit("answers differ")


if __name__ == "__main__":
    main()
