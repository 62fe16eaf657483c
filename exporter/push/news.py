"""Says a thing once, not at each turn of a loop."""

import time
from collections.abc import Callable

_AGAIN = 3600.0  # seconds; what lasts is worth a line now and then


class News:
    """Whether a text is worth a line: it is another than last, or an hour has passed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said_at = 0.0
        self.last = ""

    def is_news(self, text: str) -> bool:
        """An empty text is that all is well; it is news where something was wrong before."""
        now = self._clock()
        if text == self.last and (not text or now - self._said_at < _AGAIN):
            return False
        self.last, self._said_at = text, now
        return True
