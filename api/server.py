"""What Prometheus' clients ask of the server itself: features, notifications, what is refused."""

from collections.abc import Mapping

from flask import Blueprint, Response, request

from api.respond import Refusal, success
from fleetpulse.promql.config import PromqlConfig
from fleetpulse.promql.signatures import (
    AGGREGATIONS,
    EXPERIMENTAL_AGGREGATIONS,
    SIGNATURES,
    UNSUPPORTED,
)

_OPERATORS = (
    *("+", "-", "*", "/", "%", "^", "==", "!=", "<", ">", "<=", ">=", "=~", "!~", "@"),
    *("and", "or", "unless", "atan2"),
)
_KEYWORDS = (
    *("bool", "by", "end", "group_left", "group_right", "ignoring", "offset", "on", "start"),
    "without",
)
_FILLS = ("fill", "fill_left", "fill_right")
_ADMIN = ("delete_series", "clean_tombstones", "snapshot")


def blueprint(promql: PromqlConfig) -> Blueprint:
    bp = Blueprint("server", __name__)
    known = features(promql)

    @bp.get("/features")
    def shown_features() -> Response:
        return success(known)

    @bp.get("/notifications")
    def notifications() -> Response:
        return success([])

    @bp.get("/notifications/live")
    def live() -> Response:
        """There are none to wait for: 204 tells an event source not to come back."""
        return Response(status=204)

    @bp.route("/admin/tsdb/<name>", methods=["POST", "PUT"])
    def admin(name: str) -> Response:
        """As a Prometheus that runs without --web.enable-admin-api."""
        if name not in _ADMIN:
            raise Refusal(404, "no such page; the API is below /api/v1")
        message = "admin APIs disabled; see `fleetpulse store` for what the store can do"
        raise Refusal(500, message, kind="unavailable")

    return bp


def lifecycle_blueprint() -> Blueprint:
    """/-/reload and /-/quit, as a Prometheus that runs without --web.enable-lifecycle."""
    bp = Blueprint("lifecycle", __name__)

    def refused() -> Response:
        if request.method in ("GET", "HEAD"):
            return _text("Only POST or PUT requests allowed", 405)
        return _text("Lifecycle API is not enabled; send the process SIGHUP or SIGTERM", 403)

    for name in ("reload", "quit"):
        bp.add_url_rule(f"/-/{name}", name, refused, methods=["GET", "POST", "PUT"])
    return bp


def _text(text: str, code: int) -> Response:
    return Response(text, code, mimetype="text/plain")


def features(promql: PromqlConfig) -> Mapping[str, Mapping[str, bool]]:
    """Prometheus' categories and names; what is not there may be left out, say its documents."""
    more = promql.experimental
    return {
        "api": {
            "admin": False,
            "exclude_alerts": True,
            "label_values_match": True,
            "lifecycle": False,
            "query_warnings": True,
            "time_range_labels": True,
            "time_range_series": True,
        },
        "promql": {
            "at_modifier": True,
            "delayed_name_removal": promql.delayed_name_removal,
            "duration_expr": False,
            "negative_offset": True,
            "subqueries": True,
            **dict.fromkeys(_KEYWORDS, True),
            **dict.fromkeys(_FILLS, more),
        },
        "promql_functions": {
            name: name not in UNSUPPORTED and (more or not signature.experimental)
            for name, signature in SIGNATURES.items()
        },
        "promql_operators": {
            **dict.fromkeys(_OPERATORS, True),
            **{name: more or name not in EXPERIMENTAL_AGGREGATIONS for name in AGGREGATIONS},
        },
        "rules": {"concurrent_rule_eval": False, "keep_firing_for": True, "query_offset": True},
        "scrape": {"extra_scrape_metrics": True},
        "tsdb": {"exemplar_storage": False, "native_histograms": False},
    }
