"""Between an import and a store that gets its samples by and by: no faster than it takes them."""

import time
from collections.abc import Callable, Sequence

from fleetpulse.model import Page
from fleetpulse.storage.base import SampleWriter

_MOST_WAITING = 64 << 20  # bytes; far below any spool's limit, beyond which samples are dropped


class PacedWriter:
    """Writes pages when what waits to be sent has become little. oldest_ms: what is older counts.

    backlog: bytes that wait; 0 for a store that has what write() was given.
    """

    def __init__(
        self,
        writer: SampleWriter,
        backlog: Callable[[], int],
        oldest_ms: int = -(1 << 62),
        *,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._writer, self._backlog, self._oldest_ms = writer, backlog, oldest_ms
        self._pause = pause
        self.too_old = 0  # samples

    def write(self, pages: Sequence[Page]) -> None:
        self._until(_MOST_WAITING)
        self._writer.write(pages)
        self.too_old += sum(len(page.values) for page in pages if page.at_ms < self._oldest_ms)

    def finish(self) -> None:
        """Back once nothing waits any more."""
        self._until(0)

    def _until(self, most: int) -> None:
        while self._backlog() > most:
            self._pause(0.1)
