"""The query engine over any SeriesReader: limits, then evaluation, then Prometheus' shapes."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from fleetpulse.errors import QueryError
from fleetpulse.model import Labels, Series
from fleetpulse.promql.context import TIMED_OUT, Annotations, Budget, EvalContext
from fleetpulse.promql.evaluator import Evaluator
from fleetpulse.promql.frames import Frame, ScalarFrame, StringFrame, Value
from fleetpulse.promql.result import Matrix, Result, Scalar, String, Vector
from fleetpulse.promql.selectors import Selectors
from fleetpulse.promql.subquery import as_series, inner_context, merge_rows
from fleetpulse.promql.syntax import Expr, MatrixSelector, Subquery, parse, unwrap, value_type
from fleetpulse.storage.base import SeriesReader, Tier

# What a window may reach back or ahead still fits into 64 bits.
_MAX_TIME_MS = 9_000_000_000_000_000_000

MAX_ANNOTATIONS = 10  # of each kind; how many more there were is said


class Engine:
    """promql.result.QueryEngine. Safe from any thread; at most max_concurrency work at a time.

    lookback_ms: how old a sample an instant selector still takes. timeout: seconds a query may
    take, waiting for its turn included. max_samples: fetched and computed by one query.
    max_series: of one selector, 0 for no limit. max_points: steps of a range query.
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
        self._lookback_ms = lookback_ms
        self._timeout = timeout
        self._max_samples = max_samples
        self._max_series = max_series
        self._max_points = max_points
        self._experimental = experimental
        self._delayed_names = delayed_name_removal
        self._turns = threading.BoundedSemaphore(max_concurrency)
        self._tier = tier
        self._now = now

    def instant(
        self, expr: str, at_ms: int, *, timeout: float | None = None, tier: Tier | None = None
    ) -> Result:
        tree = parse(expr, experimental=self._experimental)
        ctx = self._context(expr, (at_ms, at_ms, 0), timeout)
        with self._turn(ctx):
            evaluator, selectors = self._evaluator(tier)
            if value_type(tree) == "matrix":
                data = Matrix(_raw_series(evaluator, selectors, tree, ctx))
                return _result(data, ctx)
            value = evaluator.evaluate(tree, ctx)
            return _result(_instant_data(value, at_ms), ctx)

    def range(
        self,
        expr: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        timeout: float | None = None,
        tier: Tier | None = None,
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
        ctx = self._context(expr, (start_ms, end_ms, step_ms), timeout)
        with self._turn(ctx):
            evaluator, _ = self._evaluator(tier)
            value = evaluator.evaluate(tree, ctx)
            return _result(Matrix(_range_series(value, ctx)), ctx)

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
        self, query: str, times: tuple[int, int, int], timeout: float | None
    ) -> EvalContext:
        start_ms, end_ms, step_ms = times
        if max(abs(start_ms), abs(end_ms)) > _MAX_TIME_MS:
            raise QueryError("bad_data", "timestamp out of bounds")
        seconds = self._timeout if timeout is None else min(timeout, self._timeout)
        count = (end_ms - start_ms) // step_ms + 1 if step_ms else 1
        return EvalContext(
            steps_ms=start_ms + step_ms * np.arange(count, dtype=np.int64),
            step_ms=step_ms,
            lookback_ms=self._lookback_ms,
            start_ms=start_ms,
            end_ms=end_ms,
            is_range=step_ms > 0,
            budget=Budget(self._now() + seconds, self._max_samples, self._now),
            annotations=Annotations(),
            query_step_ms=step_ms,
            query=query,
            delayed_names=self._delayed_names,
        )

    def _evaluator(self, tier: Tier | None) -> tuple[Evaluator, Selectors]:
        selectors = Selectors(self._reader, self._max_series, tier or self._tier)
        return Evaluator(selectors), selectors

    @contextmanager
    def _turn(self, ctx: EvalContext) -> Iterator[None]:
        """One of the engine's places, waited for until the query's own deadline."""
        left = ctx.budget.deadline - self._now()
        if left <= 0:
            raise QueryError("timeout", TIMED_OUT)
        if not self._turns.acquire(timeout=left):
            raise QueryError("timeout", "query timed out in query queue")
        try:
            # NaN, Inf and division by zero are values here, as in Prometheus.
            with np.errstate(all="ignore"):
                yield
        except RecursionError:
            raise QueryError("execution", "the query is nested too deeply") from None
        finally:
            self._turns.release()


def _raw_series(
    evaluator: Evaluator, selectors: Selectors, tree: Expr, ctx: EvalContext
) -> list[Series]:
    node = unwrap(tree)
    if isinstance(node, MatrixSelector):
        return sorted(selectors.raw(node, ctx), key=lambda series: series.labels)
    assert isinstance(node, Subquery)
    inner = inner_context(node, ctx)
    frame = evaluator.frame(node.expr, inner) if inner.steps else Frame.empty(0)
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


def _result(data: Scalar | String | Vector | Matrix, ctx: EvalContext) -> Result:
    notes = ctx.annotations
    return Result(data, _bounded(notes.warnings, "warning"), _bounded(notes.infos, "info"))


def _bounded(texts: dict[str, None], kind: str) -> tuple[str, ...]:
    found = tuple(texts)
    if len(found) <= MAX_ANNOTATIONS:
        return found
    omitted = f"{len(found) - MAX_ANNOTATIONS} more {kind} annotations omitted"
    return (*found[:MAX_ANNOTATIONS], omitted)
