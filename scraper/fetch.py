"""Fetches pages with libcurl's multi interface over epoll: thousands at a time, in one thread.

Only the URL asked for is contacted, through a proxy where one is configured: no other protocols,
and a redirect is followed to the same scheme, host and port alone. libcurl keeps connections
alive between scrapes.
"""

import logging
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pycurl

from fleetpulse.errors import StartError
from scraper.client import Client, Request

log = logging.getLogger(__name__)

_MAX_REDIRECTS = 5
_MAX_HELD = 256 << 20  # bytes of unfinished bodies, of all requests together
# A failure's reason, as it is counted, by libcurl's code.
_REASONS = {
    pycurl.E_OPERATION_TIMEDOUT: "timeout",
    pycurl.E_COULDNT_CONNECT: "connect",
    pycurl.E_COULDNT_RESOLVE_HOST: "resolve",
    pycurl.E_PEER_FAILED_VERIFICATION: "tls",
    pycurl.E_SSL_CONNECT_ERROR: "tls",
    pycurl.E_SSL_CERTPROBLEM: "tls",
    pycurl.E_SSL_CACERT_BADFILE: "tls",
    pycurl.E_BAD_CONTENT_ENCODING: "encoding",
    pycurl.E_COULDNT_RESOLVE_PROXY: "proxy",
    97: "proxy",  # CURLE_PROXY, for which pycurl has no name
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A page, or the reason (one word) and text of why there is none. duration in seconds."""

    duration: float
    body: bytes = b""
    content_type: str = ""
    reason: str = ""
    error: str = ""


Done = Callable[[Answer], None]


class _Transfer:
    """One request under way. write() is libcurl's callback and the only hot thing here."""

    __slots__ = ("began", "client", "done", "held", "over", "parts", "redirects", "request", "size")

    def __init__(
        self, client: Client, request: Request, done: Done, began: float, held: "_Held"
    ) -> None:
        self.client, self.request, self.done, self.began = client, request, done, began
        self.held = held
        self.parts: list[bytes] = []
        self.size = self.redirects = 0
        self.over = ""

    def write(self, chunk: bytes) -> int | None:
        """Keeps a piece of the body, unpacked; answering anything but None or its size aborts."""
        self.size += len(chunk)
        self.held.size += len(chunk)
        limit = self.request.body_limit
        if limit and self.size > limit:
            self.over = f"body_size_limit exceeded: the page is larger than {limit} bytes"
            return 0
        if self.held.size > _MAX_HELD:
            self.over = "too many large pages at once; lower body_size_limit"
            return 0
        self.parts.append(chunk)
        return None

    def let_go(self) -> bytes:
        """The body so far, which is forgotten here: the handle, which is kept, holds on to this."""
        body = b"".join(self.parts)
        self.held.size -= self.size
        self.parts, self.size = [], 0
        return body


class _Held:
    """How many bytes the transfers of a fetcher hold together."""

    size = 0


class Fetcher:
    """start() takes requests, run() gets on with them and calls back. Of one thread only."""

    def __init__(
        self, *, max_connections: int = 1000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._multi = pycurl.CurlMulti()
        self._epoll = select.epoll()
        self._wake_at: float | None = None  # when libcurl wants to be asked about time-outs
        self._active: dict[Any, _Transfer] = {}
        self._held = _Held()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._on_socket)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._on_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, max_connections)

    @property
    def active(self) -> int:
        """Requests under way."""
        return len(self._active)

    def expect(self, connections: int) -> None:
        """How many connections are to be kept alive; some more than that are."""
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections + 100)

    def start(self, client: Client, request: Request, done: Done) -> None:
        """Begins; done is called from run(), or at once where no request can be made."""
        transfer = _Transfer(client, request, done, self._clock(), self._held)
        try:
            easy = client.take(request)
            url = request.url
            if name := client.http.tls_config.server_name:
                easy.setopt(pycurl.CONNECT_TO, [f"::{urlsplit(url).netloc}"])
                url = _named(url, name)
            self._send(easy, transfer, url, request.timeout)
        except StartError as err:
            done(Answer(0.0, reason="credentials", error=str(err)))
        except (pycurl.error, ValueError) as err:
            done(Answer(0.0, reason="request", error=f"libcurl takes no such request: {err}"))

    def run(self, seconds: float) -> None:
        """Waits up to that long for something to happen and deals with it."""
        now = self._clock()
        if self._wake_at is not None:
            seconds = min(seconds, self._wake_at - now)
        # Python rounds up to whole milliseconds, so a short wait never turns into a busy loop.
        for fd, event in self._epoll.poll(max(0.0, seconds)):
            reading = pycurl.CSELECT_IN if event & ~select.EPOLLOUT else 0
            writing = pycurl.CSELECT_OUT if event & select.EPOLLOUT else 0
            self._multi.socket_action(fd, reading | writing)
        if self._wake_at is not None and self._wake_at <= self._clock():
            self._wake_at = None
            self._multi.socket_action(pycurl.SOCKET_TIMEOUT, 0)
        self._collect()

    def close(self) -> None:
        """Gives up what is under way, without a word to those who asked."""
        for easy, transfer in self._active.items():
            self._multi.remove_handle(easy)
            transfer.client.give_back(easy, keep=False)
        self._active.clear()
        self._multi.close()
        self._epoll.close()

    def _send(self, easy: Any, transfer: _Transfer, url: str, timeout: float) -> None:
        easy.setopt(pycurl.URL, url.encode())
        easy.setopt(pycurl.TIMEOUT_MS, max(1, round(timeout * 1000)))
        easy.setopt(pycurl.WRITEFUNCTION, transfer.write)
        self._multi.add_handle(easy)
        self._active[easy] = transfer

    def _on_socket(self, event: int, fd: int, _multi: object, _data: object) -> None:
        if event == pycurl.POLL_REMOVE:
            try:
                self._epoll.unregister(fd)
            except OSError:
                log.debug("socket %d was gone already", fd)
            return
        mask = select.EPOLLIN if event & pycurl.POLL_IN else 0
        mask |= select.EPOLLOUT if event & pycurl.POLL_OUT else 0
        try:
            self._epoll.modify(fd, mask)
        except FileNotFoundError:
            self._epoll.register(fd, mask)

    def _on_timer(self, milliseconds: int) -> None:
        self._wake_at = None if milliseconds < 0 else self._clock() + milliseconds / 1000

    def _collect(self) -> None:
        queued = 1
        while queued:
            queued, succeeded, failed = self._multi.info_read()
            for easy in succeeded:
                transfer = self._release(easy)
                try:
                    self._succeeded(easy, transfer)
                except Exception as err:  # one answer must not cost others theirs
                    log.exception("the answer of %s could not be dealt with", transfer.request.url)
                    error = f"the answer could not be dealt with: {err}"
                    self._finish(easy, transfer, Answer(0.0, reason="transfer", error=error))
            for easy, code, text in failed:
                self._failed(easy, self._release(easy), code, text)

    def _release(self, easy: Any) -> _Transfer:
        self._multi.remove_handle(easy)
        return self._active.pop(easy)

    def _finish(self, easy: Any, transfer: _Transfer, answer: Answer) -> None:
        transfer.let_go()
        transfer.client.give_back(easy, keep=True)
        transfer.done(answer)

    def _failed(self, easy: Any, transfer: _Transfer, code: int, text: str) -> None:
        duration = self._clock() - transfer.began
        reason = "body_limit" if transfer.over else _REASONS.get(code, "transfer")
        text = transfer.over or text or f"libcurl error {code}"
        self._finish(easy, transfer, Answer(duration, reason=reason, error=text))

    def _succeeded(self, easy: Any, transfer: _Transfer) -> None:
        status = easy.getinfo(pycurl.RESPONSE_CODE)
        duration = self._clock() - transfer.began
        if status == 200:
            kind = _text(easy, pycurl.CONTENT_TYPE)
            self._finish(easy, transfer, Answer(duration, transfer.let_go(), kind))
            return
        location = _text(easy, pycurl.REDIRECT_URL)
        if location and transfer.client.http.follow_redirects:
            self._redirected(easy, transfer, location, duration)
            return
        error = f"server returned HTTP status {status}"
        self._finish(easy, transfer, Answer(duration, reason="status", error=error))

    def _redirected(self, easy: Any, transfer: _Transfer, location: str, spent: float) -> None:
        """Follows within the same origin, where the credentials may go and nothing new is met."""
        transfer.redirects += 1
        error = ""
        if _origin(location) != _origin(_text(easy, pycurl.EFFECTIVE_URL)):
            error = f"redirect to another host refused: {without_query(location)}"
        elif transfer.redirects > _MAX_REDIRECTS:
            error = f"more than {_MAX_REDIRECTS} redirects"
        if error:
            self._finish(easy, transfer, Answer(spent, reason="redirect", error=error))
            return
        transfer.let_go()
        self._send(easy, transfer, location, transfer.request.timeout - spent)


def _text(easy: Any, info: int) -> str:
    """What libcurl knows as text, some of which a target has written as it liked."""
    return (easy.getinfo_raw(info) or b"").decode(errors="replace")


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of a URL; one that is none is equal to no other's."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return (url, "", None)
    return parts.scheme, parts.hostname or "", port


def _named(url: str, name: str) -> str:
    """The URL with another host, by which the certificate is checked."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{name}:{parts.port or 443}"))


def without_query(url: str) -> str:
    """A URL fit to be shown: what follows ? or is before @ may be a secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a broken URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:200]
