"""Values and timestamps to bytes and back, bit for bit. The first byte says how.

The last four bytes are a checksum over all before them and the row's key. Format 1 had none: there
the first byte was the complement of what it is now, far enough that damage does not turn one into
the other.

Pcodec (https://github.com/pcodec/pcodec) finds deltas, common factors and decimals by itself; what
it does not see are constant series, which most are, and staleness markers, whose bits are far off
the rest.
"""

import struct
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pcodec import ChunkConfig
from pcodec.standalone import simple_compress, simple_decompress

from fleetpulse.model import STALE_BITS
from fleetpulse.storage.embedded.checksums import DamagedError, checksum

Floats = NDArray[np.float64]
Times = NDArray[np.int64]
_Kind = TypeVar("_Kind", np.float64, np.int64)

# Level 8, the default, takes twice the time for about 1 % of space.
_CONFIG = ChunkConfig(compression_level=4)

_CONSTANT, _PCODEC, _RAW, _STALE = b"c", b"p", b"r", b"s"
_REGULAR = b"t"
_RUN = struct.Struct("<qq")
_COUNT = struct.Struct("<I")
_SUM = struct.Struct("<I")
_SEALED = 0x80

# What decoding raises where the bytes are not what was written.
DAMAGE = (ValueError, RuntimeError, LookupError, struct.error)


def encode_values(values: Floats, key: int = 0) -> bytes:
    """values must not be empty. key: of the row it is for, as checksums.mix() makes it."""
    return seal(pack_values(values), key)


def decode_values(blob: bytes, count: int, key: int = 0) -> Floats:
    """The values of a series; count is how many they are. The array may be read-only.

    One of DAMAGE where the blob is not what was written for this key.
    """
    return unpack_values(unseal(blob, key), count)


def encode_times(times: Times, key: int = 0) -> bytes:
    """Rising Unix milliseconds, at least one."""
    return seal(_times_body(times), key)


def decode_times(blob: bytes, count: int, key: int = 0) -> Times:
    body = unseal(blob, key)
    kind = body[:1]
    if kind == _REGULAR:
        first, step = _RUN.unpack_from(body, 1)
        regular: Times = first + step * np.arange(count, dtype=np.int64)
        return regular
    if kind == _PCODEC:
        times: Times = simple_decompress(body[1:])
    elif kind == _RAW:
        times = np.frombuffer(body[1:], "<i8")
    else:
        raise DamagedError(f"unknown kind of times: {kind!r}")
    return _counted(times, count)


def is_sealed(blob: bytes) -> bool:
    """Whether a blob has a checksum; those of format 1 have none."""
    return bool(blob[0] & _SEALED)


def seal(body: bytes, key: int) -> bytes:
    """A blob of format 1 with the checksum that format 2 adds."""
    marked = bytes((body[0] ^ 0xFF,)) + body[1:]
    return marked + _SUM.pack(checksum(marked, key=key))


def unseal(blob: bytes, key: int) -> bytes:
    """What seal() was given; DamagedError where the checksum is wrong."""
    if not blob[0] & _SEALED:
        return blob
    if len(blob) < 5 or _SUM.unpack_from(blob, len(blob) - 4)[0] != checksum(blob[:-4], key=key):
        raise DamagedError("the checksum is wrong")
    return bytes((blob[0] ^ 0xFF,)) + blob[1:-4]


def pack_values(values: Floats) -> bytes:
    """Without a checksum: for a blob of several parts. values must not be empty."""
    bits = values.view(np.uint64)
    if (bits == bits[0]).all():
        return _CONSTANT + values[:1].tobytes()
    stale = np.flatnonzero(bits == STALE_BITS)
    if len(stale):
        return _stale_body(values, stale)
    packed: bytes = simple_compress(np.ascontiguousarray(values), _CONFIG)
    # Pcodec promises to be lossless; looking costs a tenth of the compression.
    if len(packed) < values.nbytes and np.array_equal(_unpack(packed).view(np.uint64), bits):
        return _PCODEC + packed
    return _RAW + values.tobytes()


def _stale_body(values: Floats, stale: NDArray[np.intp]) -> bytes:
    """The markers' places, then the values with each marker replaced by the value before it."""
    marked = np.zeros(len(values), bool)
    marked[stale] = True
    source = np.maximum.accumulate(np.where(marked, 0, np.arange(len(values))))
    kept = values[source]
    if marked[0]:  # nothing before it: take the first value there is
        kept[: np.argmin(marked)] = values[np.argmin(marked)]
    places = stale.astype("<u4").tobytes()
    return _STALE + _COUNT.pack(len(stale)) + places + pack_values(kept)


def unpack_values(body: bytes, count: int) -> Floats:
    """The values of pack_values(); count is how many they are. The array may be read-only."""
    kind = body[:1]
    if kind == _PCODEC:
        return _counted(_unpack(body[1:]), count)
    if kind == _CONSTANT:
        return _counted(np.frombuffer(body[1:], "<f8"), 1).repeat(count)
    if kind == _RAW:
        return _counted(np.frombuffer(body[1:], "<f8"), count)  # sliced, else it is misaligned
    if kind == _STALE:
        return _stale_values(body, count)
    raise DamagedError(f"unknown kind of values: {kind!r}")


def _stale_values(body: bytes, count: int) -> Floats:
    (marks,) = _COUNT.unpack_from(body, 1)
    values = unpack_values(body[5 + 4 * marks :], count).copy()
    values.view(np.uint64)[np.frombuffer(body, "<u4", marks, 5)] = STALE_BITS
    return values


def _times_body(times: Times) -> bytes:
    step = int(times[1] - times[0]) if len(times) > 1 else 0
    if (np.diff(times) == step).all():
        return _REGULAR + _RUN.pack(int(times[0]), step)
    packed: bytes = simple_compress(np.ascontiguousarray(times), _CONFIG)
    return _PCODEC + packed if len(packed) < times.nbytes else _RAW + times.tobytes()


def _counted(found: NDArray[_Kind], count: int) -> NDArray[_Kind]:
    if len(found) != count:
        raise DamagedError(f"{len(found)} where {count} were expected")
    return found


def _unpack(packed: bytes) -> NDArray[np.float64]:
    unpacked: NDArray[np.float64] = simple_decompress(packed)
    return unpacked
