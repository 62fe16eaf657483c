"""Which of many figures are told: found once by their names, which hardly ever change."""

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any

from exporter.families import Family, Found

FamilyOf = Callable[[str], Family | None]


class Columns:
    """Gives the figures of a row under the families of those names that are told.

    family_of: a name's family, or None where it is not told.
    """

    def __init__(self, names: Sequence[bytes], family_of: FamilyOf) -> None:
        families = [family_of(name.decode()) for name in names]
        places = [place for place, family in enumerate(families) if family is not None]
        self._families = [family for family in families if family is not None]
        self._pick: Any = itemgetter(*places) if len(places) > 1 else _few(places)
        self._count = len(names)

    def told(self, figures: Sequence[bytes]) -> Iterable[Found]:
        """ValueError where there are more or fewer figures than names, or one is no number."""
        if len(figures) != self._count:
            raise ValueError(f"{len(figures)} figures for {self._count} names")
        return zip(self._families, map(int, self._pick(figures)), strict=True)


class Pairs:
    """A file of names and figures in turns, as /proc/vmstat is."""

    def __init__(self, family_of: FamilyOf) -> None:
        self._family_of = family_of
        self._names: list[bytes] = []
        self._columns = Columns((), family_of)

    def told(self, raw: bytes) -> Iterable[Found]:
        """ValueError where a name has no figure."""
        words = raw.split()
        names = words[::2]
        if names != self._names:
            self._columns, self._names = Columns(names, self._family_of), names
        return self._columns.told(words[1::2])


def _few(places: Sequence[int]) -> Callable[[Sequence[bytes]], tuple[bytes, ...]]:
    return lambda figures: tuple(figures[place] for place in places)
