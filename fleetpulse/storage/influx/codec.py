"""Samples as lines, on disk as on the wire."""

from collections.abc import Sequence

from fleetpulse.lineprotocol import Influx, LineEncoder
from fleetpulse.model import Page
from fleetpulse.storage.drain import text_lines
from fleetpulse.storage.spooled import Written


class InfluxCodec:
    """spooled.Codec."""

    def __init__(self) -> None:
        self._encoder = LineEncoder(Influx())

    def encode(self, page: Page) -> Written:
        encoded = self._encoder.encode(page)
        # Surrogates, from pages that are no UTF-8, would be refused by the store.
        items = [line.encode("utf-8", "replace") for line in encoded.lines]
        return Written(items, encoded.left_out)

    def pack(self, items: Sequence[bytes]) -> bytes:
        return b"".join(items)

    def split(self, payload: bytes) -> list[bytes]:
        return text_lines(payload)

    def told(self, item: bytes) -> str:
        return item.decode("utf-8", "replace")
