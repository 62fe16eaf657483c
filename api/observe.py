"""What the API tells of itself: a log line and metrics for each request, health pages."""

import logging
import time
from collections.abc import Callable
from urllib.parse import quote

from flask import Blueprint, Flask, Response, g, request
from prometheus_client import CollectorRegistry, Counter, Histogram
from werkzeug.wrappers import Response as WSGIResponse

from api.auth import caller
from fleetpulse.telemetry import health_routes

log = logging.getLogger("api.requests")

OPEN_ENDPOINTS = ("health.healthy", "health.ready")
_METHODS = ("GET", "HEAD", "POST", "OPTIONS")
_GUARDS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cache-Control", "no-store"),
)
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


def observe(
    app: Flask, registry: CollectorRegistry, clock: Callable[[], float] = time.perf_counter
) -> None:
    """Counts, times and logs every request. To be installed before all that may refuse one."""
    requests = Counter(
        "fleetpulse_api_requests_total",
        "Requests by method, endpoint and HTTP code.",
        ["method", "endpoint", "code"],
        registry=registry,
    )
    durations = Histogram(
        "fleetpulse_api_request_duration_seconds",
        "Time to answer a request.",
        ["endpoint"],
        registry=registry,
        buckets=_BUCKETS,
    )

    @app.before_request
    def start() -> None:
        g.started = clock()

    @app.after_request
    def finish(response: Response) -> Response:
        seconds = clock() - g.get("started", clock())
        endpoint = request.url_rule.rule if request.url_rule else "unknown"
        method = request.method if request.method in _METHODS else "other"
        requests.labels(method, endpoint, str(response.status_code)).inc()
        durations.labels(endpoint).observe(seconds)
        # Without the query string, which may hold what is nobody's business; quoted, so that a
        # path cannot forge lines.
        log.info(
            "%s %s %d %.1fms key=%s",
            method,
            quote(request.path[:200], safe="/-_.~:"),
            response.status_code,
            seconds * 1000,
            caller().log_name,
        )
        return response


def guard_headers(app: Flask) -> None:
    """Headers that keep a browser from making more of an answer than there is."""

    @app.after_request
    def add(response: Response) -> Response:
        told = {name.lower() for name, _ in response.headers}
        for name, value in _GUARDS:
            if name.lower() not in told:
                response.headers.add(name, value)
        return response


def blueprint(registry: CollectorRegistry, ready: Callable[[], str | None]) -> Blueprint:
    """/-/healthy, /-/ready and /metrics."""
    bp = Blueprint("health", __name__)
    routes = health_routes(registry, ready)

    @bp.get("/-/healthy")
    def healthy() -> WSGIResponse:
        return WSGIResponse.from_app(routes["/-/healthy"], request.environ)

    @bp.get("/-/ready", endpoint="ready")
    def readiness() -> WSGIResponse:
        return WSGIResponse.from_app(routes["/-/ready"], request.environ)

    @bp.get("/metrics")
    def metrics() -> WSGIResponse:
        return WSGIResponse.from_app(routes["/metrics"], request.environ)

    return bp
