"""HTTP to a store with Prometheus' API: bounded in time and size, its failures put into words."""

import http.client
import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth

from fleetpulse.errors import QueryError, QueryErrorType, StorageError
from fleetpulse.storage.promapi.config import PromApiConfig
from fleetpulse.yamldoc import read_secret

_AT_ONCE = 1 << 18  # bytes
_MOST_OF_A_FAULT = 64 << 10  # bytes read of an answer that is none
_CONNECTIONS = 32
_TYPES: Mapping[str, QueryErrorType] = {
    "bad_data": "bad_data",
    "execution": "execution",
    "timeout": "timeout",
    "canceled": "canceled",
    "unavailable": "unavailable",
    # VictoriaMetrics has the status here.
    "400": "bad_data",
    "422": "execution",
    "503": "unavailable",
}

Params = Sequence[tuple[str, str]]


class PromApiClient:
    """Asks one store. Safe from any thread.

    Credentials are read from their files for each request, and follow no redirect. StorageError
    says which store it is, what it said and what to mend; QueryError is its word on a query.
    """

    def __init__(
        self, config: PromApiConfig, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._config, self._clock = config, clock
        self.session = requests.Session()
        self.session.trust_env = False  # no ~/.netrc, whose password would win over ours
        adapter = HTTPAdapter(pool_connections=4, pool_maxsize=_CONNECTIONS)
        self.session.mount("http://", adapter)
        self.session.mount("https://", adapter)
        self.session.verify = _verify(config)
        if config.cert_file is not None and config.key_file is not None:
            self.session.cert = (str(config.cert_file), str(config.key_file))

    def close(self) -> None:
        self.session.close()

    def json(self, path: str, params: Params, timeout: float | None = None) -> dict[str, Any]:
        """The answer of /api/v1/PATH with its envelope, whose status is success."""
        return envelope(self.name(path), self.body(path, params, timeout))

    def body(self, path: str, params: Params, timeout: float | None = None) -> bytes:
        """The whole answer of /api/v1/PATH as it came."""
        with self.opened(path, params, timeout) as pieces:
            return b"".join(pieces)

    @property
    def store(self) -> str:
        """Which store it is, for errors."""
        return f"victoriametrics at {self._config.read_url}"

    def name(self, path: str) -> str:
        """The same with what answers there."""
        return f"{self.store}/api/v1/{path}"

    def values_of(self, label: str, params: Params, timeout: float | None = None) -> Any:
        """/api/v1/label/LABEL/values, which answers to GET alone."""
        return self.json(f"label/{quote(label, safe='')}/values", params, timeout).get("data")

    @contextmanager
    def opened(
        self, path: str, params: Params, timeout: float | None = None
    ) -> Iterator[Iterator[bytes]]:
        """The body of /api/v1/PATH in pieces, as they come."""
        config = self._config
        seconds = config.query_timeout if timeout is None else timeout
        if seconds <= 0:
            raise QueryError("timeout", "query timed out before the store was asked")
        url, name = f"{config.read_url}/api/v1/{path}", self.name(path)
        deadline = self._clock() + seconds
        # A body has no limit as an address has, but not everything may be asked so.
        only_get = path.startswith(("label/", "metadata"))
        how: dict[str, Any] = {"params": params} if only_get else {"data": params}
        with (
            _translated(name, seconds),
            self.session.request(
                "GET" if only_get else "POST",
                url,
                **how,
                headers={"Accept-Encoding": "gzip" if config.gzip else "identity"},
                auth=auth_of(config),
                timeout=seconds,
                allow_redirects=False,
                stream=True,
            ) as answer,
        ):
            if answer.status_code != 200:
                raise fault(name, answer.status_code, _some(answer))
            yield self._pieces(answer, name, deadline, seconds)

    def _pieces(
        self, answer: requests.Response, name: str, deadline: float, seconds: float
    ) -> Iterator[bytes]:
        """Each as it comes, until the limits: no server holds us by sending a byte a second."""
        size = 0
        with _translated(name, seconds):
            while piece := answer.raw.read1(_AT_ONCE, decode_content=True):
                size += len(piece)
                if size > self._config.max_response:
                    raise QueryError(
                        "execution",
                        f"{name}: the answer is larger than storage.max_response; "
                        f"ask for less, or set that higher",
                    )
                yield piece
                if self._clock() > deadline:
                    raise QueryError("timeout", f"{name}: no whole answer within {seconds:g}s")


def auth_of(config: PromApiConfig) -> AuthBase:
    """The credentials, read anew. As auth, not as headers: those a redirect might take along."""
    if config.username:
        password = read_secret(config.password, config.password_file)
        return HTTPBasicAuth(config.username.encode(), (password or "").encode())
    return _Bearer(read_secret(config.token, config.token_file))


class _Bearer(AuthBase):
    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _verify(config: PromApiConfig) -> bool | str:
    if config.insecure_skip_verify:
        return False
    return True if config.ca_file is None else str(config.ca_file)


def _some(answer: requests.Response) -> bytes:
    return bytes(answer.raw.read(_MOST_OF_A_FAULT, decode_content=True))


@contextmanager
def _translated(name: str, seconds: float) -> Iterator[None]:
    try:
        yield
    except (requests.Timeout, urllib3.exceptions.TimeoutError) as err:
        raise QueryError("timeout", f"{name}: no answer within {seconds:g}s") from err
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as err:
        raise StorageError(unreachable(name, err), retriable=True) from err


def unreachable(name: str, err: BaseException) -> str:
    """Why there was no answer, or half of one: the same words for the same fault."""
    causes = list(_causes(err))
    if any(isinstance(one, http.client.IncompleteRead) for one in causes):
        return f"{name}: the answer was cut off; did the store end, or a proxy in between?"
    told = [one for one in causes if isinstance(one, OSError) and one.strerror]
    reason = told[-1].strerror if told else type(causes[-1]).__name__
    if isinstance(told[-1] if told else None, ssl.SSLError):
        return f"{name}: {reason}; check storage.ca_file and the name in the store's certificate"
    return f"{name}: cannot be reached: {reason}; check storage.url and that the store runs"


def _causes(err: BaseException | None) -> Iterator[BaseException]:
    while err is not None:
        yield err
        err = err.__cause__ or err.__context__


def fault(name: str, status: int, body: bytes) -> Exception:
    """What an answer other than 200 means. Pure."""
    said = said_in(body)
    if status in (401, 403):
        mend = "; check storage.username and password, or token"
        return StorageError(f"{name}: HTTP {status}: {said}{mend}", retriable=False)
    if 300 <= status < 400:
        mend = "redirects are not followed; check storage.url"
        return StorageError(f"{name}: HTTP {status}: {mend}", retriable=False)
    found = _parsed(body)
    if isinstance(found, dict) and found.get("status") == "error":
        return _told(name, found)
    if status == 404 or b"unsupported path" in body:
        mend = "; is it VictoriaMetrics? check storage.url, or select_url and tenant"
        return StorageError(f"{name}: HTTP {status}: {said}{mend}", retriable=False)
    return StorageError(f"{name}: HTTP {status}: {said}", retriable=status in (429, 502, 503, 504))


def said_in(body: bytes) -> str:
    """A server's words in one line; of a web page only that it is one."""
    if body.lstrip()[:1] == b"<":
        return "a web page instead of an answer"
    return " ".join(body.decode("utf-8", "replace").split())[:300]


def envelope(name: str, body: bytes) -> dict[str, Any]:
    """A successful answer's JSON object; QueryError with its error, StorageError for no such."""
    found = _parsed(body)
    if not isinstance(found, dict) or found.get("status") not in ("success", "error"):
        raise StorageError(
            f"{name}: HTTP 200, but no answer of Prometheus' API: {said_in(body)}; "
            f"check storage.url, or select_url and tenant",
            retriable=False,
        )
    if found["status"] == "error":
        raise _told(name, found)
    return found


def _told(name: str, found: dict[str, Any]) -> QueryError:
    kind = str(found.get("errorType", ""))
    message = " ".join(str(found.get("error", "")).split())[:1000]
    late = "timeout" in message or "deadline" in message
    known = "timeout" if late and kind == "503" else _TYPES.get(kind, "execution")
    return QueryError(known, f"{name}: {message}")


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
