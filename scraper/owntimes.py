"""Samples that bring timestamps of their own: which of them are taken, as Prometheus would.

A series' samples come in order. One that is older than the newest, has the newest's time but
another value, is far ahead of this clock or from before 1970 is not taken, and counted.
"""

import struct
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from fleetpulse.model import STALE_NAN, Labels

# As in Prometheus: a sample that is further ahead of this clock is not taken. It would be the
# series' last for that long, and no retention would ever reach it.
_MAX_AHEAD_MS = 600_000
_FORGET_ABOVE = 1000  # series remembered beyond twice those of the page

Stamped = tuple[Labels, float, int]  # line, value, timestamp in ms


@dataclass(slots=True)
class Rejected:
    """How many samples of a page were not taken, by reason."""

    out_of_bounds: int = 0
    out_of_order: int = 0
    duplicates: int = 0

    @property
    def total(self) -> int:
        return self.out_of_bounds + self.out_of_order + self.duplicates


@dataclass(slots=True)
class Settled:
    """What a page comes to: times_ms and values of its lines, more samples of the same lines.

    times_ms is None where all were taken when the page was scraped.

    A line whose sample is not taken has its newest one again, which changes nothing in the store.
    If it has none it is left out, in times_ms and values too: absent has the places of these.
    """

    times_ms: "array[int] | None"
    values: "array[float]"
    absent: list[int] = field(default_factory=list)
    more: list[Stamped] = field(default_factory=list)
    rejected: Rejected = field(default_factory=Rejected)

    def without(self, places: frozenset[int], lines: Sequence[Labels]) -> "Settled":
        """The same less the lines at some places, which are absent then."""
        gone = places.union(self.absent)
        taken = [place for place in range(len(lines)) if place not in self.absent]
        keep = [at for at, place in enumerate(taken) if place not in places]
        refused = {lines[place] for place in places}
        return replace(
            self,
            times_ms=None
            if self.times_ms is None
            else array("q", [self.times_ms[i] for i in keep]),
            values=array("d", [self.values[i] for i in keep]),
            absent=sorted(gone),
            more=[sample for sample in self.more if sample[0] not in refused],
        )


class OwnTimes:
    """A target's newest sample of each series that has come with its own timestamp."""

    __slots__ = ("_newest",)

    def __init__(self) -> None:
        self._newest: dict[Labels, tuple[int, float]] = {}

    def settle(
        self,
        at_ms: int,
        lines: Sequence[Labels],
        values: Iterable[float],
        own_times: Sequence[int | None],
        again: Sequence[Stamped],
        floor: Callable[[Labels], int | None],
    ) -> Settled:
        """One page. at_ms: when it was scraped, the time of samples without their own.

        floor: the time of a series' sample in the last page, if it had none of its own there.
        """
        times, kept = array("q"), array("d")
        settled = Settled(times, kept)
        for place, (line, value, own) in enumerate(zip(lines, values, own_times, strict=True)):
            time_ms = at_ms if own is None else own
            newest = self._newest.get(line)
            if newest is None and own is not None and (known := floor(line)) is not None:
                newest = (known, STALE_NAN)
            if own is None and newest is None:
                taken = True  # the usual kind of series, of which nothing is remembered
            else:
                taken = self._take(line, value, time_ms, at_ms, newest, settled.rejected)
            if not taken and line not in self._newest:
                settled.absent.append(place)
                continue
            if not taken:
                time_ms, value = self._newest[line]
            times.append(time_ms)
            kept.append(value)
        for line, value, own in again:
            newest = self._newest.get(line)
            if self._take(line, value, own, at_ms, newest, settled.rejected):
                settled.more.append((line, value, own))
        self._forget(lines)
        return settled

    def _take(
        self,
        line: Labels,
        value: float,
        time_ms: int,
        at_ms: int,
        newest: tuple[int, float] | None,
        rejected: Rejected,
    ) -> bool:
        if not 0 <= time_ms <= at_ms + _MAX_AHEAD_MS:
            rejected.out_of_bounds += 1
            return False
        if newest is not None and time_ms < newest[0]:
            rejected.out_of_order += 1
            return False
        if newest is not None and time_ms == newest[0] and not _same(value, newest[1]):
            rejected.duplicates += 1
            return False
        self._newest[line] = (time_ms, value)
        return True

    def _forget(self, lines: Sequence[Labels]) -> None:
        if len(self._newest) > 2 * len(lines) + _FORGET_ABOVE:
            here = set(lines)
            self._newest = {line: last for line, last in self._newest.items() if line in here}


def _same(one: float, other: float) -> bool:
    """Equal bit for bit, so that a NaN is itself."""
    return one == other or struct.pack("<d", one) == struct.pack("<d", other)
