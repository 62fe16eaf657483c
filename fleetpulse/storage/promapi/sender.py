"""One write over HTTP, and what its answer means for the samples in it."""

import logging
import time
from collections.abc import Callable, Mapping

import requests
import urllib3

from fleetpulse.errors import FleetPulseError
from fleetpulse.storage.influx.answers import retry_after
from fleetpulse.storage.promapi.client import PromApiClient, auth_of, said_in, unreachable
from fleetpulse.storage.promapi.codec import Codec
from fleetpulse.storage.promapi.config import PromApiConfig
from fleetpulse.storage.sending import Fault, SendError

log = logging.getLogger(__name__)

_MOST_OF_AN_ANSWER = 64 << 10


class Sender:
    """drain.Send. Safe from any thread."""

    def __init__(self, config: PromApiConfig, codec: Codec, session: requests.Session) -> None:
        self._config, self._codec, self._session = config, codec, session
        self._name = f"victoriametrics at {config.write_url}"
        query = {} if config.protocol == "remote_write" else {"precision": "ms"}
        self._query: Mapping[str, str] = query

    def __call__(self, lines: bytes, timeout: float) -> None:
        try:
            with self._session.post(
                self._config.write_url,
                params=self._query,
                data=self._codec.body(lines),
                headers={**self._codec.headers, "Accept-Encoding": "identity"},
                auth=auth_of(self._config),
                timeout=timeout,
                allow_redirects=False,  # the credentials are for this address and no other
                stream=True,  # so that no more is read than we want
            ) as answer:
                body = answer.raw.read(_MOST_OF_AN_ANSWER)
                if not 200 <= answer.status_code < 300 or _is_page(body):
                    raise refused(self._name, answer.status_code, answer.headers, body)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as err:
            raise SendError(unreachable(self._name, err)) from err
        except FleetPulseError as err:  # a secret's file that is gone for the moment
            raise err if isinstance(err, SendError) else SendError(str(err)) from err


def refused(name: str, status: int, headers: Mapping[str, str], body: bytes) -> SendError:
    """What an answer means that is no success. Pure."""
    fault, mend = _judged(status, body)
    message = f"{name}: HTTP {status}: {said_in(body)}{'; ' if mend else ''}{mend}"
    return SendError(message, fault, retry_after=retry_after(headers.get("Retry-After") or ""))


def _judged(status: int, body: bytes) -> tuple[Fault, str]:
    if _is_page(body):
        # Of something in between, which has not looked at the samples.
        return ("moment" if status >= 500 else "settings"), _ANOTHER
    if status in (401, 403):
        return "settings", "check storage.username and password, or token, and that it may write"
    if status == 404 or b"unsupported path" in body:
        return "settings", _ANOTHER
    if 300 <= status < 400:
        return "settings", "redirects are not followed, check storage.url or insert_url"
    if status == 413 or b"too big" in body:
        return "size", ""
    return ("lines" if status in (400, 422) else "moment"), ""


def _is_page(body: bytes) -> bool:
    return body.lstrip()[:1] == b"<"


_ANOTHER = "is it VictoriaMetrics? check storage.url, or insert_url and tenant"
PROBE = "fleetpulse_name_check"
_ASKED_EVERY = 60.0  # seconds, while the store does not say
_MEND = (
    "start VictoriaMetrics with -influxSkipSingleField, or set storage.protocol: remote_write, "
    "which needs no flag"
)


class NameCheck:
    """Before the first batch of line protocol: does a metric come back under its own name?

    VictoriaMetrics calls the field `value` of measurement m m_value, unless it is told not to. Of
    everything that was written so no query would find anything. Where the store does not say, the
    samples go out, and it is asked again a minute later. For one thread.
    """

    def __init__(
        self,
        client: PromApiClient,
        *,
        now: Callable[[], float] = time.time,
        pause: Callable[[float], None] = time.sleep,
        looks: int = 10,
    ) -> None:
        self._client, self._now, self._pause, self._looks = client, now, pause, looks
        self._passed, self._not_before = False, 0.0

    def check(self, send: Callable[[bytes], None]) -> None:
        """SendError where the name is known to be wrong."""
        if self._passed or self._now() < self._not_before:
            return
        self._not_before = self._now() + _ASKED_EVERY
        try:
            self._passed = self._passes(send)
        except SendError:
            self._not_before = 0.0
            raise
        except FleetPulseError as err:
            log.warning("cannot tell whether metrics keep their names: %s", err)

    def _passes(self, send: Callable[[bytes], None]) -> bool:
        at_ms = round(self._now() * 1000)
        send(f"{PROBE},at={at_ms} value=1 {at_ms}\n".encode())
        for look in range(self._looks):
            self._pause(0.5)  # a sample can be found a second or so after it was written
            names = self._names(at_ms, look)
            if PROBE in names:
                return True
            if names:
                found = sorted(names)[0]
                raise SendError(f"the store calls a metric {PROBE} {found!r}: {_MEND}", "settings")
        return False

    def _names(self, at_ms: int, look: int) -> set[str]:
        # Each look in other words: that nothing was found is remembered for ten seconds there.
        match = f'{{__name__=~"{PROBE}.*",at=~"{at_ms}|{look}"}}'
        times = [(key, f"{at_ms // 1000 + move}") for key, move in (("start", -60), ("end", 60))]
        found = self._client.json("series", [("match[]", match), *times], 5.0).get("data")
        series = found if isinstance(found, list) else []
        return {str(one.get("__name__")) for one in series if isinstance(one, dict)}
