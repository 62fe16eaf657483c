"""Answers in gzip, for clients that take it."""

import gzip
import zlib
from collections.abc import Iterable, Iterator

from flask import Flask, Response, request

from fleetpulse.web.negotiate import accepts_gzip

_LEAST = 1000  # bytes; below, it costs more than it saves
_LEVEL = 1  # JSON gets a tenth of its size already; the next levels take twice as long
_GZIP = 31  # zlib's number for a gzip header and checksum
_KINDS = ("application/json", "text/plain", "application/openmetrics-text")


def compress(app: Flask) -> None:
    """To be installed before what counts or logs bytes, after all that makes answers."""

    @app.after_request
    def shrink(response: Response) -> Response:
        if response.mimetype not in _KINDS or "Content-Encoding" in response.headers:
            return response
        response.vary.add("Accept-Encoding")
        if not accepts_gzip(request.headers.get("Accept-Encoding", "")):
            return response
        length = response.content_length
        if length is not None and length < _LEAST:
            return response
        if response.is_streamed:
            response.headers.pop("Content-Length", None)
            response.response = _compressed(response.iter_encoded())
        else:
            response.set_data(gzip.compress(response.get_data(), _LEVEL, mtime=0))
        response.headers["Content-Encoding"] = "gzip"
        return response


def _compressed(parts: Iterable[bytes]) -> Iterator[bytes]:
    """A part at a time, so that a page that is never there as a whole stays so."""
    coder = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    for part in parts:
        if done := coder.compress(part):
            yield done
    yield coder.flush()
