"""A fleet in one small process: every address of 127.0.0.0/8 answers with a metrics page.

One socket, bound to the loopback device, takes the connections for all addresses, so thousands of
them need no descriptor each. The page's values change from second to second. When each address
was asked is remembered; GET /-/report answers with it, as JSON, and forgets. What is POSTed is
thrown away: a sink for remote write.

Usage: server.py PAGE INTERVAL     prints the port
"""

import json
import resource
import select
import socket
import sys
import time
from array import array
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

_VARIANTS = 60
_SO_BINDTODEVICE = 25
_ACCEPTED = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"


def variants(page: bytes) -> list[bytes]:
    """The page as it may be at so many moments: two values of five go up, the others stay."""
    lines = page.rstrip(b"\n").split(b"\n")
    pages = []
    for turn in range(_VARIANTS):
        out = []
        for place, line in enumerate(lines):
            before, _, value = line.rpartition(b" ")
            if line[:1] != b"#" and place % 5 < 2:
                line = before + b" " + repr(float(value) + turn * (1 + place % 7) / 8).encode()
            out.append(line)
        body = b"\n".join(out) + b"\n"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
        pages.append(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    return pages


def listen() -> socket.socket:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, _SO_BINDTODEVICE, b"lo\0")  # nothing from outside
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)  # a page goes out in one piece
    server.bind(("0.0.0.0", 0))
    server.listen(4096)
    server.setblocking(False)
    return server


class Connection:
    """One client's: what has come in, what could not go out yet, how much of a body is to come."""

    __slots__ = ("asked", "left", "out", "seen", "sock")

    def __init__(self, sock: socket.socket, asked: "array[float]") -> None:
        self.sock, self.asked = sock, asked
        self.seen, self.out, self.left = b"", b"", 0


class Fleet:
    def __init__(self, pages: list[bytes], interval: float) -> None:
        self._pages, self._interval = pages, interval
        self._asked: dict[str, array[float]] = defaultdict(lambda: array("d"))
        self._since = time.time()
        self._epoll = select.epoll()
        self._connections: dict[int, Connection] = {}

    def run(self, server: socket.socket) -> None:
        self._epoll.register(server.fileno(), select.EPOLLIN)
        while True:
            for fd, event in self._epoll.poll():
                if fd == server.fileno():
                    self._accept(server)
                    continue
                connection = self._connections[fd]
                try:
                    if event & select.EPOLLOUT:
                        self._send(connection, b"")
                    if event & ~select.EPOLLOUT:
                        self._read(connection)
                except ConnectionError:
                    self._close(connection)

    def _accept(self, server: socket.socket) -> None:
        try:
            while True:
                sock, _ = server.accept()
                sock.setblocking(False)
                asked = self._asked[sock.getsockname()[0]]
                self._connections[sock.fileno()] = Connection(sock, asked)
                self._epoll.register(sock.fileno(), select.EPOLLIN)
        except BlockingIOError:
            pass

    def _read(self, connection: Connection) -> None:
        data = connection.sock.recv(1 << 18)
        if not data:
            raise ConnectionResetError
        connection.seen += data
        while self._answer(connection):
            pass

    def _answer(self, connection: Connection) -> bool:
        """Takes one request, or a piece of a body, off what was seen; False where there is none."""
        if connection.left:
            taken = min(connection.left, len(connection.seen))
            connection.left -= taken
            connection.seen = connection.seen[taken:]
            if connection.left == 0 and taken:
                self._send(connection, _ACCEPTED)
            return bool(taken)
        head, end, rest = connection.seen.partition(b"\r\n\r\n")
        if not end:
            return False
        connection.seen = rest
        if head.startswith(b"POST"):
            sizes = [h for h in head.lower().split(b"\r\n") if h.startswith(b"content-length:")]
            connection.left = int(sizes[0].partition(b":")[2])
        elif head.startswith(b"GET /-/report"):
            body = json.dumps(self._report()).encode()
            self._send(
                connection, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            )
        else:
            now = time.time()
            connection.asked.append(now)
            self._send(connection, self._pages[int(now) % _VARIANTS])
        return True

    def _send(self, connection: Connection, data: bytes) -> None:
        waited = bool(connection.out)
        data = connection.out + data
        try:
            sent = connection.sock.send(data)
        except BlockingIOError:
            sent = 0
        connection.out = data[sent:]
        if bool(connection.out) != waited:
            more = select.EPOLLOUT if connection.out else 0
            self._epoll.modify(connection.sock.fileno(), select.EPOLLIN | more)

    def _close(self, connection: Connection) -> None:
        self._epoll.unregister(connection.sock.fileno())
        del self._connections[connection.sock.fileno()]
        connection.sock.close()

    def _report(self) -> dict[str, float]:
        """How often anyone was asked since the last report, and how regularly.

        late: gaps between two requests to an address that are over a second longer than the
        interval, those to the ends of the time looked at included; longest: the longest gap.
        """
        now, late, longest, total = time.time(), 0, 0.0, 0
        for host, times in self._asked.items():
            if host == "127.0.0.1":  # who asks for the report, and remote write
                continue
            total += len(times)
            edges = [self._since, *times, now]
            gaps = [after - before for before, after in pairwise(edges)]
            late += sum(gap > self._interval + 1 for gap in gaps)
            longest = max(longest, *gaps)
            del times[:]
        report = {
            "seconds": now - self._since,
            "addresses": len(self._asked.keys() - {"127.0.0.1"}),
            "scrapes": total,
        }
        self._since = now
        return {**report, "late": late, "longest": longest, "connections": len(self._connections)}


def main() -> None:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    server = listen()
    print(server.getsockname()[1], flush=True)
    Fleet(variants(Path(sys.argv[1]).read_bytes()), float(sys.argv[2])).run(server)


if __name__ == "__main__":
    main()
