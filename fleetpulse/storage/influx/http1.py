"""InfluxDB 1's HTTP API, which later versions have too: one session, bounded answers."""

import http.client
import ssl
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import requests
import urllib3

from fleetpulse.storage.influx.config import Influx1Config
from fleetpulse.yamldoc import read_secret

_MOST_OF_AN_ANSWER = 1 << 20


class Answer:
    """status, headers, and at most so much of the body."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body


class CannotReachError(Exception):
    """No answer; the message is for people."""


class Influx1Http:
    """Safe from several threads. No redirect is followed: credentials are for this URL alone."""

    def __init__(self, config: Influx1Config) -> None:
        self.url = config.url
        self._session = requests.Session()
        self._session.trust_env = False  # neither a proxy nor a .netrc of the environment
        self._session.verify = str(config.ca_file or True) if config.ca_file else True
        if config.insecure_skip_verify:
            self._session.verify = False
        if config.username:
            password = read_secret(config.password, config.password_file) or ""
            login = (config.username.encode(), password.encode())
            self._session.auth = requests.auth.HTTPBasicAuth(*login)

    def post(
        self,
        path: str,
        params: Mapping[str, str],
        data: bytes | Mapping[str, str],
        timeout: float,
        headers: Mapping[str, str] = {},
    ) -> Answer:
        """CannotReachError where nobody answers, or not to the end."""
        try:
            with self._session.post(
                self.url + path,
                params=params,
                data=data,
                headers={"Accept-Encoding": "identity", **headers},
                timeout=timeout,
                allow_redirects=False,
                stream=True,  # so that no more is read than we want
            ) as answer:
                return Answer(answer.status_code, answer.headers, _body(answer.raw))
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as err:
            raise CannotReachError(f"{reason_of(err)}") from err

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _body(raw: Any) -> bytes:
    """To the end, at which urllib3 says whether it was cut short, or to the bound."""
    body = b""
    while len(body) < _MOST_OF_AN_ANSWER and (part := raw.read(_MOST_OF_AN_ANSWER)):
        body += part
    return body


def reason_of(err: BaseException) -> str:
    """Why there was no answer, or half of one: what requests wraps around it says it thrice."""
    causes = list(_causes(err))
    if any(isinstance(one, http.client.IncompleteRead) for one in causes):
        return "the answer was cut off; did the server end, or a proxy in between?"
    told = [one for one in causes if isinstance(one, OSError) and one.strerror]
    reason = told[-1].strerror if told else type(causes[-1]).__name__
    if isinstance(told[-1] if told else None, ssl.SSLError):
        return f"{reason}; check storage.ca_file and the name in the server's certificate"
    return f"cannot be reached: {reason}"


def _causes(err: BaseException | None) -> Iterator[BaseException]:
    while err is not None:
        yield err
        err = err.__cause__ or err.__context__
