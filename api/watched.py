"""The engine as the API's endpoints have it: each query ends with its client, and is told of."""

import time
from collections.abc import Callable, Sequence

from flask import has_request_context, request

from api.auth import caller
from api.clients import gone_check
from api.querymetrics import QueryMetrics
from api.queryrecord import Client, QueryRecord
from fleetpulse.promql.asker import Asker, asked_by, present
from fleetpulse.promql.result import Matrix, QueryEngine, Result, Vector
from fleetpulse.storage.base import Tier

Witness = Callable[[QueryRecord], None]
Times = tuple[int, int, int]  # start, end and step in ms


class WatchedEngine:
    """promql.result.QueryEngine around another. witnesses are told of each query when it ends.

    clock: a monotonic one in seconds.
    """

    def __init__(
        self,
        engine: QueryEngine,
        metrics: QueryMetrics,
        witnesses: Sequence[Witness],
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._engine, self._metrics = engine, metrics
        self._witnesses = (metrics.note, *witnesses)
        self._now, self._clock = now, clock

    def instant(
        self,
        expr: str,
        at_ms: int,
        *,
        timeout: float | None = None,
        tier: Tier | None = None,
        lookback_ms: int | None = None,
    ) -> Result:
        def ask() -> Result:
            return self._engine.instant(
                expr, at_ms, timeout=timeout, tier=tier, lookback_ms=lookback_ms
            )

        return self._watch(expr, (at_ms, at_ms, 0), ask)

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
        def ask() -> Result:
            times = start_ms, end_ms, step_ms
            return self._engine.range(
                expr, *times, timeout=timeout, tier=tier, lookback_ms=lookback_ms
            )

        return self._watch(expr, (start_ms, end_ms, step_ms), ask)

    def _watch(self, expr: str, times: Times, ask: Callable[[], Result]) -> Result:
        asker = Asker(gone_check(), present().per_step)
        began = self._clock()
        result: Result | None = None
        error: Exception | None = None
        try:
            with self._metrics.under_way(asker), asked_by(asker):
                result = ask()
                return result
        except Exception as err:  # told, and raised on: whatever it is, the query has ended
            error = err
            raise
        finally:
            record = QueryRecord(
                expr,
                *times,
                at=self._now(),
                seconds=self._clock() - began,
                stats=asker.stats,
                results=_count(result),
                error=error,
                client=_client(),
            )
            for witness in self._witnesses:
                witness(record)


def _count(result: Result | None) -> int:
    match result.data if result is not None else None:
        case Matrix(series):
            return len(series)
        case Vector(labels=labels):
            return len(labels)
        case None:
            return 0
        case _:
            return 1


def _client() -> Client:
    if not has_request_context():
        return Client()
    key = caller().key
    address = request.remote_addr or ""
    return Client(address, request.method, request.path, key.id if key is not None else "")
