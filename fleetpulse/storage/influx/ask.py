"""InfluxQL over HTTP: bounded in time and size, its failures put into words."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests
import urllib3
from pydantic_core import to_json
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth

from fleetpulse.errors import QueryError, StartError, StorageError
from fleetpulse.storage.influx.answer import AnswerError, Part, Texts
from fleetpulse.storage.influx.answers import said_in
from fleetpulse.storage.influx.config import Influx1Config, Influx2Config
from fleetpulse.storage.influx.http1 import reason_of
from fleetpulse.storage.influx.jsonanswer import lines_of, parsed, read_json
from fleetpulse.storage.influx.msgpack import read_answer
from fleetpulse.yamldoc import read_secret

_AT_ONCE = 1 << 18  # bytes
_MOST_OF_A_FAULT = 64 << 10
_CONNECTIONS = 32
_CHUNK = 100_000  # points that the server holds back before it sends them
_CONNECT_SECONDS = 10.0
_MSGPACK, _JSON = "application/x-msgpack", "application/json"
# What the server says of a query that is too much for its limits.
_TOO_MUCH = ("max-select", "limit exceeded", "max-concurrent")
_MISSING = ("database not found", "retention policy not found", "bucket", "dbrp")


class MissingPlaceError(StorageError):
    """A database, bucket or retention policy that is not there."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How many seconds one answer may take, 0 for as long as configured.

    check: called for each piece that comes; what it raises ends the reading.
    """

    seconds: float = 0.0
    check: Callable[[], None] | None = None


_AS_CONFIGURED = Patience()


class InfluxAsker:
    """Asks one InfluxDB. Safe from any thread.

    Credentials are read from their files for each request, and follow no redirect. StorageError
    says which store it is, what it said and what to mend; QueryError is about the query.
    """

    def __init__(
        self,
        config: Influx1Config | Influx2Config,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._clock = config, clock
        self.name = f"{config.kind} at {config.url}"
        self._session = requests.Session()
        self._session.trust_env = False  # neither a proxy nor a .netrc of the environment
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=_CONNECTIONS)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._session.verify = not config.insecure_skip_verify and (
            str(config.ca_file) if config.ca_file else True
        )

    def close(self) -> None:
        self._session.close()

    def parts(
        self,
        statement: str,
        database: str,
        texts: Texts,
        patience: Patience = _AS_CONFIGURED,
        *,
        few: bool = False,
    ) -> Iterator[Part]:
        """The series of a SELECT, as they come: one may come in several parts.

        few: whether each has few rows; it decides on the format.
        """
        accept = _JSON if few else _MSGPACK
        with self._opened(statement, database, accept, patience) as (kind, pieces):
            read = read_answer if kind.startswith(_MSGPACK) else read_json
            try:
                for part in read(pieces, texts):
                    if isinstance(part, str):
                        raise self._refused(part)
                    yield part
            except AnswerError as err:
                raise self._misshapen(str(err)) from err

    def rows(self, statement: str, database: str) -> Iterator[Mapping[str, Any]]:
        """The series of any other statement: mappings with columns and values."""
        empty = True
        with self._opened(statement, database, _JSON, _AS_CONFIGURED) as (_, pieces):
            for line in lines_of(pieces):  # a document a chunk
                empty = False
                try:
                    told, error = _rows_of(line)
                except (ValueError, KeyError, TypeError, AttributeError):
                    raise self._misshapen(said_in(line)) from None
                if error:
                    raise self._refused(error)
                yield from told
        if empty:
            raise self._misshapen("it is empty")

    @contextmanager
    def _opened(
        self, statement: str, database: str, accept: str, patience: Patience
    ) -> Iterator[tuple[str, Iterable[bytes]]]:
        """Content type and body in pieces, as they come."""
        seconds = min(self._config.query_timeout, patience.seconds or self._config.query_timeout)
        try:
            auth = _auth_of(self._config)
        except StartError as err:
            raise StorageError(f"{self.name}: {err}", retriable=False) from err
        params = {"db": database, "epoch": "ms", "chunked": "true", "chunk_size": str(_CHUNK)}
        deadline = self._clock() + seconds
        with (
            self._translated(seconds),
            self._session.post(
                f"{self._config.url}/query",
                params=params,
                data={"q": statement},
                headers={"Accept": accept, "Accept-Encoding": "identity"},
                auth=auth,
                timeout=(min(seconds, _CONNECT_SECONDS), seconds),
                allow_redirects=False,
                stream=True,
            ) as answer,
        ):
            kind = answer.headers.get("Content-Type", "")
            if answer.status_code != 200 or "html" in kind:
                body = answer.raw.read(_MOST_OF_A_FAULT)
                raise self._fault(answer.status_code, _as_json(kind, body))
            pieces = self._pieces(answer, patience.check)
            yield kind, self._in_time(pieces, deadline, seconds)

    def _pieces(
        self, answer: requests.Response, check: Callable[[], None] | None
    ) -> Iterator[bytes]:
        """Each as it comes, until there are too many bytes."""
        size = 0
        while piece := answer.raw.read1(_AT_ONCE, decode_content=True):
            if not size and piece.lstrip()[:1] == b"<":
                raise self._fault(200, piece)
            size += len(piece)
            if size > self._config.max_response:
                raise QueryError(
                    "execution",
                    f"{self.name}: the answer is larger than storage.max_response; "
                    f"ask for less, or set that higher",
                )
            if check is not None:
                check()
            yield piece

    def _in_time(self, pieces: Iterable[bytes], deadline: float, seconds: float) -> Iterator[bytes]:
        """No server holds us by sending a byte a second."""
        with self._translated(seconds):
            for piece in pieces:
                yield piece
                if self._clock() > deadline:
                    raise QueryError("timeout", f"{self.name}: no whole answer in {seconds:g}s")

    @contextmanager
    def _translated(self, seconds: float) -> Iterator[None]:
        away = f"{self.name}: %s; check storage.url and that the server runs"
        try:
            yield
        except requests.ConnectTimeout as err:
            told = "cannot be reached: nothing answers there"
            raise StorageError(away % told, retriable=True) from err
        except (requests.Timeout, urllib3.exceptions.TimeoutError) as err:
            raise QueryError("timeout", f"{self.name}: no answer within {seconds:.3g}s") from err
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as err:
            raise StorageError(away % reason_of(err), retriable=True) from err

    def _fault(self, status: int, body: bytes) -> Exception:
        """What an answer other than 200 means."""
        if body.lstrip()[:1] == b"<" or 200 <= status < 400:
            mend = "what answers is no InfluxDB, or something stands before it: check storage.url"
            return StorageError(f"{self.name}: HTTP {status}; {mend}", retriable=status >= 500)
        said = said_in(body)
        if status in (401, 403):
            keys = "token, org" if self._config.kind == "influxdb2" else "username and password"
            mend = f"check storage.{keys}, and that reading is allowed"
            return StorageError(f"{self.name}: HTTP {status}: {said}; {mend}", retriable=False)
        if status == 404 and not _tells_what_is_missing(said):
            mend = "check storage.url, and that InfluxQL is asked there at /query"
            return StorageError(f"{self.name}: HTTP 404: {said}; {mend}", retriable=False)
        if status in (400, 404) or _tells_what_is_missing(said):
            return self._refused(said)
        mend = "it may do later; its log may say more"
        return StorageError(f"{self.name}: HTTP {status}: {said}; {mend}", retriable=True)

    def _refused(self, said: str) -> Exception:
        """The server's word on a query."""
        said = " ".join(said.split())[:500]
        if _tells_what_is_missing(said):
            mend = "`fleetpulse influx setup` makes what is missing"
            return MissingPlaceError(f"{self.name}: {said}; {mend}", retriable=False)
        if "timeout" in said:
            return QueryError("timeout", f"{self.name}: {said}")
        if any(words in said for words in _TOO_MUCH):
            return QueryError("execution", f"{self.name}: {said}; ask for less")
        return StorageError(f"{self.name}: {said}", retriable=False)

    def _misshapen(self, what: str) -> StorageError:
        told = f"{self.name}: the answer cannot be read: {what}; check storage.url"
        return StorageError(told, retriable=True)


