"""A remote writer's side: messages of both versions, written field by field, and a sender of them.

Written after the .proto files and with nothing of the receiver, so that the two check each other.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cramjam
from werkzeug.test import TestResponse

from fleetpulse.model import STALE_BITS
from tests.api_fakes import NOW_MS, Api, bearer

PATH = "/api/v1/write"
V1 = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
V2 = {
    "Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "2.0.0",
}
STALE = struct.unpack("<d", struct.pack("<Q", STALE_BITS))[0]

Pairs = Sequence[tuple[str, str]]
Points = Sequence[tuple[int, float]]


def number(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def block(field: int, content: bytes | str) -> bytes:
    content = content.encode() if isinstance(content, str) else content
    return number(field << 3 | 2) + number(len(content)) + content


def integer(field: int, value: int) -> bytes:
    return number(field << 3) + number(value) if value else b""


def double(field: int, value: float) -> bytes:
    bits = struct.pack("<d", value)
    return number(field << 3 | 1) + bits if bits != bytes(8) else b""


def label(name: str, value: str) -> bytes:
    return block(1, name) + block(2, value)


def pairs(name: str, **labels: str) -> Pairs:
    return sorted([("__name__", name), *labels.items()])


def sample(at_ms: int, value: float, begun_ms: int = 0) -> bytes:
    return double(1, value) + integer(2, at_ms) + integer(3, begun_ms)


def series(labels: Pairs, *points: tuple[int, float], more: bytes = b"") -> bytes:
    """A TimeSeries of version 1.0; more: further fields at its end."""
    named = b"".join(block(1, label(*pair)) for pair in labels)
    return named + b"".join(block(2, sample(*point)) for point in points) + more


def request(*series: bytes, metadata: Iterable[bytes] = ()) -> bytes:
    told = b"".join(block(3, one) for one in metadata)
    return b"".join(block(1, one) for one in series) + told


def metadata(kind: int, name: str, help_text: str = "", unit: str = "") -> bytes:
    return integer(1, kind) + block(2, name) + block(4, help_text) + block(5, unit)


UP = pairs("up", job="node", instance="web1")
LOAD = pairs("load", job="node", instance="web1")
UP_TEXT = 'up{instance="web1", job="node"}'
LOAD_TEXT = 'load{instance="web1", job="node"}'
WRITTEN = "X-Prometheus-Remote-Write-Samples-Written"


def hosts(at_ms: int, value: float, count: int = 3, lines: int = 4) -> list[bytes]:
    """What a scraper of some hosts would send of one scrape."""
    return [
        series(pairs(f"m{n}", job="node", instance=f"h{host}"), (at_ms, value + n))
        for host in range(count)
        for n in range(lines)
    ]


class Request2:
    """A Request of version 2.0 in the making: its symbols, and its series so far."""

    def __init__(self) -> None:
        self.symbols = [""]
        self.series: list[bytes] = []

    def ref(self, text: str) -> int:
        if text not in self.symbols:
            self.symbols.append(text)
        return self.symbols.index(text)

    def refs(self, labels: Pairs) -> list[int]:
        return [self.ref(text) for pair in labels for text in pair]

    def add(
        self,
        labels: Pairs,
        *points: tuple[Any, ...],
        kind: int = 0,
        help_text: str = "",
        unit: str = "",
        more: bytes = b"",
    ) -> "Request2":
        packed = b"".join(map(number, self.refs(labels)))
        told = integer(1, kind) + integer(3, self.ref(help_text)) + integer(4, self.ref(unit))
        body = block(1, packed) + b"".join(block(2, sample(*point)) for point in points) + more
        self.series.append(body + (block(5, told) if told else b""))
        return self

    def bytes(self) -> bytes:
        return b"".join(block(4, one) for one in self.symbols) + b"".join(
            block(5, one) for one in self.series
        )


def snap(body: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(body))


class Writer:
    """An API that is written to with a push key."""

    def __init__(self, folder: Path, **remote_write: Any) -> None:
        self.api = Api(folder, remote_write=remote_write)
        self.key = self.api.key("push")

    def raw(self, body: bytes, headers: Mapping[str, str] = V1, key: str = "") -> TestResponse:
        sent = {**headers, **bearer(key or self.key)}
        return self.api.client().post(PATH, data=body, headers=sent)

    def send(self, *series: bytes, **more: Any) -> TestResponse:
        return self.raw(snap(request(*series, **more)))

    def send2(self, message: Request2) -> TestResponse:
        return self.raw(snap(message.bytes()), V2)

    def stored(self) -> dict[str, list[tuple[int, float]]]:
        found: dict[str, list[tuple[int, float]]] = {}
        for (name, at_ms), value in sorted(self.api.writer.samples().items()):
            found.setdefault(name, []).append((at_ms - NOW_MS, value))
        return found
