"""Protobuf's wire format, as far as the messages of remote write need it.

Read by hand: with the library protobuf a sample costs some ten objects, and eight times as much
(benchmarks/remote_write.py tells both). Source: protobuf.dev/programming-guides/encoding.
"""

import struct
from collections.abc import Iterator

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_FIXED = {FIXED64: 8, FIXED32: 4}
_DOUBLE = struct.Struct("<d")


class WireError(ValueError):
    """Bytes that are no protobuf message of the kind they are said to be."""


def varint(body: bytes, at: int, end: int) -> tuple[int, int]:
    """An unsigned number of up to 64 bits and where the next thing begins."""
    value = shift = 0
    while at < end:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        shift += 7
        if shift > 63:
            raise WireError(f"byte {at}: a number of more than 64 bits")
    raise WireError(f"byte {at}: a number is cut off")


def fields(body: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields of a message at body[at:end]: number, wire type, and where what it holds is.

    Of a varint that is its own bytes. WireError where the message is broken.
    """
    while at < end:
        tag = body[at]
        at += 1
        if tag >= 0x80:
            tag, at = varint(body, at - 1, end)
        number, kind = tag >> 3, tag & 7
        start = at
        if kind == LENGTH:
            if at < end and body[at] < 0x80:  # nearly always
                length, start = body[at], at + 1
            else:
                length, start = varint(body, at, end)
            at = start + length
        elif kind == VARINT:
            _, at = varint(body, at, end)
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            raise WireError(f"byte {at}: wire type {kind} is not known")
        if at > end:
            raise WireError(f"byte {start}: field {number} is longer than its message")
        if not number:
            raise WireError(f"byte {start}: a field has no number")
        yield number, kind, start, at


def expect(kind: int, wanted: int, at: int) -> None:
    """WireError where a field that is known has another wire type than it should."""
    if kind != wanted:
        raise WireError(f"byte {at}: wire type {kind} where {wanted} belongs")


def text(body: bytes, start: int, end: int) -> str:
    """ValueError where it is no UTF-8."""
    return body[start:end].decode()


def sample(body: bytes, start: int, end: int) -> tuple[float, int, int]:
    """value, timestamp and (version 2 only) start timestamp of a Sample at body[start:end].

    A NaN's bits stay as they are: the staleness marker is one of them.
    """
    value, at_ms, begun_ms = 0.0, 0, 0
    for number, kind, begin, stop in fields(body, start, end):
        if number == 1:
            expect(kind, FIXED64, begin)
            (value,) = _DOUBLE.unpack_from(body, begin)
        elif number in (2, 3):
            expect(kind, VARINT, begin)
            found, _ = varint(body, begin, stop)
            found = found - (1 << 64) if found >> 63 else found
            if number == 2:
                at_ms = found
            else:
                begun_ms = found
    return value, at_ms, begun_ms
