"""How much one transaction of the housekeeping may do, so that writers wait for none of them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# What a transaction should take. After it writers have twice as long for themselves: one that found
# the store locked looks again a few times within the first tenth of a second, as SQLite has it.
_SECONDS = 0.025
_REST = 2.0
_REST_MAX = 0.05
_LEAST = 0.01


class Pace:
    """Learns from each transaction how large the next may be. Not for several threads at once."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        rest: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock, self._rest = clock, rest
        self._share = 0.25

    def of(self, most: int) -> int:
        """How many of something one transaction may take, where most is the limit."""
        return max(1, int(most * self._share))

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Around one transaction that does as much as of() says."""
        begin = self._clock()
        yield
        took = max(self._clock() - begin, 1e-6)
        self._share = min(1.0, max(_LEAST, self._share * min(2.0, _SECONDS / took)))
        self._rest(min(_REST * took, _REST_MAX))
