"""What setup finds and what it would do, a step a line. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from fleetpulse.values import format_duration

# +: is made. ~: is changed. =: is as it should be.
Mark = Literal["+", "~", "="]
T = TypeVar("T")

SHORTEST = 3600  # seconds that InfluxDB keeps anything for, where not forever
FOREVER = 0
DAY = 86_400


@dataclass(frozen=True, slots=True)
class Step(Generic[T]):
    """text: for people. do: what the step means to whoever carries it out, one after the other."""

    mark: Mark
    text: str
    do: tuple[T, ...] = ()

    def __str__(self) -> str:
        return f"{self.mark} {self.text}"


def is_settled(steps: Sequence[Step[T]]) -> bool:
    """Whether there is nothing to do."""
    return all(step.mark == "=" for step in steps)


def kept_seconds(wanted: float) -> int:
    """A retention as InfluxDB takes it: whole seconds, an hour or more."""
    return max(SHORTEST, math.ceil(wanted))


def kept(seconds: float) -> str:
    return "forever" if seconds == FOREVER else format_duration(seconds)
