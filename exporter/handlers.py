"""What the exporter answers over HTTP: its page, a landing page, and how it is."""

import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from urllib.parse import parse_qs

from exporter.families import Found, Rows, counter
from exporter.page import OPENMETRICS, TEXT
from exporter.pages import Pages, with_current
from exporter.registry import ClosedError
from fleetpulse import __version__
from fleetpulse.web.http import Request, Response, Route
from fleetpulse.web.negotiate import accepts_gzip, wants_openmetrics

# Level 1: a quarter of the default's CPU for a page a sixth larger.
_LEVEL, _GZIP = 1, 31
_REQUESTS = counter(
    "fleetpulse_exporter_scrapes_total", "Requests for the page, by the answer's status.", "code"
)
_LANDING = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>FleetPulse exporter</title></head>
<body><h1>FleetPulse exporter</h1>
<p>Version {version}</p>
<ul><li><a href="{path}">Metrics</a></li>
<li><a href="/-/ready">State</a></li></ul>
</body></html>
"""


class Handlers:
    """pages: those in force; they change with a reload."""

    def __init__(self, pages: Callable[[], Pages], ready: Callable[[], str | None]) -> None:
        self._pages, self._ready = pages, ready
        self._scrapes = Counter[str]()
        self._lock = threading.Lock()  # guards the counter

    def routes(self, telemetry_path: str) -> Mapping[str, Route]:
        return {
            "/": Route(lambda _: _landing_page(telemetry_path), blocking=False),
            "/-/healthy": Route(lambda _: Response(200, b"healthy\n"), blocking=False),
            "/-/ready": Route(self._readiness, blocking=False),
            # Last: who wants the page at / has no landing page.
            telemetry_path: Route(self._metrics),
        }

    def families(self) -> Iterator[Found]:
        with self._lock:
            rows: Rows = {(code,): count for code, count in self._scrapes.items()}
        yield _REQUESTS, rows

    def _readiness(self, _request: Request) -> Response:
        line = self._ready()
        return (
            Response(503, b"not ready yet\n")
            if line is None
            else Response(200, f"{line}\n".encode())
        )

    def _metrics(self, request: Request) -> Response:
        response = self._answer(request)
        with self._lock:
            self._scrapes[str(response.status)] += 1
        return response

    def _answer(self, request: Request) -> Response:
        try:
            return with_current(self._pages, partial(_page, request))
        except ClosedError:
            return Response(503, b"the exporter ends\n")


def _page(request: Request, pages: Pages) -> Response:
    try:
        names = chosen(request.query, pages.registry.names)
    except ValueError as err:
        return Response(400, f"{err}\n".encode())
    openmetrics = wants_openmetrics(request.headers.get("accept", ""))
    style = OPENMETRICS if openmetrics else TEXT
    body = pages.make(style, names)
    if not accepts_gzip(request.headers.get("accept-encoding", "")):
        return Response(200, body, style.content_type)
    packed = zlib.compress(body, _LEVEL, _GZIP)
    return Response(200, packed, style.content_type, (("Content-Encoding", "gzip"),))


def _landing_page(telemetry_path: str) -> Response:
    import html  # only where somebody looks: it comes with a large table

    page = _LANDING.format(version=__version__, path=html.escape(telemetry_path))
    return Response(200, page.encode(), "text/html; charset=utf-8")


def chosen(query: str, known: Sequence[str]) -> list[str] | None:
    """Collectors asked for by `collect[]=` or `exclude[]=` as in node_exporter; None: all."""
    if not query:
        return None
    fields = parse_qs(query, keep_blank_values=True, max_num_fields=100)
    only, without = fields.get("collect[]"), fields.get("exclude[]")
    if only and without:
        raise ValueError("collect[] and exclude[] do not go together")
    for name in only or ():
        if name not in known:
            raise ValueError(f"no collector {name!r} is enabled; there are {', '.join(known)}")
    if without:
        return [name for name in known if name not in without]
    return only
