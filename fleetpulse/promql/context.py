"""What every step of an evaluation knows: the times, the deadline, and where warnings go."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fleetpulse.errors import QueryError
from fleetpulse.promql.frames import ROW
from fleetpulse.promql.stats import Seen
from fleetpulse.promql.tokens import position

_LOOK = 0.05  # seconds between two looks at whether whoever asked has gone

# So many different texts of a kind are remembered: each series may bring one.
MAX_TEXTS = 1000


def too_many_samples(limit: int) -> QueryError:
    return QueryError(
        "execution",
        "query processing would load too many samples into memory in query execution: more than "
        f"{limit:,}; ask for fewer series, a shorter range or a longer step, or raise max_samples",
    )


@dataclass(slots=True)
class Annotations:
    """Warnings and infos of one query, each text once, in the order of their coming."""

    warnings: dict[str, None] = field(default_factory=dict)
    infos: dict[str, None] = field(default_factory=dict)

    def add(self, kind: dict[str, None], text: str) -> None:
        if len(kind) < MAX_TEXTS:
            kind[text] = None


@dataclass(slots=True)
class Budget:
    """What a query may still use. Times are of the monotonic clock, in seconds.

    held: samples of the frames that exist just now; kept: those of the selections, which stay to
    the end. max_samples bounds both together, and so the memory: each row counts as ROW samples
    on top. place: where the query is, for its errors. timeout: the seconds it had, for the same.
    gone: whether nobody waits for the answer any more; asked every 50 ms at most.
    """

    deadline: float
    max_samples: int
    clock: Callable[[], float] = time.monotonic
    gone: Callable[[], bool] | None = None
    timeout: float = 0.0
    place: str = "expression evaluation"
    held: int = 0
    kept: int = 0
    peak: int = 0
    series: int = 0
    store_seconds: float = 0.0
    next_look: float = 0.0

    def check_deadline(self) -> None:
        """QueryError("timeout") once the time is over, "canceled" once nobody waits.

        Cheap enough for every row.
        """
        now = self.clock()
        if now > self.deadline:
            spent = f" after {self.timeout:g}s" if self.timeout else ""
            mend = "ask for less at a time, or raise the timeout"
            raise QueryError("timeout", f"query timed out in {self.place}{spent}: {mend}")
        if self.gone is not None and now >= self.next_look:
            self.next_look = now + _LOOK
            if self.gone():
                raise QueryError("canceled", f"query was canceled in {self.place}")

    def seconds_left(self) -> float:
        """Until the deadline; above 0, since 0 would mean no limit."""
        return max(0.001, self.deadline - self.clock())

    def left(self) -> int:
        """How many samples may still be taken; at least 1, since 0 would mean no limit."""
        return max(1, self.max_samples - self.held - self.kept)

    def take(self, samples: int) -> None:
        """Counts samples that the query is to hold; QueryError("execution") past the limit."""
        self.held += samples
        self._check()

    def keep(self, samples: int, series: int) -> None:
        """The same for what a selection has loaded, which is held to the end of the query."""
        self.kept += samples + series * ROW
        self.series += series
        self._check()

    def settle(self, before: int, samples: int) -> None:
        """An expression is done: of all that was held since before, its value is left."""
        self.held = before + samples
        self._check()

    def _check(self) -> None:
        here = self.held + self.kept
        if here > self.max_samples:
            raise too_many_samples(self.max_samples)
        self.peak = max(self.peak, here)


@dataclass(frozen=True, slots=True)
class EvalContext:
    """One evaluation: a range query's steps, one time, or the steps of a subquery.

    steps_ms: int64 (steps,), rising by step_ms (0 where there is one step only).
    lookback_ms: how far back an instant selector looks.
    start_ms, end_ms, query_step_ms: what start(), end() and step() mean; of the whole query.
    delayed_names: metric names stay until the end of the query, marked in Frame.drop_name.
    seen: the samples looked at, at these steps.
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
    seen: Seen = field(default_factory=Seen)

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
        seen = Seen.over(len(steps_ms), each=False)
        return replace(self, steps_ms=steps_ms, step_ms=step_ms, seen=seen)

    def _annotate(self, kind: dict[str, None], text: str) -> None:
        if self.pos >= 0:
            text = f"{text} ({position(self.query, self.pos)})"
        self.annotations.add(kind, text)
