"""What the log is told of targets: each change, but no flood where thousands change at once."""

import logging
import time
from collections import Counter
from collections.abc import Callable

log = logging.getLogger(__name__)

_WINDOW = 60.0  # seconds
_LINES = 20  # of each topic in a window


class TargetNews:
    """Lines by topic. Past so many of one within a minute they are counted, and told as one.

    Of one thread. settle() is to be called now and then: it tells of those counted in a window
    that is over.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._told: Counter[str] = Counter()
        self._untold: dict[str, Counter[str]] = {}

    def tell(self, level: int, topic: str, kind: str, line: str) -> None:
        """kind says what of the topic it is, where there are too many to tell of each."""
        if self._told[topic] < _LINES:
            self._told[topic] += 1
            log.log(level, "%s", line)
        else:
            self._untold.setdefault(topic, Counter())[kind] += 1

    def settle(self) -> None:
        if self._clock() - self._since < _WINDOW:
            return
        for topic, kinds in self._untold.items():
            parts = ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common(10))
            log.warning(
                "%s: %s more within a minute (%s); `fleetpulse targets` has each",
                topic, f"{kinds.total():,}", parts,
            )  # fmt: skip
        self._told.clear()
        self._untold.clear()
        self._since = self._clock()
