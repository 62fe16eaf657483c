"""Reads remote write's protobuf as any reader would, knowing nothing of who wrote it."""

import struct
from collections.abc import Iterator

from fleetpulse.model import Labels

Sample = tuple[int, int]  # time in ms, bits of the value


def read_write_request(body: bytes) -> list[tuple[list[tuple[str, str]], list[Sample]]]:
    """Labels in the order they stand in, and samples, of each series."""
    return [_series(part) for number, part in _fields(body) if number == 1]


def samples_by_series(body: bytes) -> dict[Labels, dict[int, int]]:
    found: dict[Labels, dict[int, int]] = {}
    for labels, samples in read_write_request(body):
        found.setdefault(Labels(labels), {}).update(samples)
    return found


def _series(body: bytes) -> tuple[list[tuple[str, str]], list[Sample]]:
    labels, samples = [], []
    for number, part in _fields(body):
        assert isinstance(part, bytes)
        inner = dict(_fields(part))
        if number == 1:
            labels.append((inner.get(1, b"").decode(), inner.get(2, b"").decode()))
        elif number == 2:
            time = inner.get(2, 0)
            samples.append((time - (1 << 64) * (time >> 63), inner.get(1, 0)))
    return labels, samples


def _fields(body: bytes) -> Iterator[tuple[int, "bytes | int"]]:
    at = 0
    while at < len(body):
        key, at = _varint(body, at)
        if key & 7 == 0:
            value, at = _varint(body, at)
            yield key >> 3, value
        elif key & 7 == 1:
            yield key >> 3, struct.unpack_from("<Q", body, at)[0]
            at += 8
        else:
            assert key & 7 == 2
            size, at = _varint(body, at)
            yield key >> 3, body[at : at + size]
            at += size


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (body[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if body[at - 1] < 0x80:
            return value, at
