"""One client: its bytes become requests, their answers go back in order, and nothing lasts."""

import asyncio
import logging
from collections.abc import Callable
from enum import Enum, auto
from math import inf
from typing import Protocol

from fleetpulse.web.http import Headers, Request, Response, message, text
from fleetpulse.web.reading import Read, RefusedError, RequestReader
from fleetpulse.web.tls import TlsError, TlsPipe

log = logging.getLogger(__name__)

_PIPELINE = 64 << 10  # bytes of further requests that are kept while one is being answered
_LINGER = 2.0  # seconds in which a refused client may go on sending what nobody reads

Done = Callable[[Response], None]


class House(Protocol):
    """What a connection needs of its server; all of it on the loop's thread."""

    patience: float  # seconds for a whole head, for the TLS handshake, for taking an answer
    idle: float  # seconds that a connection lives without a request
    buffer: memoryview  # shared by all connections: what is read leaves it at once
    stopping: bool

    def enter(self, guest: "Connection") -> TlsPipe | None: ...
    def leave(self, guest: "Connection") -> None: ...
    def headers(self) -> Headers: ...
    def answer(self, guest: "Connection", request: Request, done: Done) -> None:
        """Calls done once, now or later."""

    def served(self, guest: "Connection") -> None: ...


class _Phase(Enum):
    READING = auto()  # for a request, of which a part may be there
    ANSWERING = auto()
    SENDING = auto()  # an answer that the client does not take at once
    TURNING = auto()  # to the next request, of which there are bytes, after the other clients
    DEAF = auto()  # refused: what still comes is thrown away
    GONE = auto()


class Connection(asyncio.BufferedProtocol):
    """A client's requests, one after the other. On the loop's thread alone."""

    def __init__(self, house: House, loop: asyncio.AbstractEventLoop) -> None:
        self._house, self._loop = house, loop
        self._reader = RequestReader()
        self._phase = _Phase.READING
        self._fresh = True  # no whole request has come yet
        self._ended = False  # the client will send no more
        self._paused = False
        self._read: Read | None = None  # what is being answered
        self._until = inf  # by the loop's clock: when the client has had its time
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport
        self._tls: TlsPipe | None = None

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # So that pause_writing() tells of every byte that the client does not take.
        transport.set_write_buffer_limits(high=0)
        self._limit(self._house.patience)
        self._tls = self._house.enter(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        return self._house.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._phase is _Phase.DEAF or self._phase is _Phase.GONE:
            return
        received = self._house.buffer[:nbytes]
        data = received if self._tls is None else self._deciphered(self._tls, received)
        if data:
            self._reader.feed(data)
            self._proceed()

    def eof_received(self) -> bool:
        """True keeps the way back open: a client may close its own and still want its answer."""
        self._ended = True
        return self._phase in (_Phase.ANSWERING, _Phase.SENDING, _Phase.TURNING)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._phase is _Phase.SENDING:
            self._rest()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._phase = _Phase.GONE
        if self._timer is not None:
            self._timer.cancel()
        self._house.leave(self)

    # What the house calls

    def dismiss(self) -> None:
        """Ends at once."""
        self._phase = _Phase.GONE
        self._transport.abort()

    def retire(self) -> None:
        """Ends when the answer that is being made, or sent, is out."""
        if self._phase in (_Phase.READING, _Phase.TURNING):
            self._close()

    # Reading

    def _deciphered(self, tls: TlsPipe, data: memoryview) -> bytes:
        """What the client wrote; ends the connection where that is not what TLS is."""
        try:
            plain = tls.feed(data)
        except TlsError as err:
            log.debug("TLS with %s failed: %s", self._transport.get_extra_info("peername"), err)
            self._transport.write(err.farewell)
            self._leave_slowly()
            return b""
        self._transport.write(tls.outgoing())
        if tls.ended:
            self._ended = True
            if not plain and self._phase is _Phase.READING:
                self._transport.close()
        return plain

    def _proceed(self) -> None:
        """Begins with the next request, if it is there and its turn has come."""
        if self._phase is not _Phase.READING:
            if self._reader.waiting > _PIPELINE:
                self._transport.pause_reading()
            return
        try:
            read = self._reader.next()
        except RefusedError as err:
            self._refuse(err)
            return
        if read is not None:
            self._begin(read)
        elif self._ended:
            self._transport.close()
        elif not self._fresh and self._until > self._loop.time() + self._house.patience:
            self._limit(self._house.patience)  # for the rest of what has begun

    def _begin(self, read: Read) -> None:
        self._phase, self._fresh, self._read = _Phase.ANSWERING, False, read
        self._until = inf
        self._house.answer(self, read.request, self._answered)

    # Answering

    def _answered(self, response: Response) -> None:
        read, self._read = self._read, None
        if self._phase is not _Phase.ANSWERING or read is None:
            return  # the client has gone
        self._house.served(self)
        keep = read.keep and not self._house.stopping
        self._write(self._message(response, keep, read.request.method == "HEAD"))
        if not keep:
            self._close()
        elif self._paused:
            self._phase = _Phase.SENDING
            self._limit(self._house.patience)
        else:
            self._rest()

    def _message(self, response: Response, keep: bool, bodiless: bool) -> bytes:
        extra = self._house.headers()
        try:
            return message(response, extra=extra, keep=keep, bodiless=bodiless)
        except ValueError:
            log.exception("an answer cannot be sent")
            failed = text(500, "Internal Server Error")
            return message(failed, extra=extra, keep=keep, bodiless=bodiless)

    def _write(self, data: bytes) -> None:
        self._transport.write(data if self._tls is None else self._tls.seal(data))

    def _rest(self) -> None:
        """The answer is out: the next request may come, or is there already."""
        if self._house.stopping:
            self._close()
            return
        self._phase = _Phase.READING
        self._limit(self._house.idle)
        if not self._transport.is_reading() and self._reader.waiting <= _PIPELINE:
            self._transport.resume_reading()
        if self._reader.waiting or self._ended:
            # Not at once: who sends a thousand requests together must not keep out the others.
            self._phase = _Phase.TURNING
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        if self._phase is _Phase.TURNING:
            self._phase = _Phase.READING
            self._proceed()

    def _refuse(self, err: RefusedError) -> None:
        self._write(self._message(text(err.status, str(err)), keep=False, bodiless=False))
        self._leave_slowly()

    # Ending

    def _close(self) -> None:
        """Once all is sent, or patience has an end."""
        self._phase = _Phase.DEAF
        self._limit(self._house.patience)
        if self._tls is not None:
            self._transport.write(self._tls.goodbye())
        self._transport.close()

    def _leave_slowly(self) -> None:
        """Ends our side and waits a little for the other.

        To close at once, with bytes of the client unread, would make the system take back the
        answer that says what was wrong.
        """
        self._phase = _Phase.DEAF
        self._limit(min(_LINGER, self._house.patience))
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _limit(self, seconds: float) -> None:
        """From now on; one timer does for all, since most limits are never reached."""
        self._until = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer.when() <= self._until:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(self._until, self._look_at_clock)

    def _look_at_clock(self) -> None:
        self._timer = None
        if self._loop.time() >= self._until:
            self.dismiss()
        elif self._until < inf:
            self._timer = self._loop.call_at(self._until, self._look_at_clock)
