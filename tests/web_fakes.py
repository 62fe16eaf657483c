"""A server with a few routes, and clients that speak to it in raw bytes."""

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from fleetpulse.values import ListenAddress
from fleetpulse.web.http import Request, Response, Route, text
from fleetpulse.web.server import WebServer

LOCAL = ListenAddress("127.0.0.1", 0)
PAGE = b"x" * 60_000
HUGE = b"x" * (32 << 20)  # more than the system takes from a server whose client does not read


def _boom(request: Request) -> Response:
    raise RuntimeError("boom")


def _echo(request: Request) -> Response:
    return text(200, f"{request.method} {request.path} ? {request.query} {request.headers['x']}")


ROUTES = {
    "/": Route(lambda request: text(200, "landing"), blocking=False),
    "/metrics": Route(lambda request: Response(200, PAGE, "text/plain; version=0.0.4")),
    "/huge": Route(lambda request: Response(200, HUGE)),
    "/boom": Route(_boom),
    "/echo me": Route(_echo),
    "/split": Route(lambda request: text(200, "", ("X-A", "b\r\nX-C: d"))),
}


class Ticks:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


Serve = Callable[..., WebServer]


@contextmanager
def serving() -> Iterator[Serve]:
    """A function that starts servers; all are stopped at the end."""
    with ExitStack() as undo:

        def start(*listen: ListenAddress, **settings: object) -> WebServer:
            routes = settings.pop("routes", ROUTES)
            server = WebServer("t", listen or [LOCAL], routes, **settings)  # type: ignore[arg-type]
            server.start()
            undo.callback(server.stop)
            return server

        yield start


def connect(server: WebServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.addresses[0].port), timeout=20)


def talk(server: WebServer, sent: bytes) -> bytes:
    """All that comes back until the server closes."""
    with connect(server) as client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        return read_all(client)


def read_all(client: socket.socket) -> bytes:
    received = b""
    try:
        while piece := client.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def get(path: str, *headers: str, version: str = "1.1", method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "Host: x", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


def statuses(received: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d+)", received)]
