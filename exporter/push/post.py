"""One page to the API: POST /api/v1/metrics, with a key that is read from its file."""

import logging
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import requests
import urllib3
from requests.auth import AuthBase

from exporter.push.answer import Answer, Verdict, judge
from fleetpulse.errors import StartError
from fleetpulse.service import Stamp, stamp
from fleetpulse.yamldoc import read_secret

log = logging.getLogger(__name__)

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_HEADERS = {
    "Content-Type": _CONTENT_TYPE,
    "Content-Encoding": "gzip",
    "Accept-Encoding": "identity",  # an answer that cannot swell when it is read
}
_MOST_OF_AN_ANSWER = 64 << 10  # bytes read of a response
_OTHERS_READ = 0o004


class Post(Protocol):
    def send(self, batch_id: str, at: float, body: bytes) -> Answer:
        """Sends a gzipped page made at Unix time at. Does not raise for the network's faults."""

    def key_stamp(self) -> object:
        """Something that is equal as long as the key is the same."""


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

    def key_stamp(self) -> Stamp:
        return self._key.stamp()

    def send(self, batch_id: str, at: float, body: bytes) -> Answer:
        try:
            key = self._key.read()
        except StartError as err:
            return Answer(Verdict.LATER, str(err), denied=True)
        try:
            with self._session.post(
                self._url,
                params={"server": self._server, "batch_id": batch_id, "timestamp": f"{at:.3f}"},
                data=body,
                headers=_HEADERS,
                auth=_Bearer(key),
                timeout=self._timeout,
                verify=self._verify,
                allow_redirects=False,  # the key is for this address and no other
                stream=True,  # so that no more is read than we want
            ) as response:
                text = response.raw.read(_MOST_OF_AN_ANSWER, decode_content=False)
                return judge(response.status_code, response.headers, text, self._now())
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as err:
            return Answer(Verdict.LATER, f"{self._url}: {reason(err)}")


class KeyFile:
    """A key on disk. Others being able to read it is worth one warning."""

    def __init__(self, path: Path) -> None:
        self._path, self._warned = path, False

    def stamp(self) -> Stamp:
        return stamp([self._path])

    def read(self) -> str:
        """StartError, without the content, where there is no usable key."""
        try:
            key, mode = read_secret(None, self._path) or "", self._path.stat().st_mode
        except (StartError, OSError) as err:
            mend = "write a key of scope push there, readable for this user alone"
            raise StartError(f"{err}; {mend}") from err
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise StartError(f"{self._path}: holds no key; write the key alone, in one line")
        if not self._warned and mode & _OTHERS_READ:
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


def reason(err: BaseException) -> str:
    """Why there was no answer, in a line that is the same for the same fault.

    By the first cause: requests and urllib3 wrap `Connection refused` three times over.
    """
    while (cause := err.__cause__ or err.__context__) is not None:
        err = cause
    if isinstance(err, TimeoutError):
        return "no answer in time; is there a way to it, or is push.timeout too short?"
    if isinstance(err, ConnectionRefusedError):
        return "the connection was refused; does the API run there, and on that port?"
    if isinstance(err, socket.gaierror):
        return f"the host's name is not found ({err.strerror}); is it right, does DNS answer?"
    if isinstance(err, ssl.SSLCertVerificationError):
        why = getattr(err, "verify_message", err)
        mend = "push.url must be the name it is for, push.ca_file may hold its authority"
        return f"its certificate is not trusted ({why}); {mend}"
    if isinstance(err, ssl.SSLError):
        return f"TLS failed ({err}); does it speak https on that port?"
    return f"{type(err).__name__}: {err}"[:300]
