"""The query engine over any SeriesReader: limits, then evaluation, then Prometheus' shapes."""

import time
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

from fleetpulse.errors import QueryError
from fleetpulse.model import Labels, Series
from fleetpulse.promql.asker import Asker, present
from fleetpulse.promql.context import MAX_TEXTS, Annotations, Budget, EvalContext
from fleetpulse.promql.evaluator import Evaluator
from fleetpulse.promql.frames import Frame, ScalarFrame, StringFrame, Value
from fleetpulse.promql.prefetch import Prefetched, pool_for, selections
from fleetpulse.promql.result import Matrix, Result, Scalar, String, Vector
from fleetpulse.promql.selectors import Selectors
from fleetpulse.promql.stats import QueryStats, Seen
from fleetpulse.promql.subquery import as_series, inner_context, merge_rows
from fleetpulse.promql.syntax import Expr, MatrixSelector, Subquery, parse, unwrap, value_type
from fleetpulse.promql.turns import Turns
from fleetpulse.storage.base import Hints, SeriesReader, Tier

# What a window may reach back or ahead still fits into 64 bits.
_MAX_TIME_MS = 9_000_000_000_000_000_000

MAX_ANNOTATIONS = 10  # of each kind; how many more there were is said

Data = Scalar | String | Vector | Matrix


