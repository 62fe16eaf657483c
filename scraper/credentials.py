"""What a request shows to be let in: read anew from its files now and then."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from fleetpulse.errors import StartError
from fleetpulse.yamldoc import read_secret
from scraper.httpconfig import HttpConfig

_KEEP = 10.0  # seconds for which a secret read from a file is taken as current


@dataclass(frozen=True, slots=True)
class Login:
    """user_password for HTTP basic authentication, or header, an Authorization header's value.

    headers: lines of the configured http_headers.
    """

    user_password: str = field(default="", repr=False)
    header: str = field(default="", repr=False)
    headers: tuple[str, ...] = field(default=(), repr=False)


class Credentials:
    """whose: whom the secrets belong to, for messages."""

    def __init__(
        self, http: HttpConfig, whose: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._http, self._whose, self._clock = http, whose, clock
        self._login = Login()
        self._until = float("-inf")

    def current(self) -> Login:
        """The login as of the last seconds; StartError where a file cannot be read."""
        now = self._clock()
        if now >= self._until:
            self._login = _checked(_read(self._http), self._whose)
            self._until = now + _KEEP
        return self._login


def _read(http: HttpConfig) -> Login:
    headers = tuple(_headers(http))
    if (basic := http.basic_auth) is not None:
        user = read_secret(None, basic.username_file) or basic.username
        password = read_secret(basic.password, basic.password_file) or ""
        return Login(user_password=f"{user}:{password}", headers=headers)
    if (other := http.authorization) is not None:
        secret = read_secret(other.credentials, other.credentials_file)
        return Login(header=f"{other.type.strip()} {secret}", headers=headers)
    bearer = read_secret(http.bearer_token, http.bearer_token_file)
    return Login(header=f"Bearer {bearer}" if bearer else "", headers=headers)


def _headers(http: HttpConfig) -> Iterator[str]:
    for name, header in http.http_headers.items():
        secrets = (secret.get_secret_value() for secret in header.secrets)
        files = (read_secret(None, file) or "" for file in header.files)
        for value in (*header.values, *secrets, *files):
            # libcurl takes a header without a value for one to be left out, unless it ends in ;
            yield f"{name}: {value}" if value else f"{name};"


def _checked(login: Login, whose: str) -> Login:
    """A line break in a secret would end its header, and what follows become one of its own."""
    told = (login.header, login.user_password, *login.headers)
    if any(sign in text for text in told for sign in "\r\n\0"):
        raise StartError(f"the credentials of {whose} hold a line break")
    return login
