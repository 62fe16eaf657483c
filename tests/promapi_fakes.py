"""A server that answers as told in the place of a VictoriaMetrics, and keeps what it was asked."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from fleetpulse.storage.promapi.config import PromApiConfig


@dataclass
class Asked:
    method: str
    path: str
    params: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes

    def of(self, name: str) -> list[str]:
        return [value for key, value in self.params if key == name]


@dataclass
class Told:
    """An answer. promised: a Content-Length that is not the body's. held: nothing comes at all."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    promised: int | None = None
    held: bool = False
    trickled: bool = False


def told(data: Any, status: int = 200, **more: Any) -> Told:
    answer = {"status": "success" if status == 200 else "error", "data": data, **more}
    return Told(status, json.dumps(answer).encode(), {"Content-Type": "application/json"})


Answer = Callable[[Asked], Told]


class FakeStore:
    """Answers by a function, which a test may exchange."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.ending = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                url = urlsplit(self.path)
                params = parse_qsl(url.query, keep_blank_values=True)
                if "form" in self.headers.get("Content-Type", ""):
                    params += parse_qsl(body.decode(), keep_blank_values=True)
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, url.path, params, headers, body)
                outer.asked.append(asked)
                with suppress(OSError):
                    self._tell(outer.answer(asked))

            do_POST = do_GET  # noqa: N815 - the base class' name

            def _tell(self, told: Told) -> None:
                if told.held:
                    outer.ending.wait()
                    return
                self.send_response(told.status)
                for name, value in told.headers.items():
                    self.send_header(name, value)
                size = len(told.body) if told.promised is None else told.promised
                self.send_header("Content-Length", str(size))
                self.end_headers()
                while told.trickled and not outer.ending.wait(0.01):
                    self.wfile.write(b" ")
                self.wfile.write(told.body)
                if told.promised is not None:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_WR)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # A client that hangs up is what some tests are about.
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))

    def of(self, path: str) -> list[Asked]:
        """What was asked of a path."""
        return [one for one in self.asked if one.path == path]


@contextmanager
def fake_store(
    answer: Answer = lambda _: Told(), context: ssl.SSLContext | None = None
) -> Iterator[FakeStore]:
    """context: of a server that speaks TLS."""
    store = FakeStore(answer)
    if context is not None:
        store.server.socket = context.wrap_socket(store.server.socket, server_side=True)
        store.url = store.url.replace("http:", "https:").replace("127.0.0.1", "localhost")
    store.thread.start()
    try:
        yield store
    finally:
        store.ending.set()
        store.server.shutdown()
        store.server.server_close()
        store.thread.join()


def config(url: str | None = "http://127.0.0.1:8428", **more: Any) -> PromApiConfig:
    given = {"kind": "victoriametrics", **({"url": url} if url else {}), **more}
    return PromApiConfig.model_validate(given)
