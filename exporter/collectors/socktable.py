"""The kernel's tables of sockets: /proc/net/tcp, tcp6, udp and udp6."""

import re

# Number, local and remote address, state, queues; then columns that nobody here needs.
_SOCKET = re.compile(
    rb"^ *\d+: [0-9A-F]+:[0-9A-F]+ [0-9A-F]+:[0-9A-F]+ ([0-9A-F]+) ([0-9A-F]+):([0-9A-F]+) ",
    re.MULTILINE,
)

# As in the file: state, bytes waiting to be sent and to be read, each in hexadecimal.
Socket = tuple[bytes, bytes, bytes]


def parse(raw: bytes) -> list[Socket]:
    """A heading, then a line a socket. ValueError where a line is none."""
    sockets: list[Socket] = _SOCKET.findall(raw)
    lines = raw.rstrip().count(b"\n")
    if len(sockets) != lines or b"local_address" not in raw[: raw.find(b"\n") + 1]:
        raise ValueError(f"a table of sockets: only {len(sockets)} of {lines} lines are sockets")
    return sockets


def queued(sockets: list[Socket]) -> tuple[int, int]:
    """Bytes waiting to be sent and to be read, of all sockets."""
    return (
        sum(int(sent, 16) for _, sent, _ in sockets),
        sum(int(received, 16) for _, _, received in sockets),
    )
