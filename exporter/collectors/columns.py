"""Which of many figures are told: found once by their names, which hardly ever change."""

from collections.abc import Callable, Iterator, Sequence

from exporter.families import Family, Found


class Columns:
    """Gives the figures of a row under the families of those names that are told."""

    def __init__(self, family_of: Callable[[str], Family | None]) -> None:
        self._family_of = family_of
        self._names: Sequence[bytes] = ()
        self._told: list[tuple[int, Family]] = []

    def told(self, names: Sequence[bytes], figures: Sequence[bytes]) -> Iterator[Found]:
        """ValueError where there are more or fewer figures than names, or one is no number."""
        if len(names) != len(figures):
            raise ValueError(f"{len(figures)} figures for {len(names)} names")
        if names != self._names:
            families = [self._family_of(name.decode()) for name in names]
            self._told = [(place, one) for place, one in enumerate(families) if one is not None]
            self._names = names
        for place, family in self._told:
            yield family, int(figures[place])
