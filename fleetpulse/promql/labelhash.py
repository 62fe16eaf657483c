"""The hash by which Prometheus samples series in limit_ratio, so that both choose the same ones.

XXH64 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md), seed 0, over the labels in
Prometheus' "stringlabels" form: each name and value behind its length, one byte up to 254, else
255 and three bytes.
"""

from fleetpulse.model import Labels

_MASK = (1 << 64) - 1
_PRIME_1 = 0x9E3779B185EBCA87
_PRIME_2 = 0xC2B2AE3D27D4EB4F
_PRIME_3 = 0x165667B19E3779F9
_PRIME_4 = 0x85EBCA77C2B2AE63
_PRIME_5 = 0x27D4EB2F165667C5


def labels_hash(labels: Labels) -> int:
    """64 bits that are the same in every process."""
    return xxh64(b"".join(_sized(text.encode()) for pair in labels for text in pair))


def _sized(data: bytes) -> bytes:
    if len(data) < 255:
        return bytes([len(data)]) + data
    return b"\xff" + len(data).to_bytes(4, "little")[:3] + data


def xxh64(data: bytes) -> int:
    stripes = len(data) // 32 * 32
    state = _stripes(data[:stripes]) if stripes else _PRIME_5
    state = (state + len(data)) & _MASK
    return _avalanche(_tail(state, data[stripes:]))


def _stripes(data: bytes) -> int:
    lanes = [(_PRIME_1 + _PRIME_2) & _MASK, _PRIME_2, 0, -_PRIME_1 & _MASK]
    for start in range(0, len(data), 32):
        for lane in range(4):
            at = start + 8 * lane
            lanes[lane] = _round(lanes[lane], int.from_bytes(data[at : at + 8], "little"))
    state = sum(_rotate(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)) & _MASK
    for lane in lanes:
        state = ((state ^ _round(0, lane)) * _PRIME_1 + _PRIME_4) & _MASK
    return state


def _tail(state: int, rest: bytes) -> int:
    """Up to 31 bytes: eight at a time, then four, then one by one."""
    while len(rest) >= 8:
        state ^= _round(0, int.from_bytes(rest[:8], "little"))
        state = (_rotate(state, 27) * _PRIME_1 + _PRIME_4) & _MASK
        rest = rest[8:]
    if len(rest) >= 4:
        state ^= (int.from_bytes(rest[:4], "little") * _PRIME_1) & _MASK
        state = (_rotate(state, 23) * _PRIME_2 + _PRIME_3) & _MASK
        rest = rest[4:]
    for byte in rest:
        state ^= (byte * _PRIME_5) & _MASK
        state = (_rotate(state, 11) * _PRIME_1) & _MASK
    return state


def _avalanche(state: int) -> int:
    state = ((state ^ (state >> 33)) * _PRIME_2) & _MASK
    state = ((state ^ (state >> 29)) * _PRIME_3) & _MASK
    return state ^ (state >> 32)


def _round(state: int, lane: int) -> int:
    return (_rotate((state + lane * _PRIME_2) & _MASK, 31) * _PRIME_1) & _MASK


def _rotate(value: int, by: int) -> int:
    return ((value << by) | (value >> (64 - by))) & _MASK
