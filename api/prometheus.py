"""/api/v1/query and query_range, in the shapes of Prometheus' HTTP API."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypedDict

from flask import Blueprint, Request, Response, request

from api import params
from api.answers import answer
from api.config import QueryConfig
from api.queryrecord import stats_document
from api.respond import bad_data
from fleetpulse.errors import QueryError
from fleetpulse.promql.asker import Asker, asked_by
from fleetpulse.promql.result import Matrix, QueryEngine, Result, Vector
from fleetpulse.storage.base import TIERS, Tier

_MAX_STEPS = 11_000  # Prometheus' own bound: 60 s over a week, one hour over a year
_TRUNCATED = "results truncated due to limit"


def blueprint(
    engine: QueryEngine, config: QueryConfig, now: Callable[[], float] = time.time
) -> Blueprint:
    bp = Blueprint("prometheus", __name__)

    @bp.route("/query", methods=["GET", "POST"])
    def instant() -> Response:
        limit = params.limit(request)
        at_ms = params.time_ms(request, "time", default=round(now() * 1000))
        options, expr = _options(request, config), _expr(request)
        with _asking(request):
            result = engine.instant(expr, at_ms, **options)
        return _answer(result, limit, request)

    @bp.route("/query_range", methods=["GET", "POST"])
    def over_time() -> Response:
        limit = params.limit(request)
        start_ms, end_ms, step_ms = _range(request)
        options, expr = _options(request, config), _expr(request)
        with _asking(request):
            result = engine.range(expr, start_ms, end_ms, step_ms, **options)
        return _answer(result, limit, request)

    return bp


def _expr(req: Request) -> str:
    expr = params.value(req, "query")
    if not expr.strip():
        raise params.invalid("query", "missing; write a PromQL expression")
    return expr


class _Options(TypedDict):
    timeout: float
    tier: Tier | None
    lookback_ms: int | None


def _options(req: Request, config: QueryConfig) -> _Options:
    return {
        "timeout": _timeout(req, config),
        "tier": _tier(req),
        "lookback_ms": _lookback_ms(req),
    }


def _timeout(req: Request, config: QueryConfig) -> float:
    timeout = params.duration(req, "timeout", default=config.timeout)
    if timeout <= 0:
        raise params.invalid("timeout", "write a time above zero")
    return min(timeout, config.timeout)


def _lookback_ms(req: Request) -> int | None:
    """How old a sample may be for this query; as in Prometheus, 0 and less is as configured."""
    text = params.value(req, "lookback_delta")
    if not text:
        return None
    try:
        seconds = params.parse_seconds(text)
    except ValueError as err:
        raise bad_data(f"error parsing lookback delta duration: {err}") from None
    return max(1, round(seconds * 1000)) if seconds > 0 else None


@contextmanager
def _asking(req: Request) -> Iterator[None]:
    """Samples are counted at each step where the answer is to tell them.

    What is wrong with an expression is refused under the parameter's name, as in Prometheus.
    """
    try:
        with asked_by(Asker(per_step=params.value(req, "stats") == "all")):
            yield
    except QueryError as err:
        if err.error_type == "bad_data":
            raise params.invalid("query", str(err)) from err
        raise


def _tier(req: Request) -> Tier | None:
    """Whether windows of five minutes may stand in for samples; Prometheus has no such thing."""
    wanted = params.value(req, "tier")
    for tier in TIERS:
        if wanted == tier:
            return tier
    if wanted:
        raise params.invalid("tier", "no such tier; write auto, raw or 5m")
    return None


def _range(req: Request) -> tuple[int, int, int]:
    start_ms, end_ms = params.time_ms(req, "start"), params.time_ms(req, "end")
    if end_ms < start_ms:
        raise params.invalid("end", "end timestamp must not be before start time")
    step_ms = round(params.duration(req, "step") * 1000)
    check_step(start_ms, end_ms, step_ms)
    return start_ms, end_ms, step_ms


def check_step(start_ms: int, end_ms: int, step_ms: int) -> None:
    """Refusal where the step is none or gives too many points."""
    if step_ms <= 0:
        raise params.invalid(
            "step",
            "zero or negative query resolution step widths are not accepted; write at least 1ms",
        )
    if (end_ms - start_ms) // step_ms > _MAX_STEPS:
        raise bad_data(
            f"exceeded maximum resolution of {_MAX_STEPS:,} points per timeseries; "
            f"ask with a step of at least {-(-(end_ms - start_ms) // _MAX_STEPS) / 1000:g}s"
        )


def _answer(result: Result, limit: int, req: Request) -> Response:
    """With the query's stats where they are asked for, by any word, and the engine knows them."""
    stats = None
    if result.stats is not None and params.value(req, "stats"):
        stats = stats_document(result.stats)
    return answer(_limited(result, limit), stats)


def _limited(result: Result, limit: int) -> Result:
    """At most limit series, with a warning where some are left out; 0 is all."""
    data = result.data
    if limit and isinstance(data, Matrix) and len(data.series) > limit:
        fewer: Matrix | Vector = Matrix(data.series[:limit])
    elif limit and isinstance(data, Vector) and len(data.labels) > limit:
        fewer = Vector(data.at_ms, data.labels[:limit], data.values[:limit])
    else:
        return result
    return replace(result, data=fewer, warnings=(*result.warnings, _TRUNCATED))
