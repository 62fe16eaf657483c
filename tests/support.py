"""What several tests share: real processes on free ports, and servers that stand for the world."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest
import requests

ROOT = Path(__file__).parents[1]
DEADLINE = 45.0  # seconds; far more than is needed, so that only a real hang runs into it

T = TypeVar("T")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(what: str, look: Callable[[], T | None], deadline: float = DEADLINE) -> T:
    """look()'s first true answer. AssertionError with what was waited for at the deadline."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.05)  # not for time to pass, but to let the others run
    raise AssertionError(f"not within {deadline:g} s: {what}")


class Process:
    """A `fleetpulse` command as a real process. Its output is in .log.

    under: a command that runs the one that follows it.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        log: Path,
        under: Sequence[str] = (),
        **environment: str,
    ) -> None:
        self.arguments, self.log, self._under = list(arguments), log, under
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [*self._under, sys.executable, "-m", "fleetpulse_cli.main", *self.arguments],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def poll(self) -> int | None:
        assert self._process is not None
        return self._process.poll()

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """Ends it and returns the exit code; kills what does not end."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(signum)
        try:
            return self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.arguments} did not end:\n{self.output()}") from None

    def kill(self) -> None:
        """kill -9, with all processes it has forked."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        finally:
            self.kill()


def wait_ready(url: str, process: Process) -> str:
    """The ready line of a role, or its output in the error."""

    def look() -> str | None:
        assert process.poll() is None, f"{process.arguments} ended:\n{process.output()}"
        try:
            answer = requests.get(f"{url}/-/ready", timeout=2)
        except requests.RequestException:
            return None
        return answer.text.strip() if answer.status_code == 200 else None

    return wait_for(f"{url} ready", look)


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skips a test, with the reason, where a peer program is not installed."""
    missing = [program for program in programs if shutil.which(program) is None]
    reason = f"not installed: {', '.join(missing)} (Debian has a package of it)"
    return pytest.mark.skipif(bool(missing), reason=reason)


def drip_until_cut(clients: Sequence[socket.socket], pause: float) -> None:
    """Sends a request a byte at a time, pause seconds apart, until the server has had enough.

    So often that the time limit of a single recv() would never notice.
    """
    for client in clients:
        client.sendall(b"GET / HTTP/1.1\r\nX: ")
        client.settimeout(pause)

    def cut(client: socket.socket) -> bool:
        try:
            client.sendall(b"x")
            return client.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    wait_for("the end of clients that drip", lambda: set(map(cut, clients)) == {True})


class Receiver:
    """An HTTP server that keeps what is posted to it, and answers as it is told.

    statuses are answered one after the other, then 200.
    """

    def __init__(self, statuses: Sequence[int] = ()) -> None:
        self.bodies: list[Any] = []
        self.refused: list[Any] = []
        self._statuses = list(statuses)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status = outer._statuses.pop(0) if outer._statuses else 200
                kept = outer.bodies if status < 300 else outer.refused
                kept.append(json.loads(raw))
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Nothing: the test looks at bodies."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Mailbox:
    """A real SMTP server that keeps the messages it is given."""

    def __init__(self) -> None:
        from aiosmtpd.controller import Controller

        self.messages: list[bytes] = []
        self.port = free_port()
        self._controller = Controller(self, hostname="127.0.0.1", port=self.port)

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802
        self.messages.append(envelope.content)
        return "250 OK"

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._controller.stop()
