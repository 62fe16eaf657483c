"""HTTP servers on loopback that answer as told and keep what they got."""

import http.server
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Told:
    """An answer. cut: the connection ends after so many bytes of the body."""

    status: int = 204
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None


@dataclass(frozen=True)
class Got:
    path: str
    headers: Mapping[str, str]
    body: bytes
    method: str = "POST"


class Loopback:
    """A server while its context lasts. Subclasses say what is answered, in answer_to()."""

    def __init__(self) -> None:
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                told = outer.answer_to(Got(self.path, dict(self.headers), body, self.command))
                self.send_response(told.status)
                for name, value in {"Content-Length": str(len(told.body)), **told.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(told.body[: told.cut])

            do_GET = do_PATCH = do_DELETE = do_POST  # noqa: N815

            def log_message(self, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def answer_to(self, got: Got) -> Told:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class FakeHttp(Loopback):
    """Answers what is in answers, one after the other, and then the last of them again."""

    def __init__(self, *answers: Told) -> None:
        super().__init__()
        self.answers = list(answers) or [Told()]
        self.got: list[Got] = []

    def answer_to(self, got: Got) -> Told:
        self.got.append(got)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
