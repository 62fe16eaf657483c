"""GET /api/v1/metrics: a metric or a named query over time, for people and scripts."""

import difflib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Request, Response, request

from api import params
from api.config import QueryConfig
from api.prometheus import check_step
from api.respond import Refusal, bad_data, success
from api.templates import Templates, fill_server
from fleetpulse.matchers import Matcher
from fleetpulse.model import METRIC_NAME, Series
from fleetpulse.promql.result import Matrix, QueryEngine
from fleetpulse.storage.base import SeriesReader
from fleetpulse.values import format_duration, is_metric_name

_AGGREGATES = ("last", "avg", "min", "max", "sum", "count")
_HOUR_MS = 3_600_000
_POINTS = 250  # about as many as a chart has room for
_MIN_STEP = 10.0
_MAX_POINTS = 1_000_000  # of one answer
_MAX_NAME = 200


@dataclass(frozen=True, slots=True)
class _Asked:
    metric: str
    server: str
    start_ms: int
    end_ms: int
    step: float  # seconds
    aggregate: str


def blueprint(
    engine: QueryEngine,
    reader: SeriesReader,
    templates: Templates,
    config: QueryConfig,
    now: Callable[[], float] = time.time,
) -> Blueprint:
    bp = Blueprint("metrics", __name__)

    @bp.get("/metrics")
    def metrics() -> Response:
        if not params.value(request, "metric"):
            return success([_about(name, templates) for name in templates.by_name])
        asked = _asked(request, round(now() * 1000))
        expr = _expr(asked, templates, reader)
        result = engine.range(
            expr, asked.start_ms, asked.end_ms, round(asked.step * 1000), timeout=config.timeout
        )
        series = result.data.series if isinstance(result.data, Matrix) else ()
        _check_size(series)
        data = {
            **_about(asked.metric, templates),
            "query": expr,
            "from": asked.start_ms / 1000,
            "to": asked.end_ms / 1000,
            "step": asked.step,
            "aggregate": asked.aggregate,
            "series": [_points(one) for one in series],
        }
        return success(data, result.warnings, result.infos)

    return bp


def _about(name: str, templates: Templates) -> dict[str, Any]:
    template = templates.by_name.get(name)
    if template is None:
        return {"metric": name, "unit": "", "help": ""}
    return {"metric": name, "unit": template.unit, "help": template.help}


def _asked(req: Request, now_ms: int) -> _Asked:
    end_ms = params.time_ms(req, "to", default=now_ms)
    start_ms = params.time_ms(req, "from", default=end_ms - _HOUR_MS)
    if end_ms < start_ms:
        raise params.invalid("to", "is before from")
    step = params.duration(req, "step", default=_default_step(end_ms - start_ms))
    check_step(start_ms, end_ms, round(step * 1000))
    aggregate = params.value(req, "aggregate") or "last"
    if aggregate not in _AGGREGATES:
        raise params.invalid("aggregate", f"write one of {', '.join(_AGGREGATES)}")
    metric, server = params.value(req, "metric"), params.value(req, "server")
    return _Asked(metric, server, start_ms, end_ms, step, aggregate)


def _default_step(range_ms: int) -> float:
    return float(max(_MIN_STEP, math.ceil(range_ms / 1000 / _POINTS)))


def _expr(asked: _Asked, templates: Templates, reader: SeriesReader) -> str:
    """The PromQL of a template or a metric, each step's values put together as asked."""
    step = format_duration(asked.step)
    template = templates.by_name.get(asked.metric)
    if template is not None:
        expr = template.expr(asked.server, asked.step)
        # Within a step the template is looked at ten times, but not more often than scraped, and
        # at least once.
        often = min(max(asked.step / 10, 1.0), asked.step)
        inner = f"({expr})[{step}:{format_duration(often)}]"
    else:
        _check_known(asked, templates, reader)
        expr = fill_server(_selector(asked.metric), asked.server)
        inner = f"{expr}[{step}]"
    return expr if asked.aggregate == "last" else f"{asked.aggregate}_over_time({inner})"


def _selector(metric: str) -> str:
    """One with a place for the server, of any name: one that is no word is quoted."""
    if is_metric_name(metric):
        return f"{metric}{{$server}}"
    return f"{{{Matcher(METRIC_NAME, '=', metric)},$server}}"


def _check_known(asked: _Asked, templates: Templates, reader: SeriesReader) -> None:
    """Refusal that names what there is, where the metric is no template and not in the store."""
    if len(asked.metric) > _MAX_NAME:
        raise bad_data("metric: no metric has so long a name")
    matcher = Matcher(METRIC_NAME, "=", asked.metric)
    if reader.label_values(METRIC_NAME, [[matcher]], params.MIN_MS, params.MAX_MS):
        return
    stored = reader.label_values(METRIC_NAME, [], params.MIN_MS, params.MAX_MS)
    close = difflib.get_close_matches(asked.metric, [*templates.by_name, *stored], n=3)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    raise Refusal(
        404,
        f"metric {asked.metric!r} is not known; {hint}"
        f"named queries: {', '.join(templates.by_name)}; "
        f"names of stored metrics: /api/v1/label/__name__/values",
    )


def _check_size(found: Sequence[Series]) -> None:
    """Refusal where the answer, which is made as a whole, would not be for people or scripts."""
    points = sum(len(one.times_ms) for one in found)
    if points > _MAX_POINTS:
        raise bad_data(
            f"the answer has {points:,} points, at most {_MAX_POINTS:,} are given at a time: name "
            "a server, or ask with a longer step or for a shorter time"
        )


def _points(series: Series) -> dict[str, Any]:
    """Times in Unix seconds; a value that is no finite number is null."""
    pairs = zip(series.times_ms.tolist(), series.values.tolist(), strict=True)
    return {
        "server": series.labels.get("instance"),
        "labels": dict(series.labels),
        "values": [[at / 1000, value if math.isfinite(value) else None] for at, value in pairs],
    }
