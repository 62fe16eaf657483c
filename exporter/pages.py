"""A host's page: what its collectors found, then what the exporter tells of itself."""

import threading
from collections.abc import Callable, Collection, Iterable

from exporter.block import Block
from exporter.families import Found
from exporter.page import Style, render
from exporter.registry import Registry


class Pages:
    """make() may be called by any thread. own: families of the exporter itself, anew each time."""

    def __init__(self, registry: Registry, own: Callable[[], Iterable[Found]]) -> None:
        self.registry = registry
        self._own, self._block = own, Block()
        self._lock = threading.Lock()  # guards the block

    def make(self, style: Style, names: Collection[str] | None = None) -> bytes:
        """A page of the collectors named, of all by default. KeyError for one there is not."""
        parts = self.registry.gather(names)
        with self._lock:
            own, _ = self._block.take(self._own())
        return render([*parts, own], style)
