"""The server: listens, and takes each request to its route's handler."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fleetpulse.service import STOP_DEADLINE
from fleetpulse.values import ListenAddress
from fleetpulse.web.connection import Connection, Done
from fleetpulse.web.crowd import Crowd
from fleetpulse.web.http import METHODS, Headers, Request, Response, Route, text
from fleetpulse.web.listening import bound_to, listen
from fleetpulse.web.policy import OPEN, Policy, WatchedPolicy
from fleetpulse.web.tls import TlsPipe
from fleetpulse.web.workers import Workers

log = logging.getLogger(__name__)

_GRACE = STOP_DEADLINE - 1.5  # seconds for answers under way when the server stops
_MOST_THREADS = 64  # where max_requests sets no limit
_BUFFER = 16 << 10

Routes = Callable[[str], Route | None] | Mapping[str, Route]


class WebServer:
    """Serves GET and HEAD on one thread; blocking handlers run in others, begun as needed.

    routes: by path, or a function of it, called on the loop's thread.
    web_file: the web configuration file; it is looked at again while the server runs.
    max_requests: blocking requests at a time, past which the answer is 503; 0 sets no limit.
    patience: seconds in which a client must have sent its whole request, TLS and all, and in
    which it must have taken the answer. idle: seconds that a connection is kept without one.
    """

    def __init__(
        self,
        name: str,
        addresses: Sequence[ListenAddress],
        routes: Routes,
        *,
        web_file: Path | None = None,
        max_requests: int = 40,
        patience: float = 15.0,
        idle: float = 300.0,
        max_connections: int = 512,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name, self.addresses = name, list(addresses)
        self.patience, self.idle = patience, idle
        self.buffer = memoryview(bytearray(_BUFFER))
        self._route = routes.get if isinstance(routes, Mapping) else routes
        self._web_file, self._clock = web_file, clock
        self._policy: Policy = OPEN
        self._max_requests = max_requests
        self._workers = Workers(name, max_requests or _MOST_THREADS)
        self._crowd = Crowd(max_connections)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._listeners: list[asyncio.Server] = []

    # A service

    def start(self) -> None:
        """StartError where an address is taken or the web configuration file is wrong."""
        if self._web_file is not None:
            self._policy = WatchedPolicy(self._web_file, self._clock)
        sockets: list[socket.socket] = []
        try:
            for address in self.addresses:
                sockets.append(listen(address))
        except Exception:
            for one in sockets:
                one.close()
            raise
        self.addresses = list(map(bound_to, self.addresses, sockets))
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._accept_from(self._loop, sockets))
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Answers what is under way, for some seconds, then ends all connections."""
        loop, self._loop = self._loop, None
        if loop is None or self._thread is None:
            return
        loop.call_soon_threadsafe(self._wind_down, loop, loop.time() + _GRACE)
        self._thread.join(STOP_DEADLINE)
        if self._thread.is_alive():
            log.warning("%s did not end within %g s", self.name, STOP_DEADLINE)
        self._workers.close()
        self._policy.close()

    async def _accept_from(
        self, loop: asyncio.AbstractEventLoop, sockets: Sequence[socket.socket]
    ) -> None:
        for one in sockets:
            server = await loop.create_server(lambda: Connection(self, loop), sock=one)
            self._listeners.append(server)

    def _run(self) -> None:
        loop = self._loop
        ...
