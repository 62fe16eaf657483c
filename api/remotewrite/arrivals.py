"""The samples of a request on their way to arrays. The hot path: no object a sample, where it is
as Prometheus' own sender writes it.

Such a Sample with its tag is 18 bytes: 12 10 09 VALUE*8 10 TIME*6; with the value 0, which
protobuf leaves out, 9 bytes: 12 07 10 TIME*6. Six bytes of time are those from 1971 to 2109.
"""

from array import array
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FULL, ZERO = 18, 9
_SHIFTS = np.arange(0, 42, 7, dtype=np.int64)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Samples:
    """series: ids of the table; values; times_ms. Arrays of equal length."""

    series: Ints
    values: Floats
    times_ms: Ints

    def __len__(self) -> int:
        return len(self.series)

    def only(self, mask: NDArray[np.bool_]) -> "Samples":
        return Samples(self.series[mask], self.values[mask], self.times_ms[mask])


class Arrivals:
    """Gathers samples: full and zero by the place in the body where they end, others one by one.

    What was added by place is checked by close(), all at once; what turns out not to be such a
    sample after all is handed back, to be read the long way.
    """

    __slots__ = ("_odd_series", "_odd_times", "_odd_values", "full", "full_ends", "zero",
                 "zero_ends")  # fmt: skip

    def __init__(self) -> None:
        self.full: list[int] = []
        self.full_ends: list[int] = []
        self.zero: list[int] = []
        self.zero_ends: list[int] = []
        self._odd_series, self._odd_values, self._odd_times = array("q"), array("d"), array("q")

    def add(self, series: int, value: float, at_ms: int) -> None:
        self._odd_series.append(series)
        self._odd_values.append(value)
        self._odd_times.append(at_ms)

    def close(self, body: bytes, mistaken: Callable[[int], None]) -> Samples:
        """All of them. mistaken: called with the end of what has to be read the long way, which
        may add() to this.
        """
        octets = np.frombuffer(body, np.uint8)
        parts = [_full(octets, self.full, self.full_ends, mistaken)]
        parts.append(_zero(octets, self.zero, self.zero_ends, mistaken))
        odd = self._odd_series, self._odd_values, self._odd_times
        parts.append(
            Samples(np.array(odd[0], np.int64), np.array(odd[1], float), np.array(odd[2], np.int64))
        )
        return Samples(
            np.concatenate([part.series for part in parts]),
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.times_ms for part in parts]),
        )


def _rows(octets: NDArray[np.uint8], ends: list[int], width: int) -> NDArray[np.uint8]:
    """The width bytes before each end, one row each."""
    if not ends:
        return np.empty((0, width), np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(octets, width)
    rows: NDArray[np.uint8] = windows[np.array(ends) - width]
    return rows


def _full(
    octets: NDArray[np.uint8], series: list[int], ends: list[int], mistaken: Callable[[int], None]
) -> Samples:
    rows = _rows(octets, ends, FULL)
    good = (
        (rows[:, 0] == 0x12) & (rows[:, 1] == FULL - 2) & (rows[:, 2] == 0x09)
        & (rows[:, 11] == 0x10) & _six_bytes(rows[:, 12:])
    )  # fmt: skip
    values = np.ascontiguousarray(rows[:, 3:11]).view("<f8")[:, 0]
    found = Samples(np.array(series, np.int64), values, _times(rows[:, 12:]))
    return _checked(found, good, ends, mistaken)


def _zero(
    octets: NDArray[np.uint8], series: list[int], ends: list[int], mistaken: Callable[[int], None]
) -> Samples:
    rows = _rows(octets, ends, ZERO)
    good = (
        (rows[:, 0] == 0x12) & (rows[:, 1] == ZERO - 2)
        & (rows[:, 2] == 0x10) & _six_bytes(rows[:, 3:])
    )  # fmt: skip
    found = Samples(np.array(series, np.int64), np.zeros(len(rows)), _times(rows[:, 3:]))
    return _checked(found, good, ends, mistaken)


def _six_bytes(rows: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether each row is one number of exactly six bytes."""
    found: NDArray[np.bool_] = (rows[:, :5] >= 0x80).all(axis=1) & (rows[:, 5] < 0x80)
    return found


def _times(rows: NDArray[np.uint8]) -> Ints:
    times: Ints = ((rows & 0x7F).astype(np.int64) << _SHIFTS).sum(axis=1)
    return times


def _checked(
    found: Samples, good: NDArray[np.bool_], ends: list[int], mistaken: Callable[[int], None]
) -> Samples:
    if good.all():
        return found
    for place in np.flatnonzero(~good).tolist():
        mistaken(ends[place])
    return found.only(good)
