"""Writes MessagePack, as an InfluxDB would: for tests of what reads it."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Wide:
    """A number with its kind: a first byte and a struct format; "" for what is in that byte."""

    value: float
    first: int
    how: str = ""


def packed(value: object) -> bytes:
    """Sizes as short as they can be, whole numbers in eight bytes."""
    if isinstance(value, Wide):
        return bytes([value.first]) + (struct.pack(value.how, value.value) if value.how else b"")
    if value is None or isinstance(value, bool):
        return {None: b"\xc0", False: b"\xc2", True: b"\xc3"}[value]
    if isinstance(value, int):
        return struct.pack(">Bq", 0xD3, value)
    if isinstance(value, float):
        return struct.pack(">Bd", 0xCB, value)
    if isinstance(value, str):
        data = value.encode()
        return _sized(len(data), 0xA0, 31, (0xD9, 0xDA, 0xDB)) + data
    if isinstance(value, Mapping):
        pairs = b"".join(packed(key) + packed(one) for key, one in value.items())
        return _sized(len(value), 0x80, 15, (0, 0xDE, 0xDF)) + pairs
    assert isinstance(value, Sequence), value
    return _sized(len(value), 0x90, 15, (0, 0xDC, 0xDD)) + b"".join(map(packed, value))


def _sized(size: int, fixed: int, most: int, kinds: tuple[int, int, int]) -> bytes:
    if size <= most:
        return bytes([fixed | size])
    one, two, four = kinds
    if size < 1 << 8 and one:
        return struct.pack(">BB", one, size)
    return struct.pack(">BH", two, size) if size < 1 << 16 else struct.pack(">BI", four, size)


@dataclass(frozen=True)
class Answered:
    """One series of an answer."""

    rows: Sequence[Sequence[object]]
    columns: Sequence[str] = ("time", "value", "stale", "special")
    tags: Mapping[str, str] = field(default_factory=dict)
    name: str = "m"

    def document(self) -> dict[str, object]:
        plain: dict[str, object] = {"name": self.name, "columns": self.columns}
        return plain | ({"tags": self.tags} if self.tags else {}) | {"values": self.rows}


def answer(*series: Answered, error: str = "") -> dict[str, object]:
    """One document."""
    result: dict[str, object] = {"statement_id": 0, "series": [one.document() for one in series]}
    return {"results": [result | ({"error": error} if error else {})]}
