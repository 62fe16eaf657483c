"""One page to the API: POST /api/v1/metrics, and what its answer means."""

import email.utils
import enum
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import requests
import urllib3
from requests.auth import AuthBase

from fleetpulse.errors import StartError
from fleetpulse.yamldoc import read_secret

log = logging.getLogger(__name__)

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MOST_OF_AN_ANSWER = 64 << 10  # bytes read of a response
_OTHERS_READ = 0o004
# The page itself is at fault; sent again it would be refused again.
_PAGE_FAULTS = frozenset({400, 409, 411, 413, 415, 422})
_MENDS = {
    401: "the key is not accepted; put a valid one of scope push into push.key_file",
    403: "the key may not push for this server; is it on the API's whitelist, the key its own?",
    404: "nothing there takes pushes; does push.url name the API?",
    405: "nothing there takes pushes; does push.url name the API?",
}


class Verdict(enum.Enum):
    """What to do with the page."""

    SENT = enum.auto()
    LATER = enum.auto()  # keep it and try again
    REFUSED = enum.auto()  # set it aside, go on with the next


@dataclass(frozen=True, slots=True)
class Answer:
    """text is for the log; retry_after in seconds; rejected counts samples of a page sent.

    paced: the API only asks for a slower pace, as it will when many pages come at once.
    """

    verdict: Verdict
    text: str = ""
    retry_after: float | None = None
    rejected: int = 0
    paced: bool = False


class Post(Protocol):
    def send(self, batch_id: str, at: float, body: bytes) -> Answer:
        """Sends a gzipped page made at Unix time at. Does not raise for the network's faults."""


class HttpPost:
    """Sends with a key that is read from its file each time, so that it can be exchanged."""

    def __init__(
        self,
        url: str,
        key_file: Path,
        server: str,
        timeout: float,
        *,
        ca_file: Path | None = None,
        session: requests.Session | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._url, self._server, self._timeout, self._now = url, server, timeout, now
        self._key = KeyFile(key_file)
        self._verify = True if ca_file is None else str(ca_file)
        self._session = session or requests.Session()

    def send(self, batch_id: str, at: float, body: bytes) -> Answer:
        try:
            key = self._key.read()
        except (StartError, OSError) as err:
            return Answer(Verdict.LATER, str(err))
        try:
            with self._session.post(
                self._url,
                params={"server": self._server, "batch_id": batch_id, "timestamp": f"{at:.3f}"},
                data=body,
                headers={"Content-Type": _CONTENT_TYPE, "Content-Encoding": "gzip"},
                auth=_Bearer(key),
                timeout=self._timeout,
                verify=self._verify,
                allow_redirects=False,  # the key is for this address and no other
                stream=True,  # so that no more is read than we want
            ) as response:
                text = response.raw.read(_MOST_OF_AN_ANSWER, decode_content=True)
                return judge(response.status_code, response.headers, text, self._now())
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as err:
            return Answer(Verdict.LATER, f"{self._url}: {_reason(err)}")


class KeyFile:
    """A key on disk. Others being able to read it is worth one warning."""

    def __init__(self, path: Path) -> None:
        self._path, self._warned = path, False

    def read(self) -> str:
        """StartError, without the content, where there is no usable key."""
        key = read_secret(None, self._path) or ""
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise StartError(f"{self._path}: holds no key; write the key alone, in one line")
        if not self._warned and self._path.stat().st_mode & _OTHERS_READ:
            self._warned = True
            log.warning("%s: every user can read this key; chmod 600 it", self._path)
        return key


class _Bearer(AuthBase):
    # As auth and not as a header: else requests would prefer what a ~/.netrc says.
    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def judge(status: int, headers: Mapping[str, str], body: bytes, now: float) -> Answer:
    """What a response means for the page that was sent."""
    if 200 <= status < 300:
        return Answer(Verdict.SENT, rejected=_rejected(body))
    if 300 <= status < 400:
        where = _printable(headers.get("Location", "another address"))
        return Answer(Verdict.LATER, f"HTTP {status}: moved to {where}; put that into push.url")
    if status in _PAGE_FAULTS:
        return Answer(Verdict.REFUSED, f"HTTP {status}: {_excerpt(body)}")
    text = "; ".join(filter(None, (_MENDS.get(status), _excerpt(body))))
    wait = retry_after(headers.get("Retry-After", ""), now)
    return Answer(Verdict.LATER, f"HTTP {status}: {text}", wait, paced=status == 429)


def retry_after(value: str, now: float) -> float | None:
    """Seconds in a Retry-After header (RFC 9110, 10.2.3): a number or a date."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    except ValueError:
        return None


def _rejected(body: bytes) -> int:
    rejected = _fields(body).get("rejected")
    if isinstance(rejected, list):  # the API may tell them one by one
        return len(rejected)
    return rejected if isinstance(rejected, int) else 0


def _excerpt(body: bytes) -> str:
    """What the API says is wrong, or the beginning of whatever else answered."""
    error = _fields(body).get("error")
    return _printable(error if isinstance(error, str) else body.decode(errors="replace"))


def _fields(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _printable(text: str) -> str:
    """A line for the log, whatever a stranger wrote: no control characters, no novel."""
    words = " ".join(text.split())
    return "".join(char for char in words if char.isprintable())[:200]


def _reason(err: BaseException) -> str:
    """The first cause: requests and urllib3 wrap `Connection refused` three times over."""
    while (cause := err.__cause__ or err.__context__) is not None:
        err = cause
    return f"{type(err).__name__}: {err}"[:300]
