"""How requests are made: Prometheus' http_config, for scrape jobs and for http_sd_configs."""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from fleetpulse.yamlconf import FilePath, Secret, Section
from scraper.notyet import HttpNotYet, TlsNotYet

TlsVersion = Literal["TLS10", "TLS11", "TLS12", "TLS13"]

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# These carry the request itself, or have keys of their own.
_RESERVED_HEADERS = {
    "accept-encoding",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "transfer-encoding",
    "user-agent",
    "www-authenticate",
    "x-prometheus-remote-read-version",
    "x-prometheus-remote-write-version",
    "x-prometheus-scrape-timeout-seconds",
}
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")


class TlsConfig(TlsNotYet):
    """How a server proves who it is, and how the scraper does."""

    ca: str = ""
    ca_file: FilePath | None = None
    cert: str = ""
    cert_file: FilePath | None = None
    key: Secret | None = None
    key_file: FilePath | None = None
    server_name: str = ""
    insecure_skip_verify: bool = False
    min_version: TlsVersion = "TLS12"
    max_version: TlsVersion | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        for name, inline, file in (
            ("ca", self.ca, self.ca_file),
            ("cert", self.cert, self.cert_file),
            ("key", self.key, self.key_file),
        ):
            if inline and file:
                raise ValueError(f"give {name} or {name}_file, not both")
        if bool(self.cert or self.cert_file) != bool(self.key or self.key_file):
            raise ValueError("cert or cert_file goes together with key or key_file")
        if self.max_version and self.max_version < self.min_version:
            raise ValueError(f"max_version is below the min_version {self.min_version}")
        return self


class BasicAuth(Section):
    username: str = ""
    username_file: FilePath | None = None
    password: Secret | None = None
    password_file: FilePath | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if self.username and self.username_file:
            raise ValueError("give username or username_file, not both")
        if not self.username and not self.username_file:
            raise ValueError("give username or username_file")
        if ":" in self.username:
            raise ValueError("a user name holds no colon")
        if self.password is not None and self.password_file:
            raise ValueError("give password or password_file, not both")
        return self


class Authorization(Section):
    type: str = Field("Bearer", min_length=1)
    credentials: Secret | None = None
    credentials_file: FilePath | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.type.strip().lower() == "basic":
            raise ValueError("for the type Basic use basic_auth")
        if (self.credentials is None) == (self.credentials_file is None):
            raise ValueError("give either credentials or credentials_file")
        return self


class HttpHeader(Section):
    """The values of one header: as they stand, secret, or each read from a file."""

    values: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    files: tuple[FilePath, ...] = ()

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not (self.values or self.secrets or self.files):
            raise ValueError("give values, secrets or files")
        return self


def _header_names(headers: dict[str, HttpHeader]) -> dict[str, HttpHeader]:
    seen: set[str] = set()
    for name in headers:
        if _HEADER_NAME.fullmatch(name) is None:
            raise ValueError(f"{name[:80]!r} is no header's name")
        if name.lower() in _RESERVED_HEADERS:
            raise ValueError(
                f"{name} cannot be set here; it has a key of its own, or belongs to the request"
            )
        if name.lower() in seen:
            raise ValueError(f"{name} is there twice; letters' case makes no difference")
        seen.add(name.lower())
    return headers


HttpHeaders = Annotated[dict[str, HttpHeader], AfterValidator(_header_names)]


def _proxy(url: Secret) -> Secret:
    """A proxy's URL may hold a password: no message shows it."""
    try:
        parts = urlsplit(url.get_secret_value())
        sound = parts.scheme in _PROXY_SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise ValueError(
            f"no proxy's URL; write SCHEME://HOST:PORT with a scheme of {', '.join(_PROXY_SCHEMES)}"
        )
    return url


class HttpConfig(HttpNotYet):
    """What every request of a job, or of a discovery, has in common."""

    tls_config: TlsConfig = TlsConfig()
    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    bearer_token: Secret | None = None
    bearer_token_file: FilePath | None = None
    http_headers: HttpHeaders = Field(default_factory=dict)
    follow_redirects: bool = True
    enable_http2: bool = True
    proxy_url: Annotated[Secret, AfterValidator(_proxy)] | None = None
    no_proxy: str = ""
    proxy_from_environment: bool = False
    proxy_connect_header: dict[str, tuple[Secret, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_credential(self) -> Self:
        ways = [self.basic_auth, self.authorization, self.bearer_token, self.bearer_token_file]
        if sum(way is not None for way in ways) > 1:
            raise ValueError("give one of basic_auth, authorization and bearer_token")
        return self

    @model_validator(mode="after")
    def _one_proxy(self) -> Self:
        if self.proxy_from_environment and (self.proxy_url or self.no_proxy):
            raise ValueError("proxy_from_environment goes without proxy_url and no_proxy")
        if self.no_proxy and not self.proxy_url:
            raise ValueError("no_proxy needs a proxy_url")
        if self.proxy_connect_header and not (self.proxy_url or self.proxy_from_environment):
            raise ValueError("proxy_connect_header needs a proxy_url or proxy_from_environment")
        return self

    @field_validator("proxy_connect_header")
    @classmethod
    def _connect_names(
        cls, headers: dict[str, tuple[Secret, ...]]
    ) -> dict[str, tuple[Secret, ...]]:
        for name in headers:
            if _HEADER_NAME.fullmatch(name) is None:
                raise ValueError(f"{name[:80]!r} is no header's name")
        return headers
