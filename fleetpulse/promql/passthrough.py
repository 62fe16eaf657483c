"""A QueryEngine that lets the store answer: each expression goes to its /api/v1/query[_range]."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np

from fleetpulse.errors import QueryError, StorageError
from fleetpulse.promql.answers import ShapeError, lifted, result_of
from fleetpulse.promql.asker import present
from fleetpulse.promql.result import Matrix, Result, Scalar, Vector
from fleetpulse.promql.syntax import parse, value_type
from fleetpulse.storage.base import Tier
from fleetpulse.storage.promapi.client import PromApiClient, envelope
from fleetpulse.storage.promapi.reader import STRICT, seconds

_SOONEST = "1ms"


class PassThrough:
    """promql.result.QueryEngine in front of a store that has PromQL, or nearly, itself.

    What our parser cannot read goes there all the same: the store may know more than PromQL. Where
    the store refuses it too, the error is our parser's, which names the place.
    lookback_ms: what the store is told of how old a sample may be; None leaves it to the store.
    A query's tier means nothing here. Safe from any thread; max_concurrency at a time.
    """

    def __init__(
        self,
        client: PromApiClient,
        name: str,
        *,
        timeout: float = 60.0,
        max_concurrency: int = 20,
        lookback_ms: int | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._name = client, name
        self._timeout, self._lookback_ms, self._now = timeout, lookback_ms, now
        self._turns = threading.BoundedSemaphore(max_concurrency)

    def instant(
        self,
        expr: str,
        at_ms: int,
        *,
        timeout: float | None = None,
        tier: Tier | None = None,  # noqa: ARG002 - the protocol's
        lookback_ms: int | None = None,
    ) -> Result:
        result = self._asked("query", expr, [("time", seconds(at_ms))], timeout, lookback_ms)
        return _instant(result, _type_of(expr), at_ms)

    def range(
        self,
        expr: str,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        *,
        timeout: float | None = None,
        tier: Tier | None = None,  # noqa: ARG002 - the protocol's
        lookback_ms: int | None = None,
    ) -> Result:
        _check_range(start_ms, end_ms, step_ms)
        asked = [
            ("start", seconds(start_ms)),
            ("end", seconds(end_ms)),
            ("step", f"{step_ms / 1000:.3f}"),
        ]
        result = self._asked("query_range", expr, asked, timeout, lookback_ms)
        if not isinstance(result.data, Matrix):
            raise self._misshapen("it is no matrix")
        return result

    def _asked(
        self,
        path: str,
        expr: str,
        asked: list[tuple[str, str]],
        timeout: float | None,
        lookback_ms: int | None,
    ) -> Result:
        left = self._timeout if timeout is None else min(timeout, self._timeout)
        with self._turn(left) as waited:
            left -= waited
            params = [("query", expr), *asked, *STRICT, ("timeout", f"{left:.3f}")]
            # The store would else hold back what came in the last half minute.
            params.append(("latency_offset", _SOONEST))
            params += _lookback(self._lookback_ms if lookback_ms is None else lookback_ms)
            try:
                body, samples = lifted(self._client.body(path, params, left))
                return result_of(envelope(self._client.name(path), body), samples)
            except ShapeError as err:
                raise self._misshapen(str(err)) from None
            except QueryError as err:
                if err.error_type in ("bad_data", "execution"):
                    parse(expr, experimental=True)  # whose error names the place, if there is one
                raise

    def _misshapen(self, what: str) -> StorageError:
        told = f"{self._name}: the answer has another shape than Prometheus' API: {what}"
        return StorageError(f"{told}; check storage.url, or select_url and tenant", retriable=False)

    @contextmanager
    def _turn(self, limit: float) -> Iterator[float]:
        since = self._now()
        if limit <= 0 or not self._turns.acquire(timeout=limit):
            raise QueryError("timeout", "query timed out in query queue")
        try:
            present().began()
            yield self._now() - since
        finally:
            self._turns.release()


def _lookback(lookback_ms: int | None) -> list[tuple[str, str]]:
    """By both names: VictoriaMetrics' and Prometheus'."""
    if lookback_ms is None:
        return []
    return [(name, f"{lookback_ms / 1000:.3f}") for name in ("max_lookback", "lookback_delta")]


def _check_range(start_ms: int, end_ms: int, step_ms: int) -> None:
    if step_ms <= 0:
        raise QueryError(
            "bad_data", "zero or negative query resolution step widths are not accepted"
        )
    if end_ms < start_ms:
        raise QueryError("bad_data", "end timestamp must not be before start time")


def _type_of(expr: str) -> str:
    """What PromQL makes of it; empty where only the store knows."""
    with suppress(QueryError):
        return value_type(parse(expr, experimental=True))
    return ""


def _instant(result: Result, wanted: str, at_ms: int) -> Result:
    """A scalar where PromQL has one: VictoriaMetrics gives a vector of one without labels."""
    data: Any = result.data
    if isinstance(data, Vector):
        data = replace(data, at_ms=at_ms)
        bare = len(data.labels) <= 1 and not any(data.labels)
        if wanted == "scalar" and bare:
            value = float(data.values[0]) if len(data.labels) else float(np.nan)
            data = Scalar(at_ms, value)
    return replace(result, data=data)
