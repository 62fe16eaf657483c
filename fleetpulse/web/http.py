"""Requests, responses and routes; how a response's head is written."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus

Headers = tuple[tuple[str, str], ...]

METHODS = ("GET", "HEAD")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for. Names of headers are in lower case; repeated ones are joined by `, `.

    path is percent-decoded, query is what stood behind the question mark.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    headers: Headers = ()


Handler = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """A handler; a blocking one runs in a worker thread and counts for max_requests.

    One that is not runs on the thread of all connections: it must have its answer at hand.
    """

    handler: Handler
    blocking: bool = True


def text(status: int, line: str, *headers: tuple[str, str]) -> Response:
    """A response of one line."""
    return Response(status, line.encode() + b"\n", headers=headers)


def valid_header(name: str, value: str) -> bool:
    """Whether both can stand in a head as they are; a line break would begin the next header."""
    return _TOKEN.fullmatch(name) is not None and _VALUE.fullmatch(value) is not None


def message(response: Response, *, extra: Headers, keep: bool, bodiless: bool) -> bytes:
    """The response's bytes. ValueError where a header cannot be written. bodiless: to a HEAD."""
    start = _start(response.status, response.content_type, response.headers, extra, keep)
    length = b"%d\r\n\r\n" % len(response.body)
    return start + length if bodiless else b"".join((start, length, response.body))


@lru_cache(maxsize=64)
def _start(status: int, content_type: str, own: Headers, extra: Headers, keep: bool) -> bytes:
    """All of the head but the length, which comes last: the same at each scrape."""
    headers = [("Content-Type", content_type), *own, *extra]
    if not keep:
        headers.append(("Connection", "close"))
    for name, value in headers:
        if not valid_header(name, value):
            raise ValueError(f"header {name!r} cannot be sent with the value {value!r}")
    lines = [
        f"HTTP/1.1 {status} {_phrase(status)}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\nContent-Length: "


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
