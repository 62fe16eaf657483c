"""The texts that requests of version 2.0 refer to, numbered for good, so that the references of
a series mean the same in every request and can be looked up as bytes.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_MOST = 1_000_000

Refs = NDArray[np.int64]


class Symbols:
    """To be used by one thread at a time. At most some million texts."""

    def __init__(self) -> None:
        self._ids: dict[bytes, int] = {}

    @property
    def full(self) -> bool:
        return len(self._ids) > _MOST

    def clear(self) -> None:
        """Starts to number anew. What was noted by the old numbers is void."""
        self._ids = {}

    def numbers(self, texts: Sequence[bytes]) -> "NDArray[np.uint32]":
        """One a text."""
        ids = self._ids
        return np.array([ids.setdefault(text, len(ids)) for text in texts], np.uint32)


def references(joined: bytes, lengths: Refs) -> tuple[Refs, Refs]:
    """Packed varints of several stretches, which are lengths bytes long, all at once.

    The numbers, and bounds: those of stretch i are numbers[bounds[i]:bounds[i + 1]]. ValueError
    where a stretch ends within a number, or one has more than 32 bits.
    """
    octets = np.frombuffer(joined, np.uint8)
    last = octets < 0x80
    stops = np.cumsum(lengths)
    if not last[stops[lengths > 0] - 1].all():
        raise ValueError("a number is cut off")
    bounds = np.concatenate([[0], np.cumsum(last)])[np.concatenate([[0], stops])]
    ends = np.flatnonzero(last)
    if not len(ends):
        return np.empty(0, np.int64), bounds
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends - starts + 1
    if sizes.max() > 5:
        raise ValueError("a reference of more than 32 bits")
    places = np.arange(len(octets)) - np.repeat(starts, sizes)
    parts = (octets & 0x7F).astype(np.int64) << (7 * places)
    return np.add.reduceat(parts, starts), bounds
