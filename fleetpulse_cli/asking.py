"""How a role is asked whether it is ready."""

import socket
from http.client import HTTPConnection, HTTPException

from fleetpulse.values import ListenAddress


def ask_ready(address: ListenAddress) -> str | None:
    """A role's ready line, or None. Asked directly, whatever proxy the environment names."""
    connection = HTTPConnection(address.reachable, address.port, timeout=2)
    try:
        connection.request("GET", "/-/ready")
        answer = connection.getresponse()
        text = answer.read(4096).decode(errors="replace").strip()
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()
    return text if answer.status == 200 else None


def ask_open(address: ListenAddress) -> str | None:
    """An empty line once somebody listens there: of a role that speaks to those alone it knows."""
    try:
        socket.create_connection((address.reachable, address.port), timeout=2).close()
    except OSError:
        return None
    return ""
