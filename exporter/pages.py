"""A host's page: what its collectors found, then what the exporter tells of itself."""

import threading
from collections.abc import Callable, Collection, Iterable
from typing import TypeVar

from exporter.block import Block
from exporter.families import Found
from exporter.page import Part, Shape, Style, render
from exporter.registry import ClosedError, Registry

T = TypeVar("T")


class Pages:
    """make() may be called by any thread. own: families of the exporter itself, anew each time."""

    def __init__(self, registry: Registry, own: Callable[[], Iterable[Found]]) -> None:
        self.registry = registry
        self._own, self._block = own, Block()
        self._shape: Shape | None = None
        self._lock = threading.Lock()  # guards the block and the shape

    def make(self, style: Style, names: Collection[str] | None = None) -> bytes:
        """A page of the collectors named, of all by default.

        A name that there is not is left out; ClosedError when a reload has put other collectors
        in the place of these.
        """
        own = self._own_part()
        return render([*self.registry.gather(names), own], style)

    def _own_part(self) -> Part:
        with self._lock:
            part, _ = self._block.take(self._own())
            if part.shape is not self._shape:
                # Files and scripts of others may not tell what the exporter itself does.
                self.registry.reserve(part.shape.families())
                self._shape = part.shape
            return part


def with_current(pages: Callable[[], Pages], use: Callable[[Pages], T]) -> T:
    """use(pages()); once more, with the new ones, where a reload came in between."""
    while True:
        current = pages()
        try:
            return use(current)
        except ClosedError:
            if pages() is current:  # the exporter ends
                raise
