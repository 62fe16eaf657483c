"""Divides the pages of a target whose lines change at every scrape: what stays, and what moves.

A layout costs the store about four bytes a line on disk, and as much in each process that reads it.
That is nothing where it does for thousands of pages, and more than the page itself where each has
one of its own. So a target whose lines keep changing is stored as two pages a scrape, one of the
lines that stay, whose layout is the same all the time, and a small one of the others.
"""

from array import array
from collections.abc import Sequence

from fleetpulse.model import Layout, Page, is_stale

# A change of lines adds so much unrest, a page without one takes 1 away.
_CHANGE = 5
_RESTLESS = 3 * _CHANGE  # from here on pages are divided, until none is left
_MOST = 12 * _CHANGE
# The steady part is chosen anew when it has become less than this part of the page.
_WORTH_IT = 0.5

Places = Sequence[int]


class Steady:
    """Of one target and one thread. All that it takes comes out again, in one or two pages."""

    __slots__ = ("_base", "_base_places", "_rest", "_rest_places", "_unrest", "_whole")

    def __init__(self) -> None:
        self._whole: Layout | None = None  # of the last page, as it came
        self._unrest = 0
        self._base: Layout | None = None
        self._rest: Layout | None = None
        self._base_places: Places = ()
        self._rest_places: Places = ()

    def divide(self, pages: Sequence[Page]) -> Sequence[Page]:
        """The pages of one scrape: the page itself, then others, as the markers of what is gone."""
        if not pages or pages[0].times_ms is not None:
            return pages
        first, *others = pages
        self._note(first.layout)
        if self._base is None or self._rest is None:
            return pages
        steady = _part(first, self._base, self._base_places)
        if not self._rest_places:
            return [steady, *others]
        moving = _part(first, self._rest, self._rest_places)
        if len(others) == 1 and _is_markers(others[0]):
            # What came and what is gone share a layout, which will not come again anyway.
            return [steady, _joined(moving, others[0])]
        return [steady, moving, *others]

    def _note(self, layout: Layout) -> None:
        before, self._whole = self._whole, layout
        if layout is before:
            self._unrest = max(0, self._unrest - 1)
            if not self._unrest:
                self._base = self._rest = None
            return
        if before is None:
            return
        self._unrest = min(_MOST, self._unrest + _CHANGE)
        if self._unrest >= _RESTLESS or self._base is not None:
            self._choose(before, layout)

    def _choose(self, before: Layout, layout: Layout) -> None:
        here = {line: place for place, line in enumerate(layout.lines)}
        base = self._base
        if base is None or len(base) < _WORTH_IT * len(here) or not here.keys() >= set(base.lines):
            stayed = set(before.lines)
            base = Layout(tuple(line for line in layout.lines if line in stayed))
        self._base = base
        self._base_places = [here.pop(line) for line in base.lines]
        self._rest_places = list(here.values())
        self._rest = Layout(tuple(here))


def _part(page: Page, layout: Layout, places: Places) -> Page:
    values = page.values
    return Page(page.target, layout, page.at_ms, array("d", [values[place] for place in places]))


def _is_markers(page: Page) -> bool:
    return page.times_ms is None and all(map(is_stale, page.values))


def _joined(one: Page, other: Page) -> Page:
    layout = Layout((*one.layout.lines, *other.layout.lines))
    return Page(one.target, layout, one.at_ms, one.values + other.values)
