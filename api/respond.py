"""Answers in Prometheus' envelope, and errors mapped to it once for all endpoints."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from itertools import chain
from typing import Any

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from fleetpulse.errors import QueryError, StorageError

log = logging.getLogger(__name__)

_QUERY_CODES = {
    "bad_data": 400,
    "execution": 422,
    "timeout": 503,
    "canceled": 499,  # nginx' code for a client that has gone, and Prometheus'
    "unavailable": 503,
}
_KINDS = {
    400: "bad_data",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    422: "execution",
    429: "rate_limited",
    503: "unavailable",
}
_MESSAGES = {
    404: "no such page; the API is below /api/v1",
    413: "the request body is too large",
    429: "too many requests; ask again after the seconds that Retry-After tells",
    500: "internal error; the API's log has the details",
}


class Refusal(Exception):  # noqa: N818 - not a fault of the program
    """A request that gets no answer: HTTP code, and a message for the person who asked."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        kind: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.kind = code, kind or _KINDS.get(code, "internal")
        self.headers = headers or {}


def bad_data(message: str) -> Refusal:
    return Refusal(400, message)


def success(
    data: Any, warnings: Sequence[str] = (), infos: Sequence[str] = (), code: int = 200
) -> Response:
    return success_text(dumps(data), warnings, infos, code)


def success_text(
    data: str, warnings: Sequence[str] = (), infos: Sequence[str] = (), code: int = 200
) -> Response:
    """The same for data that is JSON text already."""
    return success_parts((data,), warnings, infos, code)


def success_parts(
    data: Iterable[str], warnings: Sequence[str] = (), infos: Sequence[str] = (), code: int = 200
) -> Response:
    """The same for text in pieces: many megabytes are put together once, and not copied."""
    notes = "".join(
        f',"{name}":{dumps(list(texts))}'
        for name, texts in (("warnings", warnings), ("infos", infos))
        if texts
    )
    body = BytesIO()
    for part in chain(('{"status":"success","data":',), data, (f"{notes}}}",)):
        body.write(_encoded(part))
    return Response(body.getvalue(), code, mimetype="application/json")


def failure(code: int, kind: str, message: str) -> Response:
    return _json(dumps({"status": "error", "errorType": kind, "error": message}), code)


def plain(document: Any, code: int) -> Response:
    """A document without the envelope."""
    return _json(dumps(document), code)


def dumps(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _json(text: str, code: int) -> Response:
    return Response(_encoded(text), code, mimetype="application/json")


def _encoded(text: str) -> bytes:
    # Label values may hold lone surrogates where a page was no UTF-8: they must not end in a 500.
    return text.encode("utf-8", "replace")


def map_errors(app: Flask) -> None:
    """Every error that rises out of a handler leaves as JSON."""

    @app.errorhandler(Refusal)
    def refused(err: Refusal) -> Response:
        response = failure(err.code, err.kind, str(err))
        response.headers.update(err.headers)
        return response

    @app.errorhandler(QueryError)
    def no_answer(err: QueryError) -> Response:
        return failure(_QUERY_CODES[err.error_type], err.error_type, str(err))

    @app.errorhandler(StorageError)
    def storage_failed(err: StorageError) -> Response:
        log.error("storage: %s", err)
        if not err.retriable:
            return failure(500, "internal", str(err))
        response = failure(503, "unavailable", str(err))
        response.headers["Retry-After"] = "5"
        return response

    @app.errorhandler(HTTPException)
    def http_error(err: HTTPException) -> Response:
        code = err.code or 500
        message = _MESSAGES.get(code) or err.description or err.name
        response = failure(code, _KINDS.get(code, "internal"), message)
        for name, value in err.get_headers():
            if name in ("Allow", "Retry-After", "Location"):
                response.headers[name] = value
        return response
