"""Sockets that wait for connections."""

import errno
import socket
from typing import Any

from fleetpulse.errors import cannot_listen
from fleetpulse.values import ListenAddress

BACKLOG = 512
_ALL = ("", "0.0.0.0", "::")  # noqa: S104 - compared, not bound
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


def listen(address: ListenAddress) -> socket.socket:
    """A listening socket; StartError says which address is taken and what to do.

    All addresses are those of IPv6 too, however they are written, as Go has it; only those of
    IPv4 where the system has no IPv6.
    """
    try:
        if address.host in _ALL:
            return _everywhere(address.port)
        family, where = _resolved(address)
        return _bound(family, where)
    except OSError as err:
        raise cannot_listen(address, err) from err


def bound_to(address: ListenAddress, listener: socket.socket) -> ListenAddress:
    """address with the port that 0 became."""
    return ListenAddress(address.host, listener.getsockname()[1])


def _resolved(address: ListenAddress) -> tuple[int, Any]:
    # As bytes an address goes without the codec for names in other scripts, which is half a MB.
    host = address.host.encode() if address.host.isascii() else address.host
    found = socket.getaddrinfo(host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    # A name may have addresses of both kinds: IPv4 first, where scrapers look first.
    family, _, _, _, where = min(found, key=lambda info: info[0] != socket.AF_INET)
    return family, where


def _everywhere(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        try:
            return _bound(socket.AF_INET6, ("::", port), dual=True)
        except OSError as err:
            if err.errno not in _NO_IPV6:  # switched off, though the system knows it
                raise
    return _bound(socket.AF_INET, ("0.0.0.0", port))  # noqa: S104 - all addresses are asked for


def _bound(family: int, where: Any, *, dual: bool = False) -> socket.socket:
    # With the protocol told, asyncio sets TCP_NODELAY: else the second of two writes, such as the
    # answer after TLS's tickets, would wait 40 ms for the first one's acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        listener.bind(where)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
