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
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from pcodec import ChunkConfig
from pcodec.standalone import simple_compress, simple_decompress

from fleetpulse.model import STALE_BITS
from fleetpulse.storage.embedded.checksums import DamagedError

Floats = NDArray[np.float64]
Times = NDArray[np.int64]
_Kind = TypeVar("_Kind", np.float64, np.int64)

# Level 8, the default, takes twice the time of level 4 for about 1 % of space; level 2, for what is
# soon written anew, takes three quarters of it and 1 % more space.
_CONFIG = ChunkConfig(compression_level=4)
_QUICK = ChunkConfig(compression_level=2)

_CONSTANT, _PCODEC, _RAW, _STALE = b"cprs"
_REGULAR = ord("t")
_RUN = struct.Struct("<qq")
_COUNT = struct.Struct("<I")
_SUM = struct.Struct("<I")
_SEALED = 0x80
# The CRC-32 of anything with its own CRC-32 behind it.
_RESIDUE = 0x2144DF1C

# What decoding raises where the bytes are not what was written.
DAMAGE = (ValueError, RuntimeError, LookupError, struct.error)


def encode_values(values: Floats, key: int = 0, *, quick: bool = False) -> bytes:
    """values must not be empty. key: of the row it is for, as checksums.mix() makes it.

    quick: a little larger, in less time.
    """
    return seal(pack_values(values, quick=quick), key)


def decode_values(blob: bytes, count: int, key: int = 0) -> Floats:
    """The values of a series; count is how many they are. The array may be read-only.

    One of DAMAGE where the blob is not what was written for this key.
    """
    return _values_of(*_opened(blob, key), count)


def encode_times(times: Times, key: int = 0) -> bytes:
    """Rising Unix milliseconds, at least one."""
    return seal(_times_body(times), key)


def decode_times(blob: bytes, count: int, key: int = 0) -> Times:
    kind, body = _opened(blob, key)
    if kind == _REGULAR:
        first, step = _RUN.unpack(body)
        regular: Times = first + step * np.arange(count, dtype=np.int64)
        return regular
    if kind == _PCODEC:
        times: Times = simple_decompress(body)
    elif kind == _RAW:
        times = np.frombuffer(body, "<i8")
    else:
        raise DamagedError(f"unknown kind of times: {kind}")
    return _counted(times, count)


def is_sealed(blob: bytes) -> bool:
    """Whether a blob has a checksum; those of format 1 have none."""
    return bool(blob[0] & _SEALED)


def seal(body: bytes, key: int) -> bytes:
    """A blob of format 1 with the checksum that format 2 adds."""
    marked = bytes((body[0] ^ 0xFF,)) + body[1:]
    return marked + _SUM.pack(crc32(marked, key))


def unseal(blob: bytes, key: int) -> bytes:
    """What seal() was given; DamagedError where the checksum is wrong."""
    kind, body = _opened(blob, key)
    return bytes((kind,)) + body


def _opened(blob: bytes, key: int) -> tuple[int, bytes]:
    """The kind, and what is between it and the checksum."""
    kind = blob[0]
    if not kind & _SEALED:
        return kind, blob[1:]
    if crc32(blob, key) != _RESIDUE:
        raise DamagedError("the checksum is wrong")
    return kind ^ 0xFF, blob[1:-4]


def pack_values(values: Floats, *, quick: bool = False) -> bytes:
    """Without a checksum: for a blob of several parts. values must not be empty."""
    bits = values.view(np.uint64)
    # Most that are not constant show it at their ends.
    if bits[0] == bits[-1] and (bits == bits[0]).all():
        return bytes((_CONSTANT,)) + values[:1].tobytes()
    stale = bits == STALE_BITS
    if stale.any():
        return _stale_body(values, np.flatnonzero(stale))
    config = _QUICK if quick else _CONFIG
    packed: bytes = simple_compress(np.ascontiguousarray(values), config)
    # Pcodec promises to be lossless; looking costs a tenth of the compression.
    if len(packed) < values.nbytes and _unpack(packed).tobytes() == values.tobytes():
        return bytes((_PCODEC,)) + packed
    return bytes((_RAW,)) + values.tobytes()


def _stale_body(values: Floats, stale: NDArray[np.intp]) -> bytes:
    """The markers' places, then the values with each marker replaced by the value before it."""
    marked = np.zeros(len(values), bool)
    marked[stale] = True
    source = np.maximum.accumulate(np.where(marked, 0, np.arange(len(values))))
    kept = values[source]
    if marked[0]:  # nothing before it: take the first value there is
        kept[: np.argmin(marked)] = values[np.argmin(marked)]
    places = stale.astype("<u4").tobytes()
    return bytes((_STALE,)) + _COUNT.pack(len(stale)) + places + pack_values(kept)


def unpack_values(body: bytes, count: int) -> Floats:
    """The values of pack_values(); count is how many they are. The array may be read-only."""
    if not body:
        raise DamagedError("nothing where values were expected")
    return _values_of(body[0], body[1:], count)


def _values_of(kind: int, body: bytes, count: int) -> Floats:
    if kind == _PCODEC:
        return _counted(_unpack(body), count)
    if kind == _CONSTANT:
        return _counted(np.frombuffer(body, "<f8"), 1).repeat(count)
    if kind == _RAW:
        return _counted(np.frombuffer(body, "<f8"), count)
    if kind == _STALE:
        return _stale_values(body, count)
    raise DamagedError(f"unknown kind of values: {kind}")


def _stale_values(body: bytes, count: int) -> Floats:
    (marks,) = _COUNT.unpack_from(body)
    at = 4 + 4 * marks
    values = _values_of(body[at], body[at + 1 :], count).copy()
    values.view(np.uint64)[np.frombuffer(body, "<u4", marks, 4)] = STALE_BITS
    return values


def _times_body(times: Times) -> bytes:
    step = int(times[1] - times[0]) if len(times) > 1 else 0
    if (np.diff(times) == step).all():
        return bytes((_REGULAR,)) + _RUN.pack(int(times[0]), step)
    packed: bytes = simple_compress(np.ascontiguousarray(times), _CONFIG)
    return bytes((_PCODEC,)) + packed
    return bytes((_RAW,)) + times.tobytes()


def _counted(found: NDArray[_Kind], count: int) -> NDArray[_Kind]:
    if len(found) != count:
        raise DamagedError(f"{len(found)} where {count} were expected")
    return found


def _unpack(packed: bytes) -> NDArray[np.float64]:
    unpacked: NDArray[np.float64] = simple_decompress(packed)
    return unpacked
