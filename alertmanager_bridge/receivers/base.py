"""What a receiver is, and the HTTP that several of them speak."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests

from alertmanager_bridge.receiver_config import HttpConfig, TlsConfig
from fleetpulse import __version__
from fleetpulse.errors import NotifyError, StartError
from fleetpulse.yamlconf import Secret
from fleetpulse.yamldoc import read_secret

_CONNECT_TIMEOUT = 5.0
_MAX_ANSWER = 64 << 10
_MAX_RETRY_AFTER = 3600.0
_SHOWN_ANSWER = 200


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be sent. id is the same at every attempt, also after a restart.

    data is the payload of payload.py; decided_at in Unix seconds.
    """

    id: str
    group_key: str
    data: Mapping[str, Any]
    decided_at: float


class Notifier(Protocol):
    """A way to one receiver. Used by one thread at a time."""

    def notify(self, message: Message) -> None:
        """Sends, or raises NotifyError. Ends within some seconds. No secret is in the error."""


def secret_of(inline: Secret | None, file: Path | None) -> str:
    """A secret, read anew at each use so that a changed file counts at once."""
    try:
        value = read_secret(inline, file)
    except StartError as err:
        raise NotifyError(str(err), retriable=True) from err
    return value or ""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    content_type: str
    text: str


class JsonPoster:
    """Posts JSON by the rules of an http_config. Never follows a redirect, uses no proxy of the
    environment and no .netrc: a request carries secrets."""

    def __init__(
        self, config: HttpConfig, *, timeout: float = 10.0, session: requests.Session | None = None
    ) -> None:
        self._config, self._timeout = config, timeout
        self._session = session or requests.Session()
        self._session.trust_env = False

    def post(self, url: str, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to a 2xx. NotifyError: retriable for 429, 5xx and when nobody answers."""
        sent = {
            "User-Agent": f"FleetPulse/{__version__}",
            **(headers or {}),
            **self._authorization(),
        }
        started = time.monotonic()
        try:
            with self._session.post(
                url,
                json=body,
                headers=sent,
                auth=self._basic_auth(url, "Authorization" in sent),
                timeout=(min(_CONNECT_TIMEOUT, self._timeout), self._timeout),
                allow_redirects=False,
                stream=True,
                **_tls(self._config.tls_config),
                proxies=_proxies(self._config.proxy_url),
            ) as response:
                text = _read(response, started + self._timeout)
        except (requests.RequestException, OSError, ValueError) as err:
            # The exception's own text may hold the URL, which is a secret.
            raise NotifyError(_reason(err, url), retriable=True) from None
        if not 200 <= response.status_code < 300:
            raise _refusal(response, text, url)
        return Answer(response.status_code, response.headers.get("Content-Type", ""), text)

    def _basic_auth(self, url: str, authorized: bool) -> Callable[[Any], Any]:
        basic = self._config.basic_auth
        if basic is None:
            name, password = requests.utils.get_auth_from_url(url)
            if name and not authorized:  # as in Alertmanager: https://name:password@host/
                return requests.auth.HTTPBasicAuth(name.encode(), password.encode())
            return lambda request: request  # keeps requests from looking in .netrc
        return requests.auth.HTTPBasicAuth(
            basic.username.encode(), secret_of(basic.password, basic.password_file).encode()
        )

    def _authorization(self) -> dict[str, str]:
        config = self._config
        if config.authorization is not None:
            own = config.authorization
            token = secret_of(own.credentials, own.credentials_file)
            return {"Authorization": f"{own.type} {token}"}
        token = secret_of(config.bearer_token, config.bearer_token_file)
        return {"Authorization": f"Bearer {token}"} if token else {}


def _tls(config: TlsConfig) -> dict[str, Any]:
    verify: bool | str = str(config.ca_file) if config.ca_file else True
    settings: dict[str, Any] = {"verify": False if config.insecure_skip_verify else verify}
    if config.cert_file and config.key_file:
        settings["cert"] = (str(config.cert_file), str(config.key_file))
    return settings


def _proxies(url: str | None) -> dict[str, str]:
    return {"http": url, "https": url} if url else {}


def _read(response: requests.Response, deadline: float) -> str:
    """The start of the answer. One that drips in for too long is cut, not waited for."""
    raw = b""
    for piece in response.iter_content(8192):
        raw += piece
        if len(raw) > _MAX_ANSWER or time.monotonic() > deadline:
            break
    # Whatever charset is named there: an unknown one must not make a failure of a success.
    return raw[:_MAX_ANSWER].decode("utf-8", "replace")


def _place(url: str) -> str:
    """Host and port of a URL; nothing else of it may be shown."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or "the receiver"
    except ValueError:
        return "the receiver"


def _reason(err: Exception, url: str) -> str:
    place = _place(url)
    if isinstance(err, requests.exceptions.SSLError):
        return f"{place}: the TLS certificate or connection was not accepted"
    if isinstance(err, requests.exceptions.ConnectTimeout):
        return f"{place}: no connection within the time limit"
    if isinstance(err, (requests.exceptions.Timeout, TimeoutError)):
        return f"{place}: no answer within the time limit"
    if isinstance(err, requests.exceptions.ConnectionError):
        return f"{place}: cannot connect, or the connection broke"
    return f"{place}: {type(err).__name__}"


def _refusal(response: requests.Response, text: str, url: str) -> NotifyError:
    code = response.status_code
    place = _place(url)
    said = scrub(text, url)
    message = f"{place}: HTTP {code}" + (f": {said}" if said else "")
    if 300 <= code < 400:
        message = f"{place}: HTTP {code}: redirects are not followed; configure the final URL"
    retriable = code == 429 or code >= 500
    after = _retry_after(response.headers.get("Retry-After")) if retriable else None
    return NotifyError(message, retriable=retriable, retry_after=after)


def scrub(text: str, *secrets: str) -> str:
    """The start of what a server said, on one line and without what is secret."""
    for secret in secrets:
        path = secret.partition("://")[2].partition("/")[2]
        for part in (secret, path):
            text = text.replace(part, "<secret>") if len(part) > 3 else text
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_SHOWN_ANSWER]


def _retry_after(value: str | None) -> float | None:
    """Seconds in a Retry-After header: a number or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value), _MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - datetime.now(UTC)).total_seconds(), 0.0), _MAX_RETRY_AFTER)
