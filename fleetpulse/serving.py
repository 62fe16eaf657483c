"""Runs a WSGI application in gunicorn: one worker process, a pool of threads.

One worker, because rate limits and the bridge's timers are state of a process; what must outlive
it is in SQLite. SIGHUP replaces the worker: create() is then called anew, in a new process.
"""

import logging
import os
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger as GunicornLogger
from gunicorn.workers.gthread import ThreadWorker

from fleetpulse.errors import FleetPulseError, StartError
from fleetpulse.telemetry import bind
from fleetpulse.values import ListenAddress

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

log = logging.getLogger(__name__)

# Seconds. Requests under way at the end have so long; idle connections nearly nothing, but enough
# for a request that is just coming in. The master waits longer: on_stop() comes after it.
_GRACE, _LINGER, _MASTER_WAITS = 4.0, 0.2, 9
_BOOT_AGAIN = 5.0  # seconds before a worker that could not begin is followed by the next


class _Log(GunicornLogger):  # type: ignore[misc]
    """Hands gunicorn's messages to our own log: one form and one place for all of a role's."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class _Application(BaseApplication):  # type: ignore[misc]
    def __init__(self, create: Callable[[], "WSGIApplication"], settings: dict[str, Any]) -> None:
        self._create, self._settings = create, settings
        self.worker: Any = None  # the one that this process is, once forked
        super().__init__()

    def load_config(self) -> None:
        for key, value in self._settings.items():
            self.cfg.set(key, value)
        if "control_socket_disable" in self.cfg.settings:  # newer gunicorn's open a socket in $HOME
            self.cfg.set("control_socket_disable", True)

    def load(self) -> "WSGIApplication":
        """StartError and the like only in the first worker: the server then ends.

        A later one leaves, and the master makes another: what served for weeks must not go away
        for good because a reload met a full disk or a locked file.
        """
        try:
            return self._create()
        except Exception as err:
            if self.worker is None or self.worker.age == 1:
                raise
            trace = None if isinstance(err, FleetPulseError) else err
            log.error("cannot begin, next attempt in %g s: %s", _BOOT_AGAIN, err, exc_info=trace)
            self._rest(time.monotonic() + _BOOT_AGAIN)
            sys.exit(1)

    def _rest(self, until: float) -> None:
        while self.worker.alive and time.monotonic() < until:
            time.sleep(0.1)


class _Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threads, with an end to clients that are slow and connections that idle."""

    head_timeout = 30.0  # seconds for a request's first line and headers, all together

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._reading: dict[Any, float] = {}  # connections whose request has not come in yet
        self.cfg.set("graceful_timeout", int(_GRACE))

    def handle(self, conn: Any) -> Any:
        self._reading[conn] = time.monotonic() + self.head_timeout
        try:
            return super().handle(conn)
        finally:
            self._reading.pop(conn, None)

    def handle_request(self, req: Any, conn: Any) -> Any:
        self._reading.pop(conn, None)
        return super().handle_request(req, conn)

    def notify(self) -> None:
        """Called by gunicorn's main loop, every second at least."""
        super().notify()
        now = time.monotonic()
        for conn, until in list(self._reading.items()):
            if until < now:
                # Its thread waits in recv(), which now ends. A byte every few seconds would keep
                # the thread for good, and there are only a few of them.
                with suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)

    def _cap_keepalive(self, deadline: float) -> None:
        """gunicorn's own, when it stops: idle connections would hold up the end for seconds."""
        deadline = min(deadline, time.monotonic() + _LINGER)
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)


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

    create() runs in the worker and may start threads there; where it raises in a worker that
    follows another, it is tried again until it succeeds. on_stop() runs in the worker when it
    ends. on_reload() runs in the master at SIGHUP, before the new worker is forked from it. A
    client that is silent for client_timeout seconds within its request, takes longer for its
    headers, or does not take the answer for as long, is cut off.
    """
    bind(listen).server_close()  # gunicorn would retry for seconds and then only log

    application = _Application(
        create,
        {
            "bind": str(listen),
            "workers": 1,
            "worker_class": _worker_class(client_timeout),
            "threads": threads,
            "timeout": 120,  # a worker whose main loop stands still this long is replaced
            "graceful_timeout": _MASTER_WAITS,
            "keepalive": 75,
            "limit_request_line": 8190,
            "proc_name": "fleetpulse",
            "accesslog": None,
            "loglevel": "warning",
            "logger_class": _Log,
            "when_ready": lambda server: _limit_waiting(server.LISTENERS, client_timeout),
            "post_fork": lambda _server, worker: setattr(worker.app, "worker", worker),
            "worker_exit": lambda _server, _worker: on_stop() if on_stop is not None else None,
        },
    )
    master = os.getpid()
    try:
        _Arbiter(application, on_reload).run()
    except SystemExit as err:
        # A worker, forked somewhere below, leaves through here as well and must go on leaving.
        if os.getpid() != master or err.code in (0, None):
            raise
        raise StartError(f"the server on {listen} ended: see the log above") from err


def _worker_class(head_timeout: float) -> type[_Worker]:
    return type("Worker", (_Worker,), {"head_timeout": head_timeout})


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
