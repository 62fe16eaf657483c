"""A tier row's blob: the windows of a series' day, encoded column by column.

Header: b"w", the number of windows, then the length of each part, all uint16. Parts, in the order
of _PARTS, with a short form for what most are, the windows of a constant:
- at: the place of each window doubled, plus one where it ended, as uint16; only the first where
  the others follow one by one and none ended.
- samples: b"8" and a byte for each window where that is shorter, else as in codec.py.
- last: as in codec.py.
- least, greatest: likewise; nothing where they equal last.
- total: likewise; nothing where it is samples times last.
- again: likewise; nothing where all are zero.
- started: the index of each such window as uint16, then its first value as float64; nothing where
  it is the first one alone, with a first value equal to its last; one zero byte where none is.
"""

import struct
from collections.abc import Callable, Collection

import numpy as np

from fleetpulse.storage.embedded.checksums import DamagedError
from fleetpulse.storage.embedded.codec import (
    Floats,
    Times,
    pack_values,
    seal,
    unpack_values,
    unseal,
)
from fleetpulse.storage.embedded.windows import Mask, Windows

_KIND, _BYTES, _NONE = b"w", b"8", b"\0"
_PARTS = ("at", "samples", "last", "least", "greatest", "total", "again", "started")
_HEADER = struct.Struct("<9H")

COLUMNS = ("least", "greatest", "total", "again")


class Shared:
    """Parts of rows that were packed already, for series that share their arrays."""

    def __init__(self) -> None:
        # The array in the entry keeps its id from being given to another.
        self._known: dict[int, tuple[Times | Floats, bytes]] = {}

    def counts(self, samples: Floats) -> bytes:
        return self._of(samples, lambda: _packed_counts(samples))

    def places(self, windows: Windows) -> bytes:
        if windows.ended.any():
            return _packed_places(windows)
        return self._of(windows.at, lambda: _packed_places(windows))

    def _of(self, array: Times | Floats, pack: Callable[[], bytes]) -> bytes:
        known = self._known.get(id(array))
        if known is None:
            known = self._known[id(array)] = array, pack()
        return known[1]


def encode(windows: Windows, key: int, shared: Shared | None = None) -> bytes:
    """windows must not be empty. key: of the row, as checksums.mix() makes it."""
    last, shared = windows.last, shared or Shared()
    parts = (
        shared.places(windows),
        shared.counts(windows.samples),
        pack_values(last),
        _packed(windows.least, last),
        _packed(windows.greatest, last),
        _packed(windows.total, _steady(windows.samples, last)),
        _packed(windows.again, np.zeros(len(last))),
        _packed_firsts(windows),
    )
    body = b"".join((_KIND, _HEADER.pack(len(windows), *map(len, parts)), *parts))
    return seal(body, key)


def _steady(samples: Floats, last: Floats) -> Floats:
    """The sums of windows whose samples are all the same."""
    with np.errstate(over="ignore", invalid="ignore"):  # infinite is a sum like any other
        return samples * last


def _packed(values: Floats, expected: Floats) -> bytes:
    return b"" if values.tobytes() == expected.tobytes() else pack_values(values)


def _packed_counts(samples: Floats) -> bytes:
    packed = pack_values(samples)
    if len(packed) <= len(samples) or samples.max() > 255:
        return packed
    return _BYTES + samples.astype("u1").tobytes()


def _packed_places(windows: Windows) -> bytes:
    marked = (windows.at * 2 + windows.ended).astype("<u2")
    plain = not windows.ended.any() and int(np.ptp(windows.at)) == len(windows) - 1
    return marked[:1].tobytes() if plain else marked.tobytes()


def _packed_firsts(windows: Windows) -> bytes:
    started = np.flatnonzero(windows.started)
    first = windows.first[started]
    if started.tolist() == [0] and first.tobytes() == windows.last[:1].tobytes():
        return b""
    if not len(started):
        return _NONE
    return started.astype("<u2").tobytes() + first.astype("<f8").tobytes()


def decode(blob: bytes, key: int, wanted: Collection[str] = COLUMNS) -> Windows:
    """The windows; those of COLUMNS that are not wanted hold zeros. One of DAMAGE may rise."""
    body = unseal(blob, key)
    if body[:1] != _KIND:
        raise DamagedError(f"unknown kind of tier: {body[:1]!r}")
    count, *lengths = _HEADER.unpack_from(body, 1)
    ends = np.cumsum([1 + _HEADER.size, *lengths]).tolist()
    if ends[-1] != len(body):
        raise DamagedError(f"{len(body)} bytes where {ends[-1]} were expected")
    parts = {
        name: body[begin:end] for name, begin, end in zip(_PARTS, ends[:-1], ends[1:], strict=True)
    }
    at, ended = _places(parts["at"], count)
    samples = _counts(parts["samples"], count)
    last = unpack_values(parts["last"], count)
    nothing = np.zeros(count)
    expected = {"least": last, "greatest": last, "total": _steady(samples, last), "again": nothing}
    least, greatest, total, again = (
        _column(parts[name], other) if name in wanted else nothing
        for name, other in expected.items()
    )
    started, first = _firsts(parts["started"], last)
    return Windows(at, ended, samples, least, greatest, total, last, again, started, first)


def _counts(part: bytes, count: int) -> Floats:
    if part[:1] == _BYTES:
        return np.frombuffer(part, "u1", count, 1).astype(float)
    return unpack_values(part, count)


def _places(part: bytes, count: int) -> tuple[Times, Mask]:
    if len(part) == 2:
        begin, ended = divmod(int.from_bytes(part, "little"), 2)
        return begin + np.arange(count, dtype=np.int64), np.full(count, bool(ended))
    marked = np.frombuffer(part, "<u2", count).astype(np.int64)
    return marked >> 1, (marked & 1).astype(bool)


def _column(part: bytes, expected: Floats) -> Floats:
    return unpack_values(part, len(expected)) if part else expected


def _firsts(part: bytes, last: Floats) -> tuple[Mask, Floats]:
    started, first = np.zeros(len(last), bool), np.zeros(len(last))
    many = len(part) // 10
    places = np.frombuffer(part, "<u2", many)
    started[places] = True
    first[places] = np.frombuffer(part[2 * many :], "<f8", many)
    if not part:
        started[0], first[0] = True, last[0]
    return started, first
