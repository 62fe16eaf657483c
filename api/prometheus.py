"""/api/v1/query and query_range, in the shapes of Prometheus' HTTP API."""

import time
from collections.abc import Callable
from dataclasses import replace

from flask import Blueprint, Request, Response, request

from api import params
from api.config import QueryConfig
from api.jsonvalues import data_json
from api.respond import bad_data, success_text
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
        timeout, tier = _timeout(request, config), _tier(request)
        result = engine.instant(_expr(request), at_ms, timeout=timeout, tier=tier)
        return _answer(result, limit)

    @bp.route("/query_range", methods=["GET", "POST"])
    def over_time() -> Response:
        limit = params.limit(request)
        start_ms, end_ms, step_ms = _range(request)
        timeout, tier = _timeout(request, config), _tier(request)
        result = engine.range(_expr(request), start_ms, end_ms, step_ms, timeout=timeout, tier=tier)
        return _answer(result, limit)

    return bp


def _expr(req: Request) -> str:
    expr = params.value(req, "query")
    if not expr.strip():
        raise params.invalid("query", "missing; write a PromQL expression")
    if params.value(req, "lookback_delta"):
        raise params.invalid("lookback_delta", "not supported; set promql.lookback for all queries")
    return expr


def _timeout(req: Request, config: QueryConfig) -> float:
    timeout = params.duration(req, "timeout", default=config.timeout)
    if timeout <= 0:
        raise params.invalid("timeout", "write a time above zero")
    return min(timeout, config.timeout)


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


def _answer(result: Result, limit: int) -> Response:
    result = _limited(result, limit)
    return success_text(data_json(result.data), result.warnings, result.infos)


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
