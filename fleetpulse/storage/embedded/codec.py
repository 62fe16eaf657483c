"""Values and timestamps to bytes and back, bit for bit. The first byte says how.

Pcodec (https://github.com/pcodec/pcodec) finds deltas, common factors and decimals by itself; what
it does not see are constant series, which most are, and staleness markers, whose bits are far off
the rest.
"""

import struct

import numpy as np
from numpy.typing import NDArray
from pcodec import ChunkConfig
from pcodec.standalone import simple_compress, simple_decompress

from fleetpulse.model import STALE_BITS

Floats = NDArray[np.float64]
Times = NDArray[np.int64]

# Level 8, the default, takes twice the time for about 1 % of space.
_CONFIG = ChunkConfig(compression_level=4)

_CONSTANT, _PCODEC, _RAW, _STALE = b"c", b"p", b"r", b"s"
_REGULAR = b"t"
_RUN = struct.Struct("<qq")
_COUNT = struct.Struct("<I")


def encode_values(values: Floats) -> bytes:
    """values must not be empty."""
    bits = values.view(np.uint64)
    if (bits == bits[0]).all():
        return _CONSTANT + values[:1].tobytes()
    stale = np.flatnonzero(bits == STALE_BITS)
    if len(stale):
        return _encode_stale(values, stale)
    packed: bytes = simple_compress(np.ascontiguousarray(values), _CONFIG)
    # Pcodec promises to be lossless; looking costs a tenth of the compression.
    if len(packed) < values.nbytes and np.array_equal(_unpack(packed).view(np.uint64), bits):
        return _PCODEC + packed
    return _RAW + values.tobytes()


def _encode_stale(values: Floats, stale: NDArray[np.intp]) -> bytes:
    """The markers' places, then the values with each marker replaced by the value before it."""
    marked = np.zeros(len(values), bool)
    marked[stale] = True
    source = np.maximum.accumulate(np.where(marked, 0, np.arange(len(values))))
    kept = values[source]
    if marked[0]:  # nothing before it: take the first value there is
        kept[: np.argmin(marked)] = values[np.argmin(marked)]
    places = stale.astype("<u4").tobytes()
    return _STALE + _COUNT.pack(len(stale)) + places + encode_values(kept)


def decode_values(blob: bytes, count: int) -> Floats:
    """The values of a series; count is how many they are. The array may be read-only.

    ValueError, RuntimeError or struct.error where the blob is damaged.
    """
    kind = blob[:1]
    if kind == _PCODEC:
        values = _unpack(blob[1:])
        if len(values) != count:
            raise ValueError(f"{len(values)} values where {count} were expected")
        return values
    if kind == _CONSTANT:
        return np.frombuffer(blob, "<f8", 1, 1).repeat(count)
    if kind == _RAW:
        return np.frombuffer(blob[1:], "<f8", count)  # sliced: at offset 1 it would be misaligned
    if kind == _STALE:
        return _decode_stale(blob, count)
    raise ValueError(f"unknown kind of values: {kind!r}")


def _decode_stale(blob: bytes, count: int) -> Floats:
    (marks,) = _COUNT.unpack_from(blob, 1)
    values = decode_values(blob[5 + 4 * marks :], count).copy()
    values.view(np.uint64)[np.frombuffer(blob, "<u4", marks, 5)] = STALE_BITS
    return values


def encode_times(times: Times) -> bytes:
    """Rising Unix milliseconds, at least one."""
    step = int(times[1] - times[0]) if len(times) > 1 else 0
    if (np.diff(times) == step).all():
        return _REGULAR + _RUN.pack(int(times[0]), step)
    packed: bytes = simple_compress(np.ascontiguousarray(times), _CONFIG)
    return _PCODEC + packed if len(packed) < times.nbytes else _RAW + times.tobytes()


def decode_times(blob: bytes, count: int) -> Times:
    kind = blob[:1]
    if kind == _REGULAR:
        first, step = _RUN.unpack_from(blob, 1)
        regular: Times = first + step * np.arange(count, dtype=np.int64)
        return regular
    if kind == _PCODEC:
        times: Times = simple_decompress(blob[1:])
        return times
    if kind == _RAW:
        return np.frombuffer(blob[1:], "<i8", count)
    raise ValueError(f"unknown kind of times: {kind!r}")


def _unpack(packed: bytes) -> NDArray[np.float64]:
    unpacked: NDArray[np.float64] = simple_decompress(packed)
    return unpacked
