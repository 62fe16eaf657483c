"""Tells systemd how a service is: ready, reloading, stopping, alive. Without systemd, nothing.

A datagram of `NAME=value` lines to the socket that NOTIFY_SOCKET names, as in sd_notify(3); how
often systemd wants to hear that the service is alive is in WATCHDOG_USEC, sd_watchdog_enabled(3).
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Self

from fleetpulse.service import Periodic

log = logging.getLogger(__name__)

_SEND_TIMEOUT = 1.0  # seconds; systemd may be busy, and that must not hold a service
_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class SystemdNotify:
    """A service's word to its manager; safe from any thread, and never a reason to fail.

    address: of the manager's socket, empty where there is none. watchdog: within so many seconds
    the manager wants to hear that the service is alive; None if it does not. It is told so twice in
    that time, and only while healthy() is true: silence makes it kill and restart the service.
    """

    def __init__(
        self,
        address: str,
        watchdog: float | None = None,
        *,
        healthy: Callable[[], bool] = lambda: True,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        send_timeout: float = _SEND_TIMEOUT,
    ) -> None:
        self._send_timeout = send_timeout
        self._address, self._healthy, self._monotonic_ns = address, healthy, monotonic_ns
        self._failed = self._silent = False  # as was logged last
        self._alive: Periodic | None = None
        if address and watchdog is not None:
            self._alive = Periodic("watchdog", self.look, watchdog / 2)

    @classmethod
    def taken_from(
        cls, environ: MutableMapping[str, str], *, healthy: Callable[[], bool] = lambda: True
    ) -> Self:
        """What the manager asked this process for; the variables are removed from environ.

        For they are not meant for child processes, which would speak for this one.
        """
        found = {name: environ.pop(name, "") for name in _VARIABLES}
        watchdog = watchdog_seconds(found["WATCHDOG_USEC"], found["WATCHDOG_PID"], os.getpid())
        return cls(found["NOTIFY_SOCKET"], watchdog, healthy=healthy)

    def started(self) -> None:
        self.send("READY=1")
        if self._alive is not None:
            self._alive.start()

    def reloading(self) -> None:
        # With the time, so that Type=notify-reload can tell this reload from an earlier one.
        self.send("RELOADING=1", f"MONOTONIC_USEC={self._monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        self.send("READY=1")

    def stopping(self) -> None:
        self.send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for people, as `systemctl status` shows it."""
        self.send(f"STATUS={' '.join(text.split())}")

    def close(self) -> None:
        """The last: the manager hears that the service is alive until then."""
        if self._alive is not None:
            self._alive.stop()

    def look(self) -> None:
        """One turn of the watchdog: says that the service is alive, if it is."""
        healthy = self._healthy()
        if healthy:
            self.send("WATCHDOG=1")
        elif not self._silent:
            log.error("the service is stuck; systemd is not told any more that it is alive")
        self._silent = not healthy

    def send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(self._send_timeout)
                sender.sendto("\n".join(lines).encode(), socket_address(self._address))
        except (OSError, ValueError) as err:
            if not self._failed:
                log.warning("NOTIFY_SOCKET=%s: systemd cannot be told: %s", self._address, err)
            self._failed = True


def for_children(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without what the manager set for this process alone."""
    return {name: value for name, value in environ.items() if name not in _VARIABLES}


def socket_address(name: str) -> str:
    """The address of a UNIX socket as NOTIFY_SOCKET has it: a path, or @ and an abstract name.

    ValueError for what is neither (vsock, between virtual machines).
    """
    if name.startswith("@"):
        return "\0" + name[1:]
    if name.startswith("/"):
        return name
    raise ValueError("neither a path nor an abstract name")


def watchdog_seconds(usec: str, pid: str, own_pid: int) -> float | None:
    """The watchdog's time, if there is one and it is for this process."""
    if not usec.isascii() or not usec.isdigit() or int(usec) == 0:
        return None
    if pid and pid != str(own_pid):
        return None
    return int(usec) / 1e6
