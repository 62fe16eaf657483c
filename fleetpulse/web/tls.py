"""TLS between a transport's bytes and a connection's.

In memory, and not by asyncio's own layer: so each connection takes the context that is right when
it comes, and the plain transport under it tells what the client has not taken yet.
"""

import ssl
from collections.abc import Callable
from contextlib import suppress

_PIECE = 16 << 10  # bytes; the most that a TLS record holds
_PLAIN = (
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    b"this port speaks TLS; ask with https://\n"
)

Verdict = Callable[[ssl.SSLObject], str | None]


class TlsError(Exception):
    """The other side does not speak TLS as it should; farewell is what to send it, an alert."""

    def __init__(self, message: str, farewell: bytes) -> None:
        super().__init__(message)
        self.farewell = farewell


class TlsPipe:
    """The server's end of one TLS connection. judge says, after the handshake, why not to go on."""

    def __init__(self, context: ssl.SSLContext, judge: Verdict) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=True)
        self._judge, self._shaken = judge, False
        self.ended = False  # the client has said that it sends no more

    def feed(self, data: memoryview) -> bytes:
        """What the client wrote, in the clear. TlsError ends the connection."""
        self._in.write(data)
        plain = bytearray()
        try:
            if not self._shaken:
                self._shake()
            while piece := self._tls.read(_PIECE):
                plain += piece
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as err:
            raise TlsError(err.reason or str(err), self._farewell(err)) from err
        return bytes(plain)

    def outgoing(self) -> bytes:
        """What is to be sent now: handshakes, tickets, alerts."""
        return self._out.read()

    def seal(self, data: bytes) -> bytes:
        """The bytes that carry data."""
        left = memoryview(data)
        while left:
            left = left[self._tls.write(left) :]
        return self._out.read()

    def goodbye(self) -> bytes:
        """The word that the server sends no more."""
        with suppress(ssl.SSLError):  # it wants to read the client's own, which nobody waits for
            self._tls.unwrap()
        return self._out.read()

    def _shake(self) -> None:
        self._tls.do_handshake()
        self._shaken = True
        if (why := self._judge(self._tls)) is not None:
            raise TlsError(why, b"")

    def _farewell(self, err: ssl.SSLError) -> bytes:
        return _PLAIN if err.reason == "HTTP_REQUEST" else self._out.read()
