"""Collectors whose host has nothing of their kind: they are not asked at every turn.

A usual host lacks a dozen of the subsystems that there are collectors for, and to find out that a
file is still not there costs as much as to read one that is. Besides, what is missing now hardly
ever comes from one scrape to the next.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

# Turns that are left out, but never for longer than this many seconds: a module that is loaded is
# seen within a minute of scrapes every 15 seconds, and at once where they are a minute apart.
_TURNS, _SECONDS = 3, 59.0


@dataclass(slots=True)
class _Rest:
    turns: int
    until: float


class Absent:
    """Which collectors found nothing, and how long they rest. Times are of any one clock."""

    def __init__(self) -> None:
        self._rests: dict[str, _Rest] = {}

    def resting(self, names: Collection[str], now: float) -> set[str]:
        """Those of names that are not to be asked this time; they have one turn less to rest."""
        found = set[str]()
        for name in [name for name in self._rests if name in names]:
            rest = self._rests[name]
            if rest.turns > 0 and now < rest.until:
                rest.turns -= 1
                found.add(name)
            else:
                del self._rests[name]
        return found

    def found_nothing(self, names: Iterable[str], now: float) -> None:
        for name in names:
            self._rests[name] = _Rest(_TURNS, now + _SECONDS)
