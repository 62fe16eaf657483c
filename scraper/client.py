"""libcurl's handles for a job or a discovery, with all that its requests have in common."""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pycurl

from fleetpulse import __version__
from fleetpulse.errors import StartError
from scraper.credentials import Credentials, Login
from scraper.httpconfig import HttpConfig, TlsConfig
from scraper.proxies import proxy_chooser

_BUFFER = 128 << 10  # bytes read at a time: most pages come in one piece
_IDLE_HANDLES = 512  # kept for reuse by each client
# Options for which pycurl has no names.
_CA_CACHE_TIMEOUT = 321
_QUICK_EXIT = 322
_CA_CACHE = 60  # seconds; libcurl's own day would keep a revoked authority for as long
_TLS = {
    "TLS10": (pycurl.SSLVERSION_TLSv1_0, pycurl.SSLVERSION_MAX_TLSv1_0),
    "TLS11": (pycurl.SSLVERSION_TLSv1_1, pycurl.SSLVERSION_MAX_TLSv1_1),
    "TLS12": (pycurl.SSLVERSION_TLSv1_2, pycurl.SSLVERSION_MAX_TLSv1_2),
    "TLS13": (pycurl.SSLVERSION_TLSv1_3, pycurl.SSLVERSION_MAX_TLSv1_3),
}


@dataclass(frozen=True, slots=True)
class Request:
    """timeout in seconds, for all of it; body_limit in bytes, unpacked, 0 for none.

    headers: lines that the client's other requests need not have.
    """

    url: str
    timeout: float
    body_limit: int
    headers: tuple[str, ...] = ()


class Client:
    """A job's way of fetching: its handles, with all that is the same for every request set.

    whose: whom it works for, for messages. accept: the header's value.
    """

    def __init__(
        self,
        http: HttpConfig,
        *,
        whose: str,
        accept: str,
        compressed: bool = True,
        credentials: Credentials | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self.http, self.accept, self.compressed = http, accept, compressed
        self.retired = False  # its handles are not to be kept
        self._credentials = credentials or Credentials(http, whose)
        self._proxy_of = proxy_chooser(http, environment)
        self._proxied = http.proxy_url is not None or http.proxy_from_environment
        self._free: list[Any] = []

    def same(self, http: HttpConfig, accept: str, compressed: bool) -> bool:
        """Whether this client does for requests that are to be made so."""
        return (self.http, self.accept, self.compressed) == (http, accept, compressed)

    def take(self, request: Request) -> Any:
        """A handle ready but for the URL. StartError where a secret cannot be read."""
        login = self._credentials.current()
        easy = self._free.pop() if self._free else self._new()
        # Behind a server_name the URL has that name, and the Host header must be told apart.
        host = urlsplit(request.url).netloc if self.http.tls_config.server_name else ""
        if easy.settings != (login, request.headers, host):
            self._set_headers(easy, login, request.headers, host)
        if self._proxied:
            easy.setopt(pycurl.PROXY, self._proxy_of(request.url))
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
        http, easy = self.http, pycurl.Curl()
        easy.settings = None
        easy.setopt(pycurl.NOSIGNAL, 1)
        # Else giving up on a name server that does not answer would wait for it, and all with it.
        easy.setopt(_QUICK_EXIT, 1)
        # libcurl goes through all of its cache at each request, and connections are kept anyway.
        easy.setopt(pycurl.DNS_CACHE_TIMEOUT, 0)
        easy.setopt(pycurl.BUFFERSIZE, _BUFFER)
        easy.setopt(pycurl.PROXY, "")  # libcurl is not to look into the environment itself
        easy.setopt(pycurl.NOPROXY, "" if self._proxied else "*")
        easy.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        easy.setopt(pycurl.FOLLOWLOCATION, 0)
        easy.setopt(pycurl.NETRC, pycurl.NETRC_IGNORED)
        easy.setopt(pycurl.USERAGENT, f"FleetPulse/{__version__}")
        # Over plain HTTP this is 1.1 all the same.
        version = pycurl.CURL_HTTP_VERSION_2TLS if http.enable_http2 else _HTTP_1_1
        easy.setopt(pycurl.HTTP_VERSION, version)
        # Set to either, libcurl unpacks what comes packed nevertheless.
        easy.setopt(pycurl.ACCEPT_ENCODING, "gzip" if self.compressed else "identity")
        # What a target is told is not for the proxy on the way to it.
        easy.setopt(pycurl.HEADEROPT, pycurl.HEADER_SEPARATE)
        easy.setopt(pycurl.PROXYHEADER, _connect_headers(http))
        _set_tls(easy, http.tls_config)
        return easy

    def _set_headers(self, easy: Any, login: Login, wanted: tuple[str, ...], host: str) -> None:
        own = any(line.lower().startswith(("accept:", "accept;")) for line in login.headers)
        headers = [*wanted, *login.headers, *([] if own else [f"Accept: {self.accept}"])]
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
        easy.settings = (login, wanted, host)


_HTTP_1_1 = pycurl.CURL_HTTP_VERSION_1_1


def _connect_headers(http: HttpConfig) -> list[bytes]:
    lines = [
        f"{name}: {value.get_secret_value()}"
        for name, values in http.proxy_connect_header.items()
        for value in values
    ]
    if any(sign in line for line in lines for sign in "\r\n\0"):
        raise StartError("a proxy_connect_header holds a line break")
    return [line.encode() for line in lines]


def _set_tls(easy: Any, tls: TlsConfig) -> None:
    easy.setopt(_CA_CACHE_TIMEOUT, _CA_CACHE)
    if tls.ca:
        easy.setopt(pycurl.CAINFO_BLOB, tls.ca.encode())
    else:
        # libcurl's own default need not exist on this system; Python's does, or OpenSSL's.
        authorities = str(tls.ca_file) if tls.ca_file else ssl.get_default_verify_paths().cafile
        if authorities is not None:
            easy.setopt(pycurl.CAINFO, authorities)
    if tls.cert:
        easy.setopt(pycurl.SSLCERT_BLOB, tls.cert.encode())
    elif tls.cert_file is not None:
        easy.setopt(pycurl.SSLCERT, str(tls.cert_file))
    if tls.key is not None:
        easy.setopt(pycurl.SSLKEY_BLOB, tls.key.get_secret_value().encode())
    elif tls.key_file is not None:
        easy.setopt(pycurl.SSLKEY, str(tls.key_file))
    if tls.insecure_skip_verify:
        easy.setopt(pycurl.SSL_VERIFYPEER, 0)
        easy.setopt(pycurl.SSL_VERIFYHOST, 0)
    latest = _TLS[tls.max_version][1] if tls.max_version else 0
    easy.setopt(pycurl.SSLVERSION, _TLS[tls.min_version][0] | latest)
