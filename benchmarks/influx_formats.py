"""Formats in which InfluxDB answers: what making and reading each costs, for the same series.

    python benchmarks/influx_formats.py [--hosts 20] [--repeat 9]

Two answers are asked of an InfluxDB 1.6: two hours of all CPU counters of a fleet at 15 s, and the
newest sample of each. Each in MessagePack, JSON and CSV, of InfluxQL; and as Flux's CSV, which 1.6
does not make of this: it is written here as 2.x writes it, and only read. Prints for each:

- server: the median time until the last byte, nothing read of it;
- size: of the answer;
- read: the median processor time from bytes to arrays of times and values by series.

All readings give the same arrays, or it ends with exit code 1. None makes an object of a point but
JSON's, which has no other way; "bare" is orjson without a look at what else might come. CSV has the
labels in each row, and so has Flux's. MessagePack is what long ranges are read in, JSON what others
are.
"""

import argparse
import io
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import orjson
import requests
from fleet.history import History
from fleet.influx import filled
from influx_read import EVERY, HOUR, told
from numpy.typing import NDArray

from fleetpulse.matchers import Matcher
from fleetpulse.storage.influx import influxql
from fleetpulse.storage.influx.answer import Part
from fleetpulse.storage.influx.config import Influx1Config
from fleetpulse.storage.influx.influxql import Place
from fleetpulse.storage.influx.jsonanswer import read_json
from fleetpulse.storage.influx.msgpack import read_answer
from fleetpulse.storage.influx.series import code_of

# By labels as text: times in ms, values.
Arrays = dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]]

CPU = [Matcher("__name__", "=", "node_cpu_seconds_total")]
_PIECE = 1 << 16


def only(made: History, name: str) -> History:
    """One metric of it."""
    places = [place for place, line in enumerate(made.lines) if line.name == name]
    lines = [made.lines[place] for place in places]
    return History(lines, made.targets, made.times, [table[:, places] for table in made.values])


def named(tags: dict[str, str]) -> str:
    return ",".join(f"{name}={text}" for name, text in sorted(tags.items()))


def of_parts(parts: Iterator[Part | str]) -> Arrays:
    found: Arrays = {}
    for part in parts:
        assert isinstance(part, Part), part
        found[named(dict(part.tags))] = part.times_ms, part.columns["value"]
    return found


def pieces(body: bytes) -> Iterator[bytes]:
    return (body[begin : begin + _PIECE] for begin in range(0, len(body), _PIECE))


def read_msgpack(body: bytes) -> Arrays:
    return of_parts(read_answer(pieces(body), code_of))


def read_lines(body: bytes) -> Arrays:
    return of_parts(read_json(pieces(body), code_of))


def read_orjson(body: bytes) -> Arrays:
    found: Arrays = {}
    for line in body.splitlines():
        for result in orjson.loads(line)["results"]:
            for series in result.get("series", ()):
                times, values, *_ = zip(*series["values"], strict=True)
                arrays = np.array(times, np.int64), np.array(values, np.float64)
                found[named(series["tags"])] = arrays
    return found


def read_csv(body: bytes) -> Arrays:
    """name,tags,time,value,stale,special: the tags in quotes, one row after the other."""
    found: Arrays = {}
    rows = body.split(b"\n")[1:-1]
    for tags, some in groupby(rows, key=lambda row: row[: row.index(b'",') + 1]):
        lines = [row[len(tags) + 1 :] for row in some]
        table = np.loadtxt(io.BytesIO(b"\n".join(lines)), delimiter=",", usecols=(0, 1), ndmin=2)
        text = tags.decode().partition(",")[2].strip('"')
        # 2 ** 53 ms are 285,000 years.
        found[text] = table[:, 0].astype(np.int64), np.ascontiguousarray(table[:, 1])
    return found