class Engine:
    """promql.result.QueryEngine. Safe from any thread; at most max_concurrency work at a time.

    lookback_ms: how old a sample an instant selector still takes, where the query does not say.
    timeout: seconds a query may take, waiting for its turn included. max_samples: that one query
    may hold at a time, a series counting as frames.ROW more. max_series: of one selector, 0 for no
    limit. max_points: steps of a range query.
    experimental: allows functions that Prometheus has behind promql-experimental-functions.
    delayed_name_removal: drops metric names at the end only, as promql-delayed-name-removal.
    tier: what a store may answer from, where it keeps more than samples (storage.base.Hints);
    a query may bring its own. now: a monotonic clock in seconds.
    """

    def __init__(
        self,
        reader: SeriesReader,
        *,
        lookback_ms: int = 300_000,
        timeout: float = 120.0,
        max_samples: int = 50_000_000,
        max_series: int = 0,
        max_points: int = 11_000,
        max_concurrency: int = 20,
        experimental: bool = False,
        delayed_name_removal: bool = False,
        tier: Tier = "auto",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._ahead = pool_for(reader)
        self._lookback_ms = lookback_ms
        self._timeout = timeout
        self._max_samples = max_samples
        self._max_series = max_series
        self._max_points = max_points
        self._experimental = experimental
        self._delayed_names = delayed_name_removal
        self._turns = Turns(max_concurrency)
        self._tier = tier
        self._now = now

    def instant(
        self,
        expr: str,
        at_ms: int,
        *,
        timeout: float | None = None,
        tier: Tier | None = None,
        lookback_ms: int | None = None,
    ) -> Result:
        tree = parse(expr, experimental=self._experimental)
        asker = present()
        ctx = self._context(expr, (at_ms, at_ms, 0), timeout, lookback_ms, asker)
        if value_type(tree) == "matrix":
            selectors = self._selectors(self._reader, tier)
            # Nothing is left to be shaped: what a selector gives is the answer.
            raw = _Run(ctx, asker, lambda: _raw_series(selectors, tree, ctx), Matrix)
            return raw.through(self._turns)
        run = _Run(
            ctx,
            asker,
            lambda: self._evaluate(tree, ctx, tier),
            lambda value: _instant_data(value, at_ms),
        )
        return run.through(self._turns)

    def range(
        self,
        expr: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        timeout: float | None = None,
        tier: Tier | None = None,
        lookback_ms: int | None = None,
    ) -> Result:
        self._check_range(start_ms, end_ms, step_ms)
        tree = parse(expr, experimental=self._experimental)
        if value_type(tree) not in ("scalar", "vector"):
            kind = "range vector" if value_type(tree) == "matrix" else "string"
            raise QueryError(
                "bad_data",
                f'invalid expression type "{kind}" for range query, must be Scalar or instant'
                " Vector",
            )
        asker = present()
        ctx = self._context(expr, (start_ms, end_ms, step_ms), timeout, lookback_ms, asker)
        run = _Run(
            ctx,
            asker,
            lambda: self._evaluate(tree, ctx, tier),
            lambda value: Matrix(_range_series(value, ctx)),
        )
        return run.through(self._turns)

    def _check_range(self, start_ms: int, end_ms: int, step_ms: int) -> None:
        if step_ms <= 0:
            raise QueryError(
                "bad_data",
                "zero or negative query resolution step widths are not accepted."
                " Try a positive integer",
            )
        if end_ms < start_ms:
            raise QueryError("bad_data", "end timestamp must not be before start time")
        if (end_ms - start_ms) // step_ms > self._max_points:
            raise QueryError(
                "bad_data",
                f"exceeded maximum resolution of {self._max_points:,} points per timeseries."
                " Try decreasing the query resolution (?step=XX)",
            )

    def _context(
        self,
        query: str,
        times: tuple[int, int, int],
        timeout: float | None,
        lookback_ms: int | None,
        asker: Asker,
    ) -> EvalContext:
        start_ms, end_ms, step_ms = times
        if max(abs(start_ms), abs(end_ms)) > _MAX_TIME_MS:
            raise QueryError("bad_data", "timestamp out of bounds")
        seconds = self._timeout if timeout is None else min(timeout, self._timeout)
        count = (end_ms - start_ms) // step_ms + 1 if step_ms else 1
        return EvalContext(
            steps_ms=start_ms + step_ms * np.arange(count, dtype=np.int64),
            step_ms=step_ms,
            lookback_ms=lookback_ms if lookback_ms else self._lookback_ms,
            start_ms=start_ms,
            end_ms=end_ms,
            is_range=step_ms > 0,
            budget=Budget(self._now() + seconds, self._max_samples, self._now, asker.gone, seconds),
            annotations=Annotations(),
            query_step_ms=step_ms,
            query=query,
            delayed_names=self._delayed_names,
            seen=Seen.over(count, each=asker.per_step),
        )

    def _evaluate(self, tree: Expr, ctx: EvalContext, tier: Tier | None) -> Value:
        def over(reader: SeriesReader, ctx: EvalContext) -> Value:
            return Evaluator(self._selectors(reader, tier)).evaluate(tree, ctx)

        wanted = selections(ctx, over) if getattr(self._reader, "concurrent", 1) > 1 else []
        if len(wanted) < 2:
            return over(self._reader, ctx)
        budget = ctx.budget
        limits = Hints(
            max_samples=budget.left(),
            max_series=self._max_series,
            check=budget.check_deadline,
            seconds=budget.seconds_left(),
        )
        with Prefetched(self._reader, wanted, limits, self._ahead) as reader:
            return over(reader, ctx)

    def _selectors(self, reader: SeriesReader, tier: Tier | None) -> Selectors:
        return Selectors(reader, self._max_series, tier or self._tier)


Found = TypeVar("Found")


class _Run(Generic[Found]):
    """One query on its way: it waits for its turn, is worked out, and its result shaped.

    What it took is told to the asker however it ends.
    """

    def __init__(
        self,
        ctx: EvalContext,
        asker: Asker,
        work: Callable[[], Found],
        shape: Callable[[Found], Data],
    ) -> None:
        self._ctx, self._asker, self._work, self._shape = ctx, asker, work, shape
        self._marks = [ctx.budget.clock()]  # when it came, began, was worked out, and ended

    def through(self, turns: Turns) -> Result:
        budget, notes = self._ctx.budget, self._ctx.annotations
        try:
            budget.place = "query queue"
            with turns.turn(budget.check_deadline):
                budget.place = "expression evaluation"
                self._mark()
                self._asker.began()
                data = self._answer()
        except RecursionError:
            raise QueryError("execution", "the query is nested too deeply") from None
        finally:
            self._mark()
            self._asker.stats = stats = self._stats()
        warnings, infos = _bounded(notes.warnings, "warning"), _bounded(notes.infos, "info")
        return Result(data, warnings, infos, stats)

    def _answer(self) -> Data:
        # NaN, Inf and division by zero are values here, as in Prometheus.
        with np.errstate(all="ignore"):
            found = self._work()
            self._mark()
            return self._shape(found)

    def _mark(self) -> None:
        self._marks.append(self._ctx.budget.clock())

    def _stats(self) -> QueryStats:
        budget, seen = self._ctx.budget, self._ctx.seen
        came, *rest = self._marks
        # Where it failed, the later ones are missing: what follows then took no time.
        began, worked, ended = (*rest, *[rest[-1]] * 2)[:3]
        each = (
            ()
            if seen.at is None
            else zip(self._ctx.steps_ms.tolist(), seen.at.tolist(), strict=True)
        )
        return QueryStats(
            queued=began - came,
            store=budget.store_seconds,
            evaluated=max(0.0, worked - began - budget.store_seconds),
            shaped=ended - worked,
            samples=seen.total,
            peak=budget.peak,
            series=budget.series,
            per_step=tuple(each),
        )


def _raw_series(selectors: Selectors, tree: Expr, ctx: EvalContext) -> list[Series]:
    node = unwrap(tree)
    if isinstance(node, MatrixSelector):
        return sorted(selectors.raw(node, ctx), key=lambda series: series.labels)
    assert isinstance(node, Subquery)
    inner = inner_context(node, ctx)
    frame = Evaluator(selectors).frame(node.expr, inner) if inner.steps else Frame.empty(0)
    ctx.seen.add_at_end(inner.seen)
    return _sorted_series(frame, inner)


def _instant_data(value: Value, at_ms: int) -> Scalar | String | Vector:
    match value:
        case ScalarFrame():
            return Scalar(at_ms, float(value.values[0]))
        case StringFrame():
            return String(at_ms, value.text)
        case Frame():
            shown = merge_rows(value.compact().without_names())
            return Vector(at_ms, shown.labels, shown.values[:, 0])


def _range_series(value: Value, ctx: EvalContext) -> list[Series]:
    if isinstance(value, ScalarFrame):
        return [Series(Labels(), ctx.steps_ms, np.array(value.values))]
    assert isinstance(value, Frame)
    return _sorted_series(value, ctx)


def _sorted_series(frame: Frame, ctx: EvalContext) -> list[Series]:
    shown = merge_rows(frame.compact().without_names())
    return sorted(as_series(shown, ctx), key=lambda series: series.labels)


def _bounded(texts: dict[str, None], kind: str) -> tuple[str, ...]:
    found = tuple(texts)
    if len(found) <= MAX_ANNOTATIONS:
        return found
    least = "at least " * (len(found) >= MAX_TEXTS)
    omitted = f"{least}{len(found) - MAX_ANNOTATIONS} more {kind} annotations omitted"
    return (*found[:MAX_ANNOTATIONS], omitted)
