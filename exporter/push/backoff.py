"""How long to wait before a page is sent again."""

import random
from collections.abc import Callable

from exporter.push.answer import Answer

# Seconds. The longest wait doubles from the one to the other.
_SHORTEST, _LONGEST = 1.0, 60.0
_LONGEST_RETRY_AFTER = 3600.0
# Where a person has to act first; a new key in its file ends the wait.
_DENIED, _DENIED_SPREAD = 240.0, 120.0


class Backoff:
    """Waits anywhere between the shortest and a longest that doubles: no fleet returns in step."""

    def __init__(self, rand: Callable[[], float] = random.random) -> None:
        self._rand, self._longest = rand, 2 * _SHORTEST

    def reset(self) -> None:
        self._longest = 2 * _SHORTEST

    def next(self, answer: Answer) -> float:
        """Seconds to wait; never less than the server asked for, within reason."""
        asked = min(answer.retry_after or 0.0, _LONGEST_RETRY_AFTER)
        if answer.denied:
            return max(asked, _DENIED + self._rand() * _DENIED_SPREAD)
        spread = self._rand() * (self._longest - _SHORTEST)
        self._longest = min(self._longest * 2, _LONGEST)
        return max(asked, _SHORTEST) + spread
