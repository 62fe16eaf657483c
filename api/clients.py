"""Whether the client of the present request still waits for its answer."""

import select
import socket
from collections.abc import Callable
from functools import partial

from flask import has_request_context, request

# Where servers put the connection: gunicorn, and werkzeug's own, which tests use.
_SOCKETS = ("gunicorn.socket", "werkzeug.socket")


def gone_check() -> Callable[[], bool]:
    """To be called from any thread while the request is answered; costs two system calls."""
    if has_request_context():
        for name in _SOCKETS:
            connection = request.environ.get(name)
            if isinstance(connection, socket.socket):
                return partial(has_left, connection)
    return lambda: False


def has_left(connection: socket.socket) -> bool:
    """Whether the other end has closed; takes nothing from what it may have sent.

    A client that closes its sending half alone counts as gone, as in Go's HTTP server: hardly any
    does, and the two cannot be told apart. Requests that follow in the same connection hide it.
    """
    try:
        # poll() and not select(), which takes no descriptor above 1023.
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        if not poll.poll(0):
            return False
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except (BlockingIOError, InterruptedError):
        return False
    except (OSError, ValueError):
        return True  # reset, or closed on this side already
