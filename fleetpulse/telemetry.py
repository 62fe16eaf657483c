"""What each role tells about itself: its /metrics, its health."""

import io
import logging
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    ProcessCollector,
    disable_created_metrics,
    make_wsgi_app,
)

from fleetpulse import __version__
from fleetpulse.errors import cannot_listen
from fleetpulse.lobby import Lobby
from fleetpulse.service import STOP_DEADLINE
from fleetpulse.values import ListenAddress

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

_MAX_THREADS = 16
_SOCKET_TIMEOUT = 15.0  # seconds in which a client must send its request and take the answer


def new_registry() -> CollectorRegistry:
    """A registry with process_* and fleetpulse_build_info; one a role, never the global one."""
    # Of the whole process, as it knows no other way: _created series say nothing to anybody here.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    info = Gauge(
        "fleetpulse_build_info", "Version of FleetPulse; always 1.", ["version"], registry=registry
    )
    info.labels(__version__).set(1)
    return registry


def metrics_wsgi(registry: CollectorRegistry) -> "WSGIApplication":
    """A /metrics page: text or OpenMetrics as the client asks, gzip if it takes it."""
    return make_wsgi_app(registry)


def text_wsgi(answer: Callable[[], tuple[int, str]], content_type: str) -> "WSGIApplication":
    """A page whose status code and text come from a function."""

    def app(_environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        code, text = answer()
        body = text.encode()
        status = f"{code} {'OK' if code == 200 else 'Service Unavailable'}"
        headers = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
        start_response(status, headers)
        return [body]

    return app


def health_routes(
    registry: CollectorRegistry, ready: Callable[[], str | None]
) -> dict[str, "WSGIApplication"]:
    """/metrics, /-/healthy and /-/ready, whose body is ready()'s line, or 503 while it is None."""

    def readiness() -> tuple[int, str]:
        line = ready()
        return (503, "not ready yet\n") if line is None else (200, line + "\n")

    plain = "text/plain; charset=utf-8"
    return {
        "/metrics": metrics_wsgi(registry),
        "/-/healthy": text_wsgi(lambda: (200, "healthy\n"), plain),
        "/-/ready": text_wsgi(readiness, plain),
    }


class TelemetryServer:
    """A small HTTP server for GET: a thread a request, few at a time, each with a time limit.

    patience: seconds in which a client must have sent its request, and taken the answer. Whoever
    has not sent one yet waits in a lobby and keeps no thread from the others.
    """

    def __init__(
        self,
        name: str,
        listen: ListenAddress,
        routes: Mapping[str, "WSGIApplication"],
        patience: float = _SOCKET_TIMEOUT,
    ) -> None:
        self.name, self._listen, self._routes, self._patience = name, listen, routes, patience
        self._server: _Server | None = None

    @property
    def address(self) -> ListenAddress:
        """Where it really listens, once started; tells the port that port 0 became."""
        if self._server is None:
            return self._listen
        return ListenAddress(self._listen.host, self._server.server_address[1])

    def start(self) -> None:
        self._server = bind(self._listen, self._patience)
        self._server.set_app(self._dispatch)
        self._server.lobby.start()
        loop = threading.Thread(
            target=self._server.serve_forever, args=(0.2,), name=self.name, daemon=True
        )
        loop.start()

    def stop(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            server.shutdown()
            server.server_close()

    def _dispatch(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        app = self._routes.get(environ["PATH_INFO"])
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _refuse(start_response, "405 Method Not Allowed", [("Allow", "GET, HEAD")])
        if app is None:
            return _refuse(start_response, "404 Not Found", [])
        if environ["REQUEST_METHOD"] == "GET":
            return app(environ, start_response)
        # HEAD is GET without the body, which the applications need not know.
        for _ in app({**environ, "REQUEST_METHOD": "GET"}, start_response):
            pass
        return []


def _refuse(
    start_response: "StartResponse", status: str, headers: list[tuple[str, str]]
) -> list[bytes]:
    body = status.encode() + b"\n"
    length = ("Content-Length", str(len(body)))
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), length, *headers])
    return [body]


def bind(listen: ListenAddress, patience: float = _SOCKET_TIMEOUT) -> "_Server":
    """A bound server; StartError says which port is taken and what to do."""
    try:
        return _Server(listen, patience)
    except OSError as err:
        raise cannot_listen(listen, err) from err


class _Patient(io.RawIOBase):
    """What a client sends, up to a deadline for all of it: a byte now and then wins no time."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection, self._seconds = connection, seconds
        self._until = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request did not come in within its time limit")
        self._connection.settimeout(left)
        try:
            return self._connection.recv_into(buffer)
        finally:
            self._connection.settimeout(self._seconds)  # for the answer


class _Handler(WSGIRequestHandler):
    server_version = "FleetPulse"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        patience: float = self.server.patience  # type: ignore[attr-defined]
        self.rfile = io.BufferedReader(_Patient(self.connection, patience))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        log.debug("%s %s", self.client_address[0], format % args)


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, listen: ListenAddress, patience: float = _SOCKET_TIMEOUT) -> None:
        self.patience = patience
        self.address_family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
        self._free = threading.Semaphore(_MAX_THREADS)
        self.lobby = Lobby(self._admit, patience=patience)
        super().__init__((listen.host, listen.port), _Handler)

    def server_bind(self) -> None:
        # The base class asks the name service for the host's name, which can hang.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", self.server_address[1]
        self.setup_environ()

    def server_close(self) -> None:
        super().server_close()
        self.lobby.close()

    def process_request(self, request: Any, client_address: Any) -> None:
        self.lobby.add(request, client_address)

    def _admit(self, request: socket.socket, client_address: Any) -> None:
        if not self._free.acquire(timeout=STOP_DEADLINE):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        # A client that went away is no event; the rest belongs in the log, not on bare stderr.
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            log.exception("request of %s failed", client_address)
