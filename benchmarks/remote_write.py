"""Receiving remote write: CPU for 100,000 samples, beside VictoriaMetrics and Prometheus.

A fleet's scrapes are encoded once, as Prometheus sends them (--size samples a request, cut wherever
it falls, snappy), and sent over one connection to each receiver in turn: all series for the first
time, then scrape after scrape of known ones. What counts is the CPU time of the receiver's
processes. Ratios are to FleetPulse's: above 1, the other takes more.

With the library protobuf installed, the time that its objects would take for the same messages is
told too.

Usage: remote_write.py [--hosts 100] [--scrapes 20] [--every 15] [--size 2000] [--version 1|2]
                       [--page FILE] [--only NAME ...]
"""

import argparse
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import cramjam
from fleet.contenders import made_up_page

from api.keys import KeyStore
from fleetpulse.exposition import read_page

ROOT = Path(__file__).parents[1]
_HEADERS = {
    1: {
        "Content-Type": "application/x-protobuf",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    },
    2: {
        "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        "X-Prometheus-Remote-Write-Version": "2.0.0",
    },
}
_SHARE_OF_ZEROS = 4  # of a real host's values, one in so many is 0

Pairs = list[tuple[str, str]]


# ------------------------------------------------------------------------------ messages


def number(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def block(field: int, content: bytes) -> bytes:
    return number(field << 3 | 2) + number(len(content)) + content


def sample(at_ms: int, value: float) -> bytes:
    told = b"\x09" + struct.pack("<d", value) if value else b""
    return block(2, told + b"\x10" + number(at_ms))


def labels_of(page: bytes, hosts: int) -> list[Pairs]:
    lines = read_page(page, at_ms=0, openmetrics=False).lines
    return [
        sorted([*line, ("instance", f"host-{host}.example.org:9100"), ("job", "node")])
        for host in range(hosts)
        for line in lines
    ]


def messages(series: list[Pairs], turn: int, at_ms: int, size: int, version: int) -> list[bytes]:
    """One scrape of all series."""
    encode = _encoded1() if version == 1 else _encoded2
    rows = [
        (labels, at_ms, 0.0 if place % _SHARE_OF_ZEROS == 0 else place * 1.25 + turn)
        for place, labels in enumerate(series)
    ]
    bodies = (encode(rows[at : at + size]) for at in range(0, len(rows), size))
    return [bytes(cramjam.snappy.compress_raw(body)) for body in bodies]


Row = tuple[Pairs, int, float]
_known: dict[int, bytes] = {}


def _encoded1() -> Callable[[Sequence[Row]], bytes]:
    def named(labels: Pairs) -> bytes:
        if id(labels) not in _known:
            parts = (block(1, name.encode()) + block(2, text.encode()) for name, text in labels)
            _known[id(labels)] = b"".join(block(1, part) for part in parts)
        return _known[id(labels)]

    return lambda rows: b"".join(
        block(1, named(labels) + sample(at_ms, value)) for labels, at_ms, value in rows
    )


def _encoded2(rows: Sequence[Row]) -> bytes:
    symbols = {"": 0}
    series = []
    for labels, at_ms, value in rows:
        refs = [symbols.setdefault(text, len(symbols)) for pair in labels for text in pair]
        told = b"\x08\x01" + b"\x18" + number(symbols.setdefault("Help.", len(symbols)))
        packed = b"".join(map(number, refs))
        series.append(block(5, block(1, packed) + sample(at_ms, value) + block(5, told)))
    return b"".join(block(4, text.encode()) for text in symbols) + b"".join(series)


# ------------------------------------------------------------------------------ receivers


@dataclass(frozen=True)
class Receiver:
    command: list[str]
    port: int
    ready: str = "/-/ready"
    key: str = ""


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found


def fleetpulse(folder: Path) -> Receiver:
    key = KeyStore(folder / "data" / "keys" / "keys.json").create("push")[1]
    port = _port()
    command = [sys.executable, "-m", "fleetpulse_cli.main", "api"]
    command += ["--listen", f"127.0.0.1:{port}", "--data-dir", str(folder / "data")]
    return Receiver(command, port, key=key)


def victoria_metrics(folder: Path) -> Receiver:
    port = _port()
    data = f"-storageDataPath={folder}"
    return Receiver(
        ["victoria-metrics", f"-httpListenAddr=127.0.0.1:{port}", data], port, "/health"
    )


def prometheus(folder: Path) -> Receiver:
    port = _port()
    (folder / "prometheus.yml").write_text("")
    command = [
        "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}",
        f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver",
    ]  # fmt: skip
    return Receiver(command, port)


RECEIVERS: dict[str, Callable[[Path], Receiver]] = {
    "fleetpulse": fleetpulse,
    "victoria-metrics": victoria_metrics,
    "prometheus": prometheus,
}


@contextmanager
def running(make: Callable[[Path], Receiver]) -> Iterator[tuple[Receiver, int]]:
    """The receiver, once ready, and its process group."""
    with tempfile.TemporaryDirectory() as folder:
        receiver = make(Path(folder))
        with open(os.devnull, "wb") as nowhere:
            process = subprocess.Popen(
                receiver.command, cwd=ROOT, stdout=nowhere, stderr=nowhere, start_new_session=True
            )
        try:
            _wait_ready(receiver, process)
            yield receiver, process.pid
        finally:
            process.terminate()
            process.wait(30)


def _wait_ready(receiver: Receiver, process: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            connection = HTTPConnection("127.0.0.1", receiver.port, timeout=5)
            connection.request("GET", receiver.ready)
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"{receiver.command[0]} is not ready")


def _of_group(group: int) -> list[list[str]]:
    """The fields of /proc/PID/stat after the name, of all processes of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            found.append([path.parent.name, *fields])
    return found


def cpu(group: int) -> float:
    """Seconds that the group's processes have used so far."""
    ticks = sum(int(fields[12]) + int(fields[13]) for fields in _of_group(group))
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(group: int) -> float:
    """MB that the group's processes have had at most, those that they share counted each time."""
    total = 0
    for pid, *_ in _of_group(group):
        status = Path(f"/proc/{pid}/status").read_text()
        total += int(status.partition("VmHWM:")[2].split()[0])
    return total / 1024


# ------------------------------------------------------------------------------ measurement


@dataclass(frozen=True)
class Cost:
    """CPU seconds for 100,000 samples, of new series and of known ones; samples a second; MB."""

    new: float
    known: float
    rate: float
    memory: float


def measure(
    make: Callable[[Path], Receiver], turns: list[list[bytes]], samples: int, version: int
) -> Cost:
    with running(make) as (receiver, group):
        connection = HTTPConnection("127.0.0.1", receiver.port, timeout=60)
        marks = [cpu(group)]
        send(connection, receiver, turns[0], version)
        marks.append(cpu(group))
        began = time.monotonic()
        for turn in turns[1:]:
            send(connection, receiver, turn, version)
        took = time.monotonic() - began
        marks.append(cpu(group))
        many = len(turns) - 1
        return Cost(
            (marks[1] - marks[0]) * 1e5 / samples,
            (marks[2] - marks[1]) * 1e5 / samples / many,
            samples * many / took,
            memory(group),
        )


def send(
    connection: HTTPConnection, receiver: Receiver, bodies: Sequence[bytes], version: int
) -> None:
    headers = {**_HEADERS[version], "Content-Encoding": "snappy"}
    if receiver.key:
        headers["Authorization"] = f"Bearer {receiver.key}"
    for body in bodies:
        connection.request("POST", "/api/v1/write", body, headers)
        answer = connection.getresponse()
        told = answer.read()
        if answer.status not in (200, 204):
            raise SystemExit(f"{receiver.command[0]}: HTTP {answer.status}: {told[:300]!r}")


def by_library(bodies: Sequence[bytes], samples: int) -> float | None:
    """CPU seconds for 100,000 samples to parse messages and touch all that is in them."""
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError:
        return None
    file = descriptor_pb2.FileDescriptorProto(name="p", package="p", syntax="proto3")
    for name, *fields in (
        ("Label", ("name", 9, ""), ("value", 9, "")),
        ("Sample", ("value", 1, ""), ("timestamp", 3, "")),
        ("TimeSeries", ("labels", 11, "Label"), ("samples", 11, "Sample")),
        ("WriteRequest", ("timeseries", 11, "TimeSeries")),
    ):
        message = file.message_type.add(name=name)
        for place, (field, kind, of) in enumerate(fields, 1):
            found = message.field.add(name=field, number=place, type=kind, label=3 if of else 1)
            if of:
                found.type_name = f".p.{of}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("p.WriteRequest"))
    began = time.process_time()
    for body in bodies:
        parsed = kind()
        parsed.ParseFromString(bytes(cramjam.snappy.decompress_raw(body)))
        for series in parsed.timeseries:
            tuple([(label.name, label.value) for label in series.labels])
            [(one.timestamp, one.value) for one in series.samples]
    return (time.process_time() - began) * 1e5 / samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--scrapes", type=int, default=20)
    parser.add_argument("--every", type=int, default=15)
    parser.add_argument("--size", type=int, default=2000, help="samples in a request")
    parser.add_argument("--version", type=int, choices=(1, 2), default=1)
    parser.add_argument("--page", type=Path, help="a page saved from an exporter")
    parser.add_argument("--only", nargs="+", choices=RECEIVERS, default=list(RECEIVERS))
    options = parser.parse_args()
    version: int = options.version
    series = labels_of(options.page.read_bytes() if options.page else made_up_page(), options.hosts)
    first = round(time.time() * 1000) - options.scrapes * options.every * 1000
    turns = [
        messages(series, turn, first + turn * options.every * 1000, options.size, version)
        for turn in range(options.scrapes)
    ]
    size = sum(map(len, turns[1])) / len(series)
    print(
        f"{len(series):,} series, {options.scrapes} scrapes, {options.size} samples a request, "
        f"{size:.1f} bytes a sample, version {version}"
    )
    heads = ("known series", "ratio", "new series", "samples/s", "MB")
    print("receiver".ljust(18) + "".join(f"{head:>14}" for head in heads))
    base: Cost | None = None
    for name in options.only:
        if name != "fleetpulse" and shutil.which(name) is None:
            print(f"{name:18} is not installed")
            continue
        cost = measure(RECEIVERS[name], turns, len(series), version)
        base = base or cost
        print(
            f"{name:18}{cost.known:12.3f} s{cost.known / base.known:14.2f}{cost.new:12.3f} s"
            f"{cost.rate:14,.0f}{cost.memory:14.0f}"
        )
    library = by_library(turns[1], len(series)) if version == 1 else None
    if library is not None:
        print(f"protobuf's objects alone: {library:.3f} s")


if __name__ == "__main__":
    main()
