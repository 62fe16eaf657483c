"""/api/v1/series, labels, label values and metadata: what there is, without its values."""

import re
from collections.abc import Sequence
from typing import Any, TypeVar

from flask import Blueprint, Request, Response, request

from api import params
from api.config import QueryConfig
from api.respond import bad_data, success
from api.selectors import matcher_sets
from fleetpulse.storage.base import SeriesReader

_T = TypeVar("_T")
_ESCAPED = "U__"
# Not the halves of surrogate pairs, which are no characters.
_ESCAPES = re.compile(r"__|_((?![Dd][89A-Fa-f].._)[0-9A-Fa-f]{1,5}|10[0-9A-Fa-f]{4})_")


def blueprint(reader: SeriesReader, config: QueryConfig) -> Blueprint:
    bp = Blueprint("catalog", __name__)

    @bp.route("/series", methods=["GET", "POST"])
    def series() -> Response:
        if not params.values(request, "match[]"):
            raise bad_data("no match[] parameter provided")
        limit, (start_ms, end_ms) = _limit(request, config), _time_range(request)
        sets = matcher_sets(request, named=True)
        found = reader.series(sets, start_ms, end_ms) if start_ms <= end_ms else []
        return _limited([dict(labels) for labels in found], limit)

    @bp.route("/labels", methods=["GET", "POST"])
    def labels() -> Response:
        limit, (start_ms, end_ms) = _limit(request, config), _time_range(request)
        sets = matcher_sets(request)
        found = reader.labels(sets, start_ms, end_ms) if start_ms <= end_ms else []
        return _limited(found, limit)

    @bp.get("/label/<name>/values")
    def label_values(name: str) -> Response:
        wanted = _unescaped(name)
        if not wanted:
            raise bad_data(f'invalid label name: "{name}"')
        limit, (start_ms, end_ms) = _limit(request, config), _time_range(request)
        sets = matcher_sets(request)
        found = reader.label_values(wanted, sets, start_ms, end_ms) if start_ms <= end_ms else []
        return _limited(found, limit)

    @bp.get("/metadata")
    def metadata() -> Response:
        limit = params.most(request, "limit")
        params.most(request, "limit_per_metric")  # of each metric one entry is kept
        known = reader.metadata()
        metric = params.value(request, "metric")
        names = [metric] if metric in known else [] if metric else sorted(known)
        data: dict[str, Any] = {}
        for name in names[:limit]:
            entry = known[name]
            data[name] = [{"type": _told(entry.type), "help": entry.help, "unit": entry.unit}]
        return success(data)

    return bp


def _unescaped(name: str) -> str:
    """A label's name as it stands in a URL: any text, or U__… with what is odd as _HEX_.

    Prometheus' UnescapeName (common/model): an underscore is doubled there, and what cannot be
    undone is the name as it stands.
    """
    if not name.startswith(_ESCAPED):
        return name
    rest = name.removeprefix(_ESCAPED)
    if "_" in _ESCAPES.sub("", rest):
        return name
    return _ESCAPES.sub(lambda found: chr(int(found[1], 16)) if found[1] else "_", rest)


def _told(metric_type: str) -> str:
    return "unknown" if metric_type == "untyped" else metric_type


def _time_range(req: Request) -> tuple[int, int]:
    """Both bounds; where the end is before the start, there is nothing to be found."""
    start_ms = params.time_ms(req, "start", default=params.MIN_MS)
    return start_ms, params.time_ms(req, "end", default=params.MAX_MS)


def _limit(req: Request, config: QueryConfig) -> int:
    return min(params.limit(req) or config.max_items, config.max_items)


def _limited(found: Sequence[_T], limit: int) -> Response:
    if len(found) <= limit:
        return success(found)
    return success(found[:limit], warnings=["results truncated due to limit"])
