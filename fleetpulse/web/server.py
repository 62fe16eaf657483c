"""The server: listens, and takes each request to its route's handler."""

import asyncio
import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from fleetpulse.errors import ConfigError, StartError
from fleetpulse.service import STOP_DEADLINE
from fleetpulse.values import ListenAddress
from fleetpulse.web.connection import Connection, Done
from fleetpulse.web.crowd import Crowd, most_connections
from fleetpulse.web.gate import Gate
from fleetpulse.web.http import METHODS, Handler, Headers, Request, Response, Route, text
from fleetpulse.web.listening import BACKLOG, bound_to, listen
from fleetpulse.web.tls import TlsPipe
from fleetpulse.web.workers import HandOver, Workers

log = logging.getLogger(__name__)

_MOST_THREADS = 64  # where max_requests sets no limit
_BUFFER = 16 << 10
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_QUIET = 60.0  # seconds from one complaint that there is no room to the next

Routes = Callable[[str], Route | None] | Mapping[str, Route]

_NOT_FOUND = text(404, "404 page not found")
_NOT_ALLOWED = text(405, "only GET and HEAD are answered here", ("Allow", ", ".join(METHODS)))
_FAILED = text(500, "Internal Server Error")


class WebServer:
    """Serves GET and HEAD on one thread; blocking handlers run in others, begun as needed.

    routes: by path, or a function of it that is called on the connections' thread.
    web_file: the web configuration file, read at the start and again when it changes.
    max_requests: blocking requests at a time, past which the answer is 503; 0 sets no limit.
    patience: seconds in which a client must have sent its whole request, TLS and all, and in
    which it must have taken the answer. idle: seconds that a connection lives without a request.
    max_connections: past which the least useful one is ended; by default what there is room for.
    grace: seconds for answers under way when the server stops.
    """

    def __init__(
        self,
        name: str,
        listen: Sequence[ListenAddress],
        routes: Routes,
        *,
        web_file: Path | None = None,
        max_requests: int = 40,
        patience: float = 15.0,
        idle: float = 300.0,
        max_connections: int | None = None,
        grace: float = STOP_DEADLINE - 1.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.addresses = name, list(listen)
        self.patience, self.idle = patience, idle
        self.buffer = memoryview(bytearray(_BUFFER))
        self.stopping, self._grace = False, grace
        self._route = routes.get if isinstance(routes, Mapping) else routes
        self._max_requests, self._running = max_requests, 0
        self._workers = Workers(name, max_requests or _MOST_THREADS)
        self._crowd: Crowd[Connection] = Crowd(max_connections or most_connections())
        self._gate = Gate(web_file, self._later, clock=clock)
        self._clock, self._complained = clock, float("-inf")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._servers: list[asyncio.Server] = []

    # A service

    def start(self) -> None:
        """StartError where an address is taken or the web configuration file is wrong."""
        try:
            self._gate.load()
        except ConfigError as err:
            raise StartError(str(err)) from err
        sockets = _listen_all(self.addresses)
        self.addresses = list(map(bound_to, self.addresses, sockets))
        self._loop = loop = asyncio.new_event_loop()
        loop.set_exception_handler(self._complain)
        loop.run_until_complete(self._accept_from(loop, sockets))
        self._thread = threading.Thread(target=_run, args=(loop,), name=self.name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread of all connections runs."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self) -> None:
        """Ends idle connections; answers under way have some seconds to go out."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._later(self._wind_down)
        thread.join(STOP_DEADLINE)
        if thread.is_alive():
            log.warning("%s did not end within %g s", self.name, STOP_DEADLINE)
        self._workers.close()
        self._gate.close()

    async def _accept_from(
        self, loop: asyncio.AbstractEventLoop, sockets: Sequence[socket.socket]
    ) -> None:
        for one in sockets:
            # One at a time, so that the crowd is told of each before the next: asyncio takes as
            # many as the backlog at once, and complains as often where there is no room for one.
            server = await loop.create_server(lambda: Connection(self, loop), sock=one, backlog=1)
            one.listen(BACKLOG)
            self._servers.append(server)

    def _complain(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What goes wrong outside of a connection; a fault, but for the want of room."""
        error = context.get("exception")
        if self.stopping:
            log.debug("%s ends: %s", self.name, context.get("message"))
        elif not isinstance(error, OSError) or error.errno not in _NO_ROOM:
            loop.default_exception_handler(context)
        elif (now := self._clock()) - self._complained >= _QUIET:
            self._complained = now
            log.warning("%s: no further client can be let in: %s", self.name, error.strerror)

    def _later(self, call: Callable[[], None]) -> None:
        """On the loop's thread, from any; never, once the server has ended."""
        with suppress(RuntimeError):  # the loop is closed
            if self._loop is not None:
                self._loop.call_soon_threadsafe(call)

    def _wind_down(self) -> None:
        assert self._loop is not None
        self.stopping = True
        for server in self._servers:
            server.close()
        for guest in self._crowd.all():
            guest.retire()
        self._loop.call_later(self._grace, self._end_all)
        self._end_if_empty()

    def _end_all(self) -> None:
        assert self._loop is not None
        for guest in self._crowd.all():
            guest.dismiss()
        self._loop.call_soon(self._loop.stop)

    def _end_if_empty(self) -> None:
        if self.stopping and not self._crowd.all() and self._loop is not None:
            # Not at once: transports that were just closed have a last call to make.
            self._loop.call_soon(self._loop.stop)

    # What connections call

    def enter(self, guest: Connection) -> TlsPipe | None:
        self._crowd.enter(guest)
        if self.stopping:
            guest.dismiss()
        return self._gate.pipe()

    def leave(self, guest: Connection) -> None:
        self._crowd.leave(guest)
        self._end_if_empty()

    def served(self, guest: Connection) -> None:
        self._crowd.served(guest)

    def headers(self) -> Headers:
        return self._gate.headers

    def answer(self, guest: Connection, request: Request, done: Done) -> None:
        self._crowd.serve(guest)
        self._gate.admit(request, partial(self._admitted, request, done))

    # Requests

    def _admitted(self, request: Request, done: Done, refusal: Response | None) -> None:
        if refusal is not None:
            done(refusal)
        elif request.method not in METHODS:
            done(_NOT_ALLOWED)
        elif (route := self._route(request.path)) is None:
            done(_NOT_FOUND)
        elif not route.blocking:
            done(_handled(route.handler, request))
        elif 0 < self._max_requests <= self._running:
            done(self._too_many())
        else:
            self._running += 1
            self._workers.submit(partial(self._work, route.handler, request, done))

    def _too_many(self) -> Response:
        line = (
            f"{self._max_requests} requests are being answered, which is the limit; try again later"
        )
        return text(503, line, ("Retry-After", "5"))

    def _work(self, handler: Handler, request: Request, done: Done) -> HandOver:
        """In a worker's thread."""
        try:
            response = _handled(handler, request)
        except BaseException:  # the thread ends; the client is not to wait for it
            self._later(partial(self._finished, done, _FAILED))
            raise
        return partial(self._later, partial(self._finished, done, response))

    def _finished(self, done: Done, response: Response) -> None:
        self._running -= 1
        done(response)


def _handled(handler: Handler, request: Request) -> Response:
    try:
        return handler(request)
    except Exception:  # the connection goes on; the traceback says what happened
        log.exception("%s %s failed", request.method, request.path)
        return _FAILED


def _listen_all(addresses: Sequence[ListenAddress]) -> list[socket.socket]:
    """All or none."""
    sockets: list[socket.socket] = []
    try:
        for address in addresses:
            sockets.append(listen(address))
    except StartError:
        for one in sockets:
            one.close()
        raise
    return sockets


def _run(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()
