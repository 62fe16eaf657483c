"""Where connections wait until their request has come, so that silence costs no thread."""

import logging
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fleetpulse.service import STOP_DEADLINE

log = logging.getLogger(__name__)

_ENOUGH = 16384  # bytes of a request that are not waited beyond; its reader has limits of its own
_TURN = 0.2  # seconds

Admit = Callable[[socket.socket, Any], None]


@dataclass(frozen=True, slots=True)
class _Guest:
    connection: socket.socket
    address: Any
    until: float


class Lobby:
    """Hands a connection to admit once all of its request's head is there.

    It is only looked at: the reader finds every byte. A connection that stays silent for longer
    than patience seconds is closed; of more than limit the one that has waited longest is.
    add() from any thread; admit is called on the lobby's own.
    """

    def __init__(
        self,
        admit: Admit,
        *,
        limit: int = 256,
        patience: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._admit, self._limit, self._patience, self._clock = admit, limit, patience, clock
        self._waiting: dict[int, _Guest] = {}  # by descriptor, in the order of their coming
        self._lock = threading.Lock()
        self._epoll = select.epoll()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lobby", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Closes all that waits. Idempotent; also without a start."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_DEADLINE)
        with self._lock:
            for descriptor in list(self._waiting):
                self._dismiss(descriptor)
        self._epoll.close()

    def add(self, connection: socket.socket, address: Any) -> None:
        with self._lock:
            if len(self._waiting) >= self._limit:
                self._dismiss(next(iter(self._waiting)))
            guest = _Guest(connection, address, self._clock() + self._patience)
            self._waiting[connection.fileno()] = guest
            # Edge-triggered: what was looked at and found too little wakes nobody a second time.
            self._epoll.register(connection, select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLET)

    def _run(self) -> None:
        while not self._stopping.is_set():
            for descriptor, _ in self._epoll.poll(_TURN):
                guest = self._ready(descriptor)
                if guest is not None:
                    self._let_in(guest)
            self._expire()

    def _let_in(self, guest: _Guest) -> None:
        try:
            self._admit(guest.connection, guest.address)
        except Exception:  # one connection's fault must not end all others' waiting
            log.exception("connection of %s not admitted", guest.address)
            guest.connection.close()

    def _ready(self, descriptor: int) -> _Guest | None:
        """The guest, no longer one, if its request is there."""
        with self._lock:
            guest = self._waiting.get(descriptor)
            if guest is None:
                return None
            try:
                seen = guest.connection.recv(_ENOUGH, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            except OSError:
                seen = b""
            if not seen:
                self._dismiss(descriptor)
            elif len(seen) >= _ENOUGH or b"\r\n\r\n" in seen or b"\n\n" in seen:
                self._epoll.unregister(descriptor)
                return self._waiting.pop(descriptor)
        return None

    def _expire(self) -> None:
        now = self._clock()
        with self._lock:
            late = [number for number, guest in self._waiting.items() if guest.until <= now]
            for descriptor in late:
                self._dismiss(descriptor)

    def _dismiss(self, descriptor: int) -> None:
        guest = self._waiting.pop(descriptor)
        with suppress(OSError):
            self._epoll.unregister(descriptor)
        guest.connection.close()
