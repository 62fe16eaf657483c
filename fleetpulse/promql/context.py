"""What every step of an evaluation knows: the times, the deadline, and where warnings go."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fleetpulse.errors import QueryError
from fleetpulse.promql.tokens import position

TIMED_OUT = "query timed out in expression evaluation"


def too_many_samples() -> QueryError:
    return QueryError(
        "execution",
        "query processing would load too many samples into memory in query execution",
    )


@dataclass(slots=True)
class Annotations:
    """Warnings and infos of one query, each text once, in the order of their coming."""

    warnings: dict[str, None] = field(default_factory=dict)
    infos: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class Budget:
    """What a query may still use. Times are of the monotonic clock, in seconds."""

    deadline: float
    max_samples: int
    clock: Callable[[], float] = time.monotonic
    samples: int = 0

    def check_deadline(self) -> None:
        """QueryError("timeout") once the time is over; cheap enough for every row."""
        if self.clock() > self.deadline:
            raise QueryError("timeout", TIMED_OUT)

    def left(self) -> int:
        """How many samples may still be taken; at least 1, since 0 would mean no limit."""
        return max(1, self.max_samples - self.samples)

    def take(self, samples: int) -> None:
        """Counts samples that the query now holds; QueryError("execution") past the limit."""
        self.samples += samples
        if self.samples > self.max_samples:
            raise too_many_samples()


@dataclass(frozen=True, slots=True)
class EvalContext:
    """One evaluation: a range query's steps, one time, or the steps of a subquery.

    steps_ms: int64 (steps,), rising by step_ms (0 where there is one step only).
    lookback_ms: how far back an instant selector looks.
    start_ms, end_ms, query_step_ms: what start(), end() and step() mean; of the whole query.
    delayed_names: metric names stay until the end of the query, marked in Frame.drop_name.
    """

    steps_ms: NDArray[np.int64]
    step_ms: int
    lookback_ms: int
    start_ms: int
    end_ms: int
    is_range: bool
    budget: Budget
    annotations: Annotations
    query_step_ms: int = 0
    query: str = ""
    pos: int = -1
    delayed_names: bool = False

    @property
    def steps(self) -> int:
        return len(self.steps_ms)

    def check_deadline(self) -> None:
        self.budget.check_deadline()

    def warn(self, text: str) -> None:
        """text without `PromQL warning: ` and without a position; both are put to it here."""
        self._annotate(self.annotations.warnings, f"PromQL warning: {text}")

    def info(self, text: str) -> None:
        """text without `PromQL info: ` and without a position; both are put to it here."""
        self._annotate(self.annotations.infos, f"PromQL info: {text}")

    def at_node(self, pos: int) -> Self:
        """The same evaluation; annotations name the node that begins at this character."""
        return self if pos == self.pos else replace(self, pos=pos)

    def at_steps(self, steps_ms: NDArray[np.int64], step_ms: int) -> Self:
        """The same query at other times: for subqueries and what does not depend on the step."""
        return replace(self, steps_ms=steps_ms, step_ms=step_ms)

    def _annotate(self, kind: dict[str, None], text: str) -> None:
        if self.pos >= 0:
            text = f"{text} ({position(self.query, self.pos)})"
        kind[text] = None
