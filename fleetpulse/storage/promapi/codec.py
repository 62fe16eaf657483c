"""How samples are written for the wire and for the disk, by protocol. Pure, but for gzip's time.

remote_write: frames of protobuf; on the wire under snappy, as the protocol has it, on disk under
zstd, which makes 9 bytes of a sample where snappy makes 23. The only door to cramjam in this
package (python-snappy is a wrapper around it).
influx: line protocol, as text.
"""

import gzip
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import cramjam

from fleetpulse.errors import StorageError
from fleetpulse.lineprotocol import LineEncoder
from fleetpulse.model import Page
from fleetpulse.storage.drain import text_lines
from fleetpulse.storage.promapi.config import PromApiConfig
from fleetpulse.storage.promapi.remotewrite import RemoteWriteEncoder, read_frame, split

_LEVEL = 1  # of zstd; higher ones are slower and hardly smaller


@dataclass(frozen=True, slots=True)
class Written:
    """items: a sample each. left_out: values that the format cannot hold. nan: NaN among items."""

    items: list[bytes]
    left_out: int = 0
    nan: int = 0


class Codec(Protocol):
    """Safe from any thread."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Of a request."""

    def encode(self, page: Page) -> Written: ...

    def pack(self, items: Sequence[bytes]) -> bytes:
        """A payload for the spool."""

    def split(self, payload: bytes) -> list[bytes]:
        """The items of a payload. One that is none stays whole, for the store to refuse."""

    def body(self, joined: bytes) -> bytes:
        """What goes over the wire, of joined items."""

    def told(self, item: bytes) -> str:
        """An item as a person reads it, in one line."""


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
        return Written(found.frames, nan=found.nan)

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
        self._encoder, self._zipped = LineEncoder(), zipped
        coding = {"Content-Encoding": "gzip"} if zipped else {}
        self.headers: Mapping[str, str] = {"Content-Type": "text/plain; charset=utf-8", **coding}

    def encode(self, page: Page) -> Written:
        encoded = self._encoder.encode(page)
        # InfluxDB has them as a field of its own, which here would be a series of its own.
        kept = [line for line in encoded.lines if " value=" in line]
        left_out = encoded.left_out + len(encoded.lines) - len(kept)
        # Surrogates, from pages that are no UTF-8, would be refused by the store.
        return Written([line.encode("utf-8", "replace") for line in kept], left_out)

    def pack(self, items: Sequence[bytes]) -> bytes:
        return b"".join(items)

    def split(self, payload: bytes) -> list[bytes]:
        return text_lines(payload)

    def body(self, joined: bytes) -> bytes:
        return gzip.compress(joined, 1) if self._zipped else joined

    def told(self, item: bytes) -> str:
        return item.decode("utf-8", "replace").rstrip("\n")
