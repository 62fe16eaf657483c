"""What a job shows its targets to be let in: read anew from its files now and then."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fleetpulse.errors import StartError
from fleetpulse.yamldoc import read_secret
from scraper.config import ScrapeJob

_KEEP = 10.0  # seconds for which a secret read from a file is taken as current


@dataclass(frozen=True, slots=True)
class Login:
    """user_password for HTTP basic authentication, or the value of an Authorization header."""

    user_password: str = field(default="", repr=False)
    header: str = field(default="", repr=False)


class Credentials:
    def __init__(self, job: ScrapeJob, clock: Callable[[], float] = time.monotonic) -> None:
        self._job, self._clock = job, clock
        self._login = Login()
        self._until = float("-inf")

    def current(self) -> Login:
        """The login as of the last seconds; StartError where a file cannot be read."""
        now = self._clock()
        if now >= self._until:
            self._login = _checked(_read(self._job), self._job)
            self._until = now + _KEEP
        return self._login


def _read(job: ScrapeJob) -> Login:
    if (basic := job.basic_auth) is not None:
        user = read_secret(None, basic.username_file) or basic.username
        password = read_secret(basic.password, basic.password_file) or ""
        return Login(user_password=f"{user}:{password}")
    if (other := job.authorization) is not None:
        secret = read_secret(other.credentials, other.credentials_file)
        return Login(header=f"{other.type.strip()} {secret}")
    bearer = read_secret(job.bearer_token, job.bearer_token_file)
    return Login(header=f"Bearer {bearer}") if bearer else Login()


def _checked(login: Login, job: ScrapeJob) -> Login:
    """A line break in a secret would end its header, and what follows become one of its own."""
    if any(sign in login.header + login.user_password for sign in "\r\n\0"):
        raise StartError(f"the credentials of job {job.job_name} hold a line break")
    return login
