"""How often one key, or one address without a key, may ask."""

from collections.abc import Collection

from flask import Flask, Response, request
from flask_limiter import Limiter

from api.auth import caller
from api.config import ApiConfig


def limit_rate(
    app: Flask,
    config: ApiConfig,
    open_endpoints: Collection[str],
    unmetered: Collection[str] = (),
) -> None:
    """Counts every request but those for the open endpoints, unknown paths among them.

    unmetered: endpoints that whoever has a good key may ask as often as they like. They bound
    their work by themselves; a sender of samples takes 429 for a reason to drop them.
    A moving window in this process's memory: a restart forgets it. Refusals (429) tell in
    Retry-After when to come back.
    """
    if config.unlimited:
        return

    # Registered first, so that it runs last and sees what the limiter wrote.
    @app.after_request
    def wait_at_least_a_second(response: Response) -> Response:
        if response.status_code == 429:
            told = response.headers.get("Retry-After", "")
            response.headers["Retry-After"] = str(max(1, int(told) if told.isdigit() else 1))
        elif response.status_code != 503:
            response.headers.pop("Retry-After", None)
        return response

    limiter = Limiter(
        lambda: caller().identity,
        app=app,
        application_limits=[config.rate_limit],
        strategy="moving-window",
        storage_uri="memory://",
        headers_enabled=True,
        request_identifier=lambda: request.endpoint or "unknown",
    )

    @limiter.request_filter
    def is_free() -> bool:
        endpoint = request.endpoint or ""
        return endpoint in open_endpoints or (endpoint in unmetered and caller().key is not None)
