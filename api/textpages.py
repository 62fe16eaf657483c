"""The quick way for pushed pages: a host sends the same page every few seconds, but for its values.

The slow way (api.pushed, api.pages) takes what this one does not: bad lines, lines with times.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from api.config import PushServer
from api.pages import OWN, renamed, target_labels
from fleetpulse.errors import ExpositionError
from fleetpulse.exposition import PageReader, Reading
from fleetpulse.model import Labels, Metadata, Page


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push came to: pages for the store, what they say of metrics, samples of the sender."""

    pages: list[Page]
    metadata: Mapping[str, Metadata]
    accepted: int


class TextPages:
    """Reads pages with the help of each server's last one. Safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards all below, the readers among it
        self._readers: dict[frozenset[str], PageReader] = {}
        self._last: dict[str, Reading] = {}

    def read(
        self, server: PushServer, body: bytes, at_ms: int, received: float, *, openmetrics: bool
    ) -> Pushed | None:
        """The page of a whitelisted server, or None where it needs a closer look.

        received: Unix seconds.
        """
        target = target_labels(server)
        with self._lock:
            reader = self._reader(frozenset(name for name, _ in target))
            last = self._last.get(server.name)
            try:
                reading = reader.read(body, last, openmetrics=openmetrics)
            except ExpositionError:
                return None
            if reading.own_times is not None:
                return None
            self._last[server.name] = reading
        values = reading.values[:]
        values.extend((1.0, received))
        page = Page(target, reading.shape.layout, at_ms, values)
        return Pushed([page], reading.shape.metadata, len(reading.values))

    def _reader(self, taken: frozenset[str]) -> PageReader:
        if taken not in self._readers:

            def keep(line: Labels) -> Labels:
                return renamed(line, taken)

            self._readers[taken] = PageReader(keep, OWN)
        return self._readers[taken]
