"""Bytes in, requests out: h11 with limits on what a client may send."""

from dataclasses import dataclass
from urllib.parse import unquote

import h11

from fleetpulse.web.http import Request

HEAD_LIMIT = 16 << 10  # bytes of a request's first line and headers
BODY_LIMIT = 16 << 10  # bytes of a body that are read past, since nothing here has a use for one


class RefusedError(Exception):
    """Bytes that are no request to answer; the connection cannot go on after them."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Read:
    request: Request
    keep: bool  # whether the client wants to send another one


class RequestReader:
    """Cuts what a client sends into requests. No I/O and no clock.

    Each request has an h11.Connection of its own: their heads are all that h11 is needed for, and
    the other half of its state machine would cost more than making a new one. Who scrapes sends the
    same bytes each time; those are not even parsed again.
    """

    def __init__(self) -> None:
        self._unread = bytearray()
        self._parser = h11.Connection(h11.SERVER, HEAD_LIMIT)
        self._head: h11.Request | None = None
        self._body = 0
        # What the parser was given: nothing yet, one piece, or None for several.
        self._piece: bytes | None = b""
        self._last: tuple[bytes, Read] | None = None  # a request that came alone and in one piece

    def feed(self, data: bytes | memoryview) -> None:
        self._unread += data

    @property
    def waiting(self) -> int:
        """Bytes that were fed and not looked at yet."""
        return len(self._unread)

    def next(self) -> Read | None:
        """The next request once all of it is there. RefusedError where there cannot be one."""
        if self._last is not None and self._piece == b"" and self._unread == self._last[0]:
            self._unread.clear()
            return self._last[1]
        try:
            while self._unread:
                self._feed()
                if (read := self._step()) is not None:
                    return read
        except h11.RemoteProtocolError as err:
            raise RefusedError(err.error_status_hint, _said(err)) from err
        return None

    def _feed(self) -> None:
        """Hands over no more than a head may have: h11 takes a longer one that comes at once."""
        room = HEAD_LIMIT + 1 - len(self._parser.trailing_data[0])
        piece = bytes(self._unread[:room])
        del self._unread[:room]
        self._piece = piece if self._piece == b"" else None
        self._parser.receive_data(piece)

    def _step(self) -> Read | None:
        """All that h11 makes of what it has; None where it needs more."""
        parser = self._parser
        while (event := parser.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.Request):
                self._admit(event)
            elif isinstance(event, h11.Data):
                self._body += len(event.data)
                if self._body > BODY_LIMIT:
                    raise RefusedError(413, "no request here has a body")
            elif isinstance(event, h11.EndOfMessage):
                return self._complete()
        return None

    def _admit(self, head: h11.Request) -> None:
        if head.http_version not in (b"1.1", b"1.0"):
            raise RefusedError(505, "HTTP/1.1 and HTTP/1.0 are spoken here")
        if {name for name, _ in head.headers} >= {b"content-length", b"transfer-encoding"}:
            # Two lengths: whoever stands between may take the other one (RFC 9112, section 6.1).
            raise RefusedError(400, "this is no HTTP request")
        if self._parser.they_are_waiting_for_100_continue:
            raise RefusedError(417, "no request here has a body")
        self._head = head

    def _complete(self) -> Read:
        head = self._head
        assert head is not None
        read = Read(_request(head), keep=self._parser.their_state is h11.DONE)
        self._unread[:0] = self._parser.trailing_data[0]
        if self._piece and not self._unread:
            self._last = self._piece, read
        self._parser = h11.Connection(h11.SERVER, HEAD_LIMIT)
        self._head, self._body, self._piece = None, 0, b""
        return read


def _request(head: h11.Request) -> Request:
    headers: dict[str, str] = {}
    for raw_name, raw_value in head.headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    path, _, query = head.target.decode("latin-1").partition("?")
    if not path.startswith("/") and "://" in path:  # the form that proxies are sent
        path = "/" + path.partition("://")[2].partition("/")[2]
    if "%" in path:
        path = unquote(path)
    return Request(head.method.decode("latin-1"), path, query, headers)


def _said(err: h11.RemoteProtocolError) -> str:
    if err.error_status_hint == 431:
        return f"the request's head is longer than {HEAD_LIMIT >> 10} KB"
    return "this is no HTTP request"
