"""The same answer of InfluxDB 1 as JSON, CSV and MessagePack: what each takes.

    python benchmarks/influx_formats.py [--hosts 20] [--samples 720] [--repeat 7]

16 series of CPU time of each host, all of their samples. Prints for each format its size; the
median time until the last byte is here, which is the server's work and the way; and the median
time to make arrays of it: JSON by our reader (pydantic's parser) and by orjson, CSV by numpy,
MessagePack by our reader. Exit code 1 where they do not say the same.
"""

import argparse
import io
import shutil
import statistics
import sys
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import requests
from fleet.influx import filled
from numpy.typing import NDArray

from fleetpulse.matchers import Matcher
from fleetpulse.model import METRIC_NAME, Labels, Layout, Page
from fleetpulse.storage.influx import influxql
from fleetpulse.storage.influx.config import Influx1Config
from fleetpulse.storage.influx.influxql import Place
from fleetpulse.storage.influx.jsonanswer import read_json
from fleetpulse.storage.influx.msgpack import Part, read_answer
from fleetpulse.storage.influx.series import code_of

MODES = ("idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user")
AT, EVERY = 1_700_000_000_000, 10_000
AT_ONCE = 1 << 18
Arrays = list[tuple[NDArray[np.int64], NDArray[np.float64]]]


def turns(hosts: int, samples: int) -> Iterator[list[Page]]:
    rng = np.random.default_rng(1)
    layout = Layout(
        tuple(
            Labels.of(__name__="node_cpu_seconds_total", cpu=str(cpu), mode=mode)
            for cpu in range(2)
            for mode in MODES
        )
    )
    targets = [Labels.of(instance=f"host{host}:9100", job="node") for host in range(hosts)]
    table = rng.random((hosts, len(layout.lines))) * 1e6
    for turn in range(samples):
        table += rng.random(table.shape) * EVERY / 8000
        rounded = np.round(table, 2)
        at_ms = AT + turn * EVERY
        yield [
            Page(target, layout, at_ms + host, array("d", rounded[host].tobytes()))
            for host, target in enumerate(targets)
        ]


def ask(config: Influx1Config, accept: str) -> bytes:
    matchers = [Matcher(METRIC_NAME, "=", "node_cpu_seconds_total")]
    statement = influxql.select(Place(config.database), matchers, AT, AT + 10**9)
    answer = requests.post(
        f"{config.url}/query",
        params={"db": config.database, "epoch": "ms", "chunked": "true", "chunk_size": "100000"},
        data={"q": statement},
        headers={"Accept": accept, "Accept-Encoding": "identity"},
        timeout=60,
    )
    answer.raise_for_status()
    return answer.content


def pieces(body: bytes) -> Iterator[bytes]:
    for begin in range(0, len(body), AT_ONCE):
        yield body[begin : begin + AT_ONCE]


def by_json(body: bytes) -> Arrays:
    return arrays(read_json(pieces(body), code_of))


def by_msgpack(body: bytes) -> Arrays:
    return arrays(read_answer(pieces(body), code_of))


def arrays(parts: Iterator[Part | str]) -> Arrays:
    return [(p.times_ms, p.columns["value"]) for p in parts if isinstance(p, Part)]


def by_orjson(body: bytes) -> Arrays:
    found: Arrays = []
    for line in body.splitlines():
        for result in orjson.loads(line)["results"]:
            for series in result.get("series", ()):
                times, values, *_ = zip(*series["values"], strict=True)
                found.append((np.array(times, np.int64), np.array(values, np.float64)))
    return found


def by_csv(body: bytes) -> Arrays:
    """`name,tags,time,value,stale,special`; tags, of `k=v` with commas, are in quotes."""
    found: Arrays = []
    last, rows = b"", list[bytes]()
    for line in [*body.splitlines(), b""]:
        key, _, row = line.rpartition(b'",')
        if key != last:
            if rows and last:
                table = np.loadtxt(
                    io.BytesIO(b"\n".join(rows)), delimiter=",", usecols=(0, 1), dtype="i8,f8"
                )
                found.append((table["f0"], table["f1"]))
            last, rows = key, []
        rows.append(row)
    return found


@dataclass(frozen=True)
class Format:
    what: str
    accept: str
    read: Callable[[bytes], Arrays]


FORMATS = (
    Format("JSON, our reader", "application/json", by_json),
    Format("JSON, orjson", "application/json", by_orjson),
    Format("CSV, numpy", "application/csv", by_csv),
    Format("MessagePack", "application/x-msgpack", by_msgpack),
)


def median_ms(work: Callable[[], object], repeat: int) -> float:
    taken = []
    for _ in range(repeat):
        began = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)


def compare(config: Influx1Config, repeat: int) -> bool:
    """Whether all say the same."""
    bodies = {one.accept: ask(config, one.accept) for one in FORMATS}
    wanted = by_msgpack(bodies["application/x-msgpack"])
    print(f"{len(wanted)} series, {sum(len(times) for times, _ in wanted)} samples")
    print(f"{'':20}{'size':>10}{'server':>13}{'decode':>13}{'both':>13}")
    same = True
    for one in FORMATS:
        body = bodies[one.accept]
        same &= all(
            np.array_equal(a, b)
            for ours, theirs in zip(one.read(body), wanted, strict=True)
            for a, b in zip(ours, theirs, strict=True)
        )
        server = median_ms(lambda accept=one.accept: ask(config, accept), repeat)  # type: ignore[misc]
        decode = median_ms(lambda one=one, body=body: one.read(body), repeat)  # type: ignore[misc]
        print(
            f"{one.what:20}{len(body) / 1e6:7.1f} MB{server:10.1f} ms{decode:10.1f} ms"
            f"{server + decode:10.1f} ms",
            flush=True,
        )
    return same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--samples", type=int, default=720)
    parser.add_argument("--repeat", type=int, default=7)
    options = parser.parse_args()
    if shutil.which("influxd") is None:
        print("skipped: influxd not installed (Debian: apt install influxdb)")
        return
    with (
        tempfile.TemporaryDirectory() as name,
        filled(Path(name), turns(options.hosts, options.samples)) as config,
    ):
        if not compare(config, options.repeat):
            sys.exit("answers differ")


if __name__ == "__main__":
    main()
