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


def references(joined: bytes) -> Refs:
    """The numbers of packed varints, all at once. ValueError where the last is cut off."""
    octets = np.frombuffer(joined, np.uint8)
    ends = np.flatnonzero(octets < 0x80)
    if len(octets) and (not len(ends) or ends[-1] != len(octets) - 1):
        raise ValueError("a number is cut off")
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    if not len(starts):
        return np.empty(0, np.int64)
    lengths = ends - starts + 1
    if lengths.max() > 5:
        raise ValueError("a reference of more than 32 bits")
    places = np.arange(len(octets)) - np.repeat(starts, lengths)
    parts = (octets & 0x7F).astype(np.int64) << (7 * places)
    found: Refs = np.add.reduceat(parts, starts)
    return found


def counts(joined: bytes, lengths: "NDArray[np.int64]") -> "NDArray[np.int64]":
    """How many numbers each stretch of joined holds, stretches being lengths bytes long."""
    ends = np.concatenate([[0], np.cumsum(np.frombuffer(joined, np.uint8) < 0x80)])
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    found: NDArray[np.int64] = np.diff(ends[bounds])
    return found
