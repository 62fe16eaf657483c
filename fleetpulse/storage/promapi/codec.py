"""How samples are written for the wire and for the disk, by protocol. Pure, but for gzip's time.

remote_write: frames of protobuf; on the wire under snappy, as the protocol has it, on disk under
zstd, which makes 9 bytes of a sample where snappy makes 23. The only door to cramjam in this
package (python-snappy is a wrapper around it).
influx: line protocol, as text.
"""

import gzip
import struct
from collections.abc import Mapping, Sequence
from typing import Protocol

import cramjam

from fleetpulse.errors import StorageError
from fleetpulse.lineprotocol import LineEncoder, Plain
from fleetpulse.model import Page
from fleetpulse.storage import spooled
from fleetpulse.storage.drain import text_lines
from fleetpulse.storage.promapi.config import PromApiConfig
from fleetpulse.storage.promapi.remotewrite import RemoteWriteEncoder, read_frame, split
from fleetpulse.storage.spooled import Written

_LEVEL = 1  # of zstd; higher ones are slower and hardly smaller


class Codec(spooled.Codec, Protocol):
    """Safe from any thread."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Of a request."""

    def body(self, joined: bytes) -> bytes:
        """What goes over the wire, of joined items."""


def codec_of(config: PromApiConfig) -> Codec:
    return RemoteWrite() if config.protocol == "remote_write" else LineProtocol(config.gzip)


class RemoteWrite:
    def __init__(self) -> None:
        self._encoder = RemoteWriteEncoder()
        self.headers: Mapping[str, str] = {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "snappy",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }

    def encode(self, page: Page) -> Written:
        found = self._encoder.encode(page)
        # VictoriaMetrics throws a NaN away that is no staleness marker. They go there all the
        # same, for a Prometheus in its place keeps them; what is counted is what may be lost.
        return Written(found.frames, found.nan)

    def pack(self, items: Sequence[bytes]) -> bytes:
        return bytes(cramjam.zstd.compress(b"".join(items), level=_LEVEL))

    def split(self, payload: bytes) -> list[bytes]:
        try:
            return split(bytes(cramjam.zstd.decompress(payload)))
        except (cramjam.DecompressionError, StorageError):
            return [payload]

    def body(self, joined: bytes) -> bytes:
        return bytes(cramjam.snappy.compress_raw(joined))

    def told(self, item: bytes) -> str:
        try:
            labels, value, at_ms = read_frame(item)
        except (StorageError, ValueError, IndexError, struct.error):
            return repr(item[:200])
        return f"{labels} {value!r} {at_ms}"


class LineProtocol:
    """Of staleness markers there is no form here: they and NaN are left out and counted."""

    def __init__(self, zipped: bool) -> None:
        self._encoder, self._zipped = LineEncoder(Plain()), zipped
        coding = {"Content-Encoding": "gzip"} if zipped else {}
        self.headers: Mapping[str, str] = {"Content-Type": "text/plain; charset=utf-8", **coding}

    def encode(self, page: Page) -> Written:
        encoded = self._encoder.encode(page)
        # Surrogates, from pages that are no UTF-8, would be refused by the store.
        items = [line.encode("utf-8", "replace") for line in encoded.lines]
        return Written(items, encoded.left_out)

    def pack(self, items: Sequence[bytes]) -> bytes:
        return b"".join(items)

    def split(self, payload: bytes) -> list[bytes]:
        return text_lines(payload)

    def body(self, joined: bytes) -> bytes:
        return gzip.compress(joined, 1) if self._zipped else joined

    def told(self, item: bytes) -> str:
        return item.decode("utf-8", "replace").rstrip("\n")
