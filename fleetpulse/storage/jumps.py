"""Tells time that passed from a clock that was set."""

from collections.abc import Callable

# Seconds. NTP may slew a clock by less between two looks; that is time like any other.
_LEAST = 60.0


class JumpClock:
    """now: Unix time, which may be set; steady: a clock that only goes on, as time.monotonic."""

    def __init__(self, now: Callable[[], float], steady: Callable[[], float]) -> None:
        self._now, self._steady = now, steady
        self._difference: float | None = None

    def look(self) -> tuple[float, float]:
        """Unix time, and how many seconds the clock was set forward since the last look.

        A host asleep, whose steady clock stands still, looks as if its clock were set forward.
        """
        now = self._now()
        before, self._difference = self._difference, now - self._steady()
        jump = 0.0 if before is None else self._difference - before
        return now, jump if abs(jump) >= _LEAST else 0.0
