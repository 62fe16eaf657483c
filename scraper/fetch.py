"""Fetches pages with libcurl's multi interface over epoll: thousands at a time, in one thread.

Only the URL asked for is contacted: no proxies, no other protocols, and a redirect is followed
to the same scheme, host and port alone. libcurl keeps connections alive between scrapes.
"""

import logging
import select
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pycurl

from fleetpulse import __version__
from fleetpulse.errors import StartError
from scraper.config import ScrapeJob, TlsConfig
from scraper.credentials import Credentials, Login

log = logging.getLogger(__name__)

# As Prometheus asks: OpenMetrics rather than text, text rather than nothing.
_ACCEPT = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
_MAX_REDIRECTS = 5
_BUFFER = 128 << 10  # bytes read at a time: most pages come in one piece
_IDLE_HANDLES = 512  # kept for reuse by each job
_MAX_HELD = 256 << 20  # bytes of unfinished bodies, of all requests together
_QUICK_EXIT = 322  # CURLOPT_QUICK_EXIT, for which pycurl has no name
_TLS = {
    "TLS10": (pycurl.SSLVERSION_TLSv1_0, pycurl.SSLVERSION_MAX_TLSv1_0),
    "TLS11": (pycurl.SSLVERSION_TLSv1_1, pycurl.SSLVERSION_MAX_TLSv1_1),
    "TLS12": (pycurl.SSLVERSION_TLSv1_2, pycurl.SSLVERSION_MAX_TLSv1_2),
    "TLS13": (pycurl.SSLVERSION_TLSv1_3, pycurl.SSLVERSION_MAX_TLSv1_3),
}
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
}


@dataclass(frozen=True, slots=True)
class Request:
    """timeout in seconds, for all of it; body_limit in bytes, unpacked, 0 for none."""

    url: str
    timeout: float
    body_limit: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A page, or the reason (one word) and text of why there is none. duration in seconds."""

    duration: float
    body: bytes = b""
    openmetrics: bool = False
    reason: str = ""
    error: str = ""


Done = Callable[[Answer], None]


class Client:
    """A job's way of fetching: its handles, with all that is the same for every request set."""

    def __init__(self, job: ScrapeJob, credentials: Credentials | None = None) -> None:
        self.job = job
        self.retired = False  # its handles are not to be kept
        self._credentials = credentials or Credentials(job)
        self._free: list[Any] = []

    def take(self, request: Request) -> Any:
        """A handle ready but for the URL. StartError where a secret cannot be read."""
        login = self._credentials.current()
        easy = self._free.pop() if self._free else self._new()
        # Behind a server_name the URL has that name, and the Host header must be told apart.
        host = urlsplit(request.url).netloc if self.job.tls_config.server_name else ""
        if easy.settings != (login, request.timeout, host):
            self._set_headers(easy, login, request.timeout, host)
        return easy

    def give_back(self, easy: Any, *, keep: bool) -> None:
        """The handle after its request, or to be closed."""
        if keep and not self.retired and len(self._free) < _IDLE_HANDLES:
            self._free.append(easy)
        else:
            easy.close()

    def close(self) -> None:
        self.retired = True
        while self._free:
            self._free.pop().close()

    def _new(self) -> Any:
        job, easy = self.job, pycurl.Curl()
        easy.settings = None
        easy.setopt(pycurl.NOSIGNAL, 1)
        # Else giving up on a name server that does not answer would wait for it, and all with it.
        easy.setopt(_QUICK_EXIT, 1)
        easy.setopt(pycurl.BUFFERSIZE, _BUFFER)
        easy.setopt(pycurl.PROXY, "")
        easy.setopt(pycurl.NOPROXY, "*")
        easy.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        easy.setopt(pycurl.FOLLOWLOCATION, 0)
        easy.setopt(pycurl.NETRC, pycurl.NETRC_IGNORED)
        easy.setopt(pycurl.USERAGENT, f"FleetPulse/{__version__}")
        http2 = job.enable_http2 and job.scheme == "https"
        version = pycurl.CURL_HTTP_VERSION_2TLS if http2 else pycurl.CURL_HTTP_VERSION_1_1
        easy.setopt(pycurl.HTTP_VERSION, version)
        if job.enable_compression:
            easy.setopt(pycurl.ACCEPT_ENCODING, "gzip")
        _set_tls(easy, job.tls_config)
        return easy

    def _set_headers(self, easy: Any, login: Login, timeout: float, host: str) -> None:
        headers = [
            f"Accept: {_ACCEPT}",
            f"X-Prometheus-Scrape-Timeout-Seconds: {timeout:g}",
        ]
        if host:
            headers.append(f"Host: {host}")
        if login.header:
            headers.append(f"Authorization: {login.header}")
        easy.setopt(pycurl.HTTPHEADER, [header.encode() for header in headers])
        if login.user_password:
            easy.setopt(pycurl.HTTPAUTH, pycurl.HTTPAUTH_BASIC)
            easy.setopt(pycurl.USERPWD, login.user_password.encode())
        else:
            easy.unsetopt(pycurl.USERPWD)
        easy.settings = (login, timeout, host)


def _set_tls(easy: Any, tls: TlsConfig) -> None:
    # libcurl's own default need not exist on this system; Python's does, or OpenSSL's.
    authorities = str(tls.ca_file) if tls.ca_file else ssl.get_default_verify_paths().cafile
    if authorities is not None:
        easy.setopt(pycurl.CAINFO, authorities)
    if tls.cert_file is not None:
        easy.setopt(pycurl.SSLCERT, str(tls.cert_file))
        easy.setopt(pycurl.SSLKEY, str(tls.key_file))
    if tls.insecure_skip_verify:
        easy.setopt(pycurl.SSL_VERIFYPEER, 0)
        easy.setopt(pycurl.SSL_VERIFYHOST, 0)
    latest = _TLS[tls.max_version][1] if tls.max_version else 0
    easy.setopt(pycurl.SSLVERSION, _TLS[tls.min_version][0] | latest)


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

    def expect(self, targets: int) -> None:
        """How many targets there are: that many connections are kept alive, and some."""
        self._multi.setopt(pycurl.M_MAXCONNECTS, targets + 100)

    def start(self, client: Client, request: Request, done: Done) -> None:
        """Begins; done is called from run(), or at once where no request can be made."""
        transfer = _Transfer(client, request, done, self._clock(), self._held)
        try:
            easy = client.take(request)
            url = request.url
            if name := client.job.tls_config.server_name:
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
            openmetrics = kind.lower().startswith("application/openmetrics-text")
            self._finish(easy, transfer, Answer(duration, transfer.let_go(), openmetrics))
            return
        location = _text(easy, pycurl.REDIRECT_URL)
        if location and transfer.client.job.follow_redirects:
            self._redirected(easy, transfer, location, duration)
            return
        error = f"server returned HTTP status {status}"
        self._finish(easy, transfer, Answer(duration, reason="status", error=error))

    def _redirected(self, easy: Any, transfer: _Transfer, location: str, spent: float) -> None:
        """Follows within the same origin, where the credentials may go and nothing new is met."""
        transfer.redirects += 1
        error = ""
        if _origin(location) != _origin(_text(easy, pycurl.EFFECTIVE_URL)):
            error = f"redirect to another host refused: {_without_query(location)}"
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


def _without_query(url: str) -> str:
    """A URL fit to be shown: what follows ? or is before @ may be a secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a broken URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:200]