def _rows_of(line: bytes) -> tuple[list[Mapping[str, Any]], str]:
    """Series, each with its values, and the first error; ValueError and the like if misshapen."""
    document = parsed(line)
    if "error" in document:
        return [], str(document["error"])
    results = document["results"]
    told = [one for result in results for one in result.get("series", ())]
    errors = [str(result["error"]) for result in results if "error" in result]
    whole = [one | {"values": [list(row) for row in one.get("values", ())]} for one in told]
    return whole, errors[0] if errors else ""


def _tells_what_is_missing(said: str) -> bool:
    return any(words in said.lower() for words in _MISSING)


def _as_json(kind: str, body: bytes) -> bytes:
    """An error in MessagePack as it would be in JSON."""
    if not kind.startswith(_MSGPACK):
        return body
    try:
        told = [part for part in read_answer([body], float) if isinstance(part, str)]
    except AnswerError:
        return body
    return to_json({"error": "; ".join(told)})


def _auth_of(config: Influx1Config | Influx2Config) -> AuthBase | None:
    """The credentials, read anew. As auth, not as headers: those a redirect might take along."""
    if isinstance(config, Influx2Config):
        return _Token(read_secret(config.token, config.token_file))
    if not config.username:
        return None
    password = read_secret(config.password, config.password_file) or ""
    return HTTPBasicAuth(config.username.encode(), password.encode())


class _Token(AuthBase):
    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Token {self._token}"
        return request
