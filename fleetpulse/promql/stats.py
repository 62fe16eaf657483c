"""What a query took: times, samples, series. In the shape that Prometheus' `stats` is made of."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class QueryStats:
    """Times in seconds.

    queued: until its turn came. store: in the store's own reading. evaluated: the rest of the
    evaluation. shaped: sorting and making the result of it.
    samples: those looked at, at each step anew, as Prometheus counts them
    (totalQueryableSamples); per_step: the same at each step's time in ms, where it was asked for.
    peak: the most that the query held at a time, which max_samples bounds. series: those that
    the store gave.
    """

    queued: float = 0.0
    store: float = 0.0
    evaluated: float = 0.0
    shaped: float = 0.0
    samples: int = 0
    peak: int = 0
    series: int = 0
    per_step: tuple[tuple[int, int], ...] = ()

    @property
    def working(self) -> float:
        """Seconds from when its turn came."""
        return self.store + self.evaluated + self.shaped


@dataclass(slots=True)
class Seen:
    """Samples looked at, at so many steps: in all and, where wanted, at each of them.

    at int64 (steps,); None where nobody wants to know.
    """

    total: int = 0
    at: Counts | None = field(default=None)

    @classmethod
    def over(cls, steps: int, *, each: bool) -> "Seen":
        return cls(0, np.zeros(steps, dtype=np.int64) if each else None)

    def add(self, counts: Counts) -> None:
        """counts (steps,): how many were looked at, at each step."""
        self.total += int(counts.sum())
        if self.at is not None:
            self.at += counts

    def copy(self) -> "Seen":
        return Seen(self.total, None if self.at is None else self.at.copy())

    def since(self, before: "Seen") -> "Seen":
        """What was added to a copy."""
        at = None if self.at is None or before.at is None else self.at - before.at
        return Seen(self.total - before.total, at)

    def add_all(self, other: "Seen") -> None:
        """other: of the same steps."""
        self.total += other.total
        if self.at is not None and other.at is not None:
            self.at += other.at

    def add_at_end(self, inner: "Seen") -> None:
        """All that a subquery looked at, where it is the query itself. Around one, a function looks
        at what it gives, and that alone counts.
        """
        self.total += inner.total
        if self.at is not None and len(self.at):
            self.at[-1] += inner.total

    def add_at_each(self, inner: "Seen", steps: int) -> None:
        """What was worked out once for all steps, but counts at each."""
        self.total += inner.total * steps
        if self.at is not None:
            self.at += inner.total