def as_flux(arrays: Arrays) -> bytes:
    """The same as Flux's CSV: a row a point, times as text, then the value, then all labels."""
    names = [pair.partition("=")[0] for pair in next(iter(arrays)).split(",")]
    lines = [",result,table,_time,_value," + ",".join(names)]
    for table, (labels, (times, values)) in enumerate(arrays.items()):
        texts = ",".join(pair.partition("=")[2] for pair in labels.split(","))
        stamps = np.datetime_as_string(times.view("datetime64[ms]"), unit="ms")
        lines += [
            f",_result,{table},{stamp}Z,{value!r},{texts}"
            for stamp, value in zip(stamps.tolist(), values.tolist(), strict=True)
        ]
    return "\r\n".join([*lines, ""]).encode()


def read_flux(body: bytes) -> Arrays:
    found: Arrays = {}
    head, *rows = [row.split(b",") for row in body.split(b"\r\n")[:-1]]
    names = [name.decode() for name in head[5:]]
    for _, group in groupby(rows, key=lambda row: row[2]):
        some = list(group)
        texts = [one.decode() for one in some[0][5:]]
        stamps = np.array([row[3][:-1] for row in some]).astype("U23").astype("datetime64[ms]")
        labels = ",".join(f"{name}={text}" for name, text in zip(names, texts, strict=True))
        found[labels] = stamps.view(np.int64), np.array([row[4] for row in some]).astype(float)
    return found


READERS: tuple[tuple[str, str, Callable[[bytes], Arrays]], ...] = (
    ("MessagePack", "application/x-msgpack", read_msgpack),
    ("JSON", "application/json", read_lines),
    ("JSON, bare", "application/json", read_orjson),
    ("CSV", "application/csv", read_csv),
)


def asked(session: requests.Session, config: Influx1Config, statement: str, accept: str) -> bytes:
    params = {"db": config.database, "epoch": "ms", "chunked": "true", "chunk_size": "100000"}
    answer = session.post(
        f"{config.url}/query",
        params=params,
        data={"q": statement},
        headers={"Accept": accept, "Accept-Encoding": "identity"},
        timeout=60,
    )
    answer.raise_for_status()
    body: bytes = answer.content
    return body


def median(work: Callable[[], object], clock: Callable[[], float], repeat: int) -> float:
    taken = []
    for _ in range(repeat):
        began = clock()
        work()
        taken.append(1000 * (clock() - began))
    return statistics.median(taken)


def same(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[labels][0], other[labels][0])
        and np.array_equal(one[labels][1], other[labels][1])
        for labels in one
    )


def compare(config: Influx1Config, statement: str, repeat: int) -> bool:
    print(f"{'':16}{'server':>12}{'size':>12}{'read':>12}")
    wanted: Arrays | None = None
    agree = True
    with requests.Session() as session:
        for what, accept, read in READERS:
            body = asked(session, config, statement, accept)
            ask = partial(asked, session, config, statement, accept)
            made = median(ask, time.perf_counter, repeat)
            taken = median(partial(read, body), time.process_time, repeat)
            wanted = wanted or read(body)
            agree &= same(read(body), wanted)
            print(f"{what:16}{made:9.1f} ms{len(body) / 1e6:9.2f} MB{taken:9.1f} ms", flush=True)
    assert wanted is not None
    flux = as_flux(wanted)
    taken = median(partial(read_flux, flux), time.process_time, repeat)
    print(f"{'CSV of Flux':16}{'-':>12}{len(flux) / 1e6:9.2f} MB{taken:9.1f} ms", flush=True)
    return agree and same(read_flux(flux), wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--hosts", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=9)
    options = parser.parse_args()
    if shutil.which("influxd") is None:
        print("skipped: influxd not installed (Debian: apt install influxdb)")
        return
    made = only(told(options.hosts), CPU[0].value)
    end_ms = max(int(times[-1]) for times in made.times)
    with tempfile.TemporaryDirectory() as name, filled(Path(name), made.pages()) as config:
        place, bounds = Place(config.database), (end_ms - 2 * HOUR * 1000, end_ms)
        print(f"{2 * HOUR // EVERY} samples a series")
        agree = compare(config, influxql.select(place, CPU, *bounds), options.repeat)
        print("the newest sample of each")
        agree &= compare(config, influxql.select_newest(place, CPU, *bounds), options.repeat)
    if not agree:
        sys.exit("readings differ")


if __name__ == "__main__":
    main()
