"""Prometheus' remote write, version 1: pages in, protobuf out. Written by hand, and hot.

A WriteRequest is nothing but its TimeSeries one after the other, each with a tag and its length
(`repeated TimeSeries timeseries = 1`). So a batch is the joined frames of its samples, and can be
taken apart again: that is how it waits on disk. A value is 8 bytes as they are, every NaN and
staleness marker among them.

A frame is what the layout gives (a template, shared by all targets of the same shape), what the
target gives (one text a page) and the sample. Labels stand in the order of their names, as the
protocol asks.
Format: https://prometheus.io/docs/specs/prw/remote_write_spec/ and prompb/types.proto there.
"""

import struct
import sys
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fleetpulse.errors import StorageError
from fleetpulse.model import Labels, Page, is_stale

_SERIES = b"\x0a"  # WriteRequest.timeseries and TimeSeries.labels: field 1, with a length
_LABEL = b"\x0a"
_NAME, _VALUE = b"\x0a", b"\x12"  # Label.name, Label.value
_SAMPLE = b"\x12"  # TimeSeries.samples
_NUMBER, _TIME = b"\x09", b"\x10"  # Sample.value: 8 bytes; Sample.timestamp: a varint
_MINUS = 1 << 64  # what a negative varint is taken modulo

# A template with a hole for each run of the target's labels, and which labels the runs have.
_Runs = tuple[tuple[int, int], ...]
_Head = tuple[bytes, _Runs]
# None for a line that changes a label of the target, which is written in full.
_Heads = Sequence[_Head | None]


@dataclass(frozen=True, slots=True)
class Frames:
    """frames: each a sample with its labels. nan: how many values are NaN and no marker."""

    frames: list[bytes]
    nan: int


class RemoteWriteEncoder:
    """Turns pages into frames. Safe from any thread. Remembers the last layouts' templates."""

    def __init__(self, layouts: int = 1024) -> None:
        self._lock = threading.Lock()
        self._heads: OrderedDict[tuple[bytes, tuple[str, ...]], _Heads] = OrderedDict()
        self._most = layouts

    def encode(self, page: Page) -> Frames:
        heads = self._heads_of(page)
        target = [_label(name, value) for name, value in page.target]
        fills: dict[_Runs, tuple[bytes, ...]] = {}
        for head in heads:
            if head is not None and head[1] not in fills:
                fills[head[1]] = tuple(b"".join(target[a:b]) for a, b in head[1])
        labels = [
            _full(page, index) if head is None else head[0] % fills[head[1]]
            for index, head in enumerate(heads)
        ]
        return Frames(_frames(labels, _samples(page)), _count_nan(page.values))

    def _heads_of(self, page: Page) -> _Heads:
        names = tuple(name for name, _ in page.target)
        key = (page.layout.digest, names)
        with self._lock:
            heads = self._heads.get(key)
            if heads is None:
                heads = self._heads[key] = [_head(line, names) for line in page.layout.lines]
                if len(self._heads) > self._most:
                    self._heads.popitem(last=False)
            self._heads.move_to_end(key)
            return heads


def split(payload: bytes) -> list[bytes]:
    """The frames that were joined. StorageError where that is no payload of frames."""
    frames, at, end = [], 0, len(payload)
    while at < end:
        size, start = _read_varint(payload, at + 1)
        if payload[at] != _SERIES[0] or start + size > end:
            raise StorageError(f"no frame at byte {at} of {end}", retriable=False)
        frames.append(payload[at : start + size])
        at = start + size
    return frames


def read_frame(frame: bytes) -> tuple[Labels, float, int]:
    """Labels, value and time of a frame that the encoder has made. StorageError for any other."""
    pairs, value, at_ms = [], 0.0, 0
    if split(frame) != [frame]:
        raise StorageError("no frame", retriable=False)
    for tag, part in _fields(frame[_read_varint(frame, 1)[1] :]):
        if tag == _LABEL[0]:
            name, text = (inner.decode("utf-8", "replace") for _, inner in _fields(part))
            pairs.append((name, text))
        else:
            value = struct.unpack("<d", part[1:9])[0]
            at_ms = _read_varint(part, 10)[0]
    return Labels(pairs), value, at_ms - _MINUS * (at_ms >> 63)


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tags and contents, all of which have a length."""
    at = 0
    while at < len(data):
        size, start = _read_varint(data, at + 1)
        yield data[at], data[start : start + size]
        at = start + size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise StorageError("a frame ends too early", retriable=False)


def varint(value: int) -> bytes:
    """Seven bits a byte, lowest first; a negative number as its 64 bits."""
    value %= _MINUS
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


_VARINTS = [varint(value) for value in range(4096)]


def _sized(size: int) -> bytes:
    return _VARINTS[size] if size < len(_VARINTS) else varint(size)


def _label(name: str, value: str) -> bytes:
    # Surrogates, from pages that are no UTF-8, would be refused by the store.
    key, text = name.encode("utf-8", "replace"), value.encode("utf-8", "replace")
    inner = b"".join((_NAME, _sized(len(key)), key, _VALUE, _sized(len(text)), text))
    return b"".join((_LABEL, _sized(len(inner)), inner))


def _head(line: Labels, target: Sequence[str]) -> _Head | None:
    if any(name in target for name, _ in line):
        return None
    both = sorted([(name, value, -1) for name, value in line if value] + [
        (name, "", place) for place, name in enumerate(target)
    ])  # fmt: skip
    template, runs = b"", list[tuple[int, int]]()
    in_run = False
    for name, value, place in both:
        if place < 0:
            template += _label(name, value).replace(b"%", b"%%")
        elif in_run:
            runs[-1] = (runs[-1][0], place + 1)
        else:
            template, runs = template + b"%b", [*runs, (place, place + 1)]
        in_run = place >= 0
    return template, tuple(runs)


def _full(page: Page, index: int) -> bytes:
    labels = page.target.merged(page.layout.lines[index])
    return b"".join(_label(name, value) for name, value in labels)


def _samples(page: Page) -> list[bytes]:
    """Each value with its time, as a Sample with its tag and length."""
    raw = _little(page.values).tobytes()
    values = [raw[at : at + 8] for at in range(0, len(raw), 8)]
    times = page.times_ms
    if times is None:
        begin, end = _around(page.at_ms)
        return [begin + value + end for value in values]
    around = {at: _around(at) for at in set(times)}
    pairs = zip(values, (around[at] for at in times), strict=True)
    return [begin + value + end for value, (begin, end) in pairs]


def _around(at_ms: int) -> tuple[bytes, bytes]:
    end = _TIME + varint(at_ms)
    return _SAMPLE + _sized(9 + len(end)) + _NUMBER, end


def _little(values: "array[float]") -> "array[float]":
    if sys.byteorder == "little":
        return values
    swapped = array("d", values)
    swapped.byteswap()
    return swapped


def _frames(labels: Sequence[bytes], samples: Sequence[bytes]) -> list[bytes]:
    return [
        b"\n%b%b%b" % (_sized(len(one) + len(sample)), one, sample)
        for one, sample in zip(labels, samples, strict=True)
    ]


def _count_nan(values: "array[float]") -> int:
    total = sum(values)
    # inf - inf and nan - nan are nan: one look at the sum tells of all values.
    if total - total == 0:
        return 0
    return sum(value != value and not is_stale(value) for value in values)
