"""Runs a WSGI application in gunicorn: one worker process, a pool of threads.

One worker, because rate limits and the bridge's timers are state of a process; what must outlive
it is in SQLite. SIGHUP replaces the worker: create() is then called anew, in a new process.
"""

import os
import signal
import socket
import struct
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger as GunicornLogger

from fleetpulse.errors import StartError
from fleetpulse.telemetry import bind
from fleetpulse.values import ListenAddress

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


class _Log(GunicornLogger):  # type: ignore[misc]
    """Hands gunicorn's messages to our own log: one form and one place for all of a role's."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class _Application(BaseApplication):  # type: ignore[misc]
    def __init__(self, create: Callable[[], "WSGIApplication"], settings: dict[str, Any]) -> None:
        self._create, self._settings = create, settings
        super().__init__()

    def load_config(self) -> None:
        for key, value in self._settings.items():
            self.cfg.set(key, value)
        if "control_socket_disable" in self.cfg.settings:  # newer gunicorn's open a socket in $HOME
            self.cfg.set("control_socket_disable", True)

    def load(self) -> "WSGIApplication":
        return self._create()


def serve(
    create: Callable[[], "WSGIApplication"],
    listen: ListenAddress,
    *,
    threads: int,
    client_timeout: float = 30.0,
    on_stop: Callable[[], None] | None = None,
    on_reload: Callable[[], None] | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT. StartError where the address is taken.

    create() runs in the worker and may start threads there; on_stop() runs in the worker when it
    ends. on_reload() runs in the master at SIGHUP, before the new worker is forked from it. A
    client that is silent for client_timeout seconds within its request, or does not take the
    answer for as long, is cut off.
    """
    bind(listen).server_close()  # gunicorn would retry for seconds and then only log

    settings = {
        "bind": str(listen),
        "workers": 1,
        "worker_class": "gthread",
        "threads": threads,
        "timeout": 120,  # a worker whose main loop stands still this long is replaced
        "graceful_timeout": 5,
        "keepalive": 75,
        "limit_request_line": 8190,
        "proc_name": "fleetpulse",
        "accesslog": None,
        "loglevel": "warning",
        "logger_class": _Log,
        "when_ready": lambda server: _limit_waiting(server.LISTENERS, client_timeout),
        "worker_exit": lambda _server, _worker: on_stop() if on_stop is not None else None,
    }
    master = os.getpid()
    try:
        _Arbiter(_Application(create, settings), on_reload).run()
    except SystemExit as err:
        # A worker, forked somewhere below, leaves through here as well and must go on leaving.
        if os.getpid() != master or err.code in (0, None):
            raise
        raise StartError(f"the server on {listen} ended: see the log above") from err


def _limit_waiting(listeners: Sequence[Any], seconds: float) -> None:
    """Bounds each recv and send by the kernel: gunicorn's own sockets wait without an end.

    Linux hands the listening socket's time limits on to the connections it accepts.
    """
    limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    for listener in listeners:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


class _Arbiter(Arbiter):  # type: ignore[misc]
    def __init__(self, app: _Application, on_reload: Callable[[], None] | None) -> None:
        self._on_reload = on_reload
        super().__init__(app)

    def reload(self) -> None:
        if self._on_reload is not None:
            self._on_reload()
        super().reload()


def ask_reload() -> None:
    """Tells the master, from its worker, to reload."""
    os.kill(os.getppid(), signal.SIGHUP)
