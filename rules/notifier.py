"""Sends alerts to the bridges, by Alertmanager's API v2, each over a queue of its own."""

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import requests

from fleetpulse.errors import NotifyError
from fleetpulse.model import Alert, Labels
from fleetpulse.service import STOP_DEADLINE
from rules.metrics import NotifierMetrics

log = logging.getLogger(__name__)

_CAPACITY = 10_000
_BATCH = 256
_FIRST_BACK_OFF = 1.0
_LONGEST_BACK_OFF = 30.0
_REASON_BYTES = 300
_LAST_CHANCE = 2.0  # seconds for the last request when the role stops


class Post(Protocol):
    """Sends JSON bodies. Used by one thread, which closes it at its end."""

    def __call__(self, url: str, body: bytes, timeout: float) -> None:
        """One POST, within a time limit in seconds. Raises NotifyError."""

    def close(self) -> None: ...


def encode(alerts: Sequence[Alert], external_labels: Labels) -> bytes:
    """The body of POST /api/v2/alerts; external labels fill in what an alert lacks."""
    return json.dumps([_encoded(alert, external_labels) for alert in alerts]).encode()


def _encoded(alert: Alert, external_labels: Labels) -> dict[str, Any]:
    encoded: dict[str, Any] = {
        "labels": dict(external_labels.merged(alert.labels)),
        "annotations": dict(alert.annotations),
        "startsAt": rfc3339(alert.starts_at),
        "generatorURL": alert.generator_url,
    }
    if alert.ends_at is not None:
        encoded["endsAt"] = rfc3339(alert.ends_at)
    return encoded


def rfc3339(at: float) -> str:
    """Unix seconds → 2026-01-02T03:04:05.678Z."""
    moment = datetime.fromtimestamp(round(at * 1000) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class HttpPost:
    """Post over HTTP. A redirect is an answer like any other: what is sent goes nowhere else."""

    def __init__(self) -> None:
        self._session = requests.Session()
        # Neither a proxy nor a .netrc of the environment has a say in where alerts go.
        self._session.trust_env = False

    def __call__(self, url: str, body: bytes, timeout: float) -> None:
        headers = {"Content-Type": "application/json"}
        try:
            with self._session.post(
                url, data=body, headers=headers, timeout=timeout, allow_redirects=False, stream=True
            ) as answer:
                code = answer.status_code
                text = answer.raw.read(_REASON_BYTES, decode_content=True) if code >= 300 else b""
        except (requests.RequestException, OSError) as err:
            raise NotifyError(f"{url}: {_reason(err)}", retriable=True) from err
        if not 200 <= code < 300:
            reason = text.decode(errors="replace").strip()
            retriable = code >= 500 or code in (408, 429)
            raise NotifyError(f"{url}: HTTP {code}: {reason}", retriable=retriable)

    def close(self) -> None:
        self._session.close()


def _reason(err: Exception) -> str:
    """The innermost cause: requests wraps it in what nobody wants to read."""
    while err.__context__ is not None and isinstance(err.__context__, Exception):
        err = err.__context__
    return str(err) or type(err).__name__


class SendQueue:
    """Alerts on their way to one bridge. Safe from any thread.

    Of one alert only the latest word waits: after an outage the bridge needs no history. When the
    queue is full, the oldest are dropped and counted.
    """

    def __init__(self, capacity: int, on_drop: Callable[[int], None]) -> None:
        self._capacity, self._on_drop = capacity, on_drop
        self._waiting: dict[Labels, Alert] = {}
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, alerts: Sequence[Alert]) -> None:
        with self._changed:
            for alert in alerts:
                self._waiting[alert.labels] = alert
            self._trim()
            self._changed.notify_all()

    def put_back(self, alerts: Sequence[Alert]) -> None:
        """Returns alerts that were not sent to the front, unless there is newer word of them."""
        with self._changed:
            returned = {alert.labels: alert for alert in alerts}
            self._waiting = {**returned, **self._waiting}
            self._trim()

    def take(self, most: int) -> list[Alert]:
        with self._changed:
            taken = list(self._waiting.values())[:most]
            for alert in taken:
                del self._waiting[alert.labels]
            return taken

    def wait(self, until: Callable[[], bool]) -> None:
        """Blocks until something waits to be sent, or until() is true; wake() has it look again."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or until())

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _trim(self) -> None:
        surplus = len(self._waiting) - self._capacity
        if surplus > 0:
            for labels in list(self._waiting)[:surplus]:
                del self._waiting[labels]
            self._on_drop(surplus)


class BridgeSender:
    """The thread that sends to one bridge: a failed request is tried again, ever more slowly."""

    def __init__(
        self,
        url: str,
        post: Post,
        metrics: NotifierMetrics,
        external_labels: Labels,
        *,
        timeout: float,
        capacity: int = _CAPACITY,
    ) -> None:
        self.name = f"alerts to {url}"
        self._url, self._post = url, post
        self.external_labels, self.timeout = external_labels, timeout  # a reload may change both
        self._metrics = metrics
        self._stopping = threading.Event()
        self._failures = 0
        metrics.add_bridge(url)
        self.queue = SendQueue(capacity, metrics.dropped.labels(url).inc)
        metrics.queued.labels(url).set_function(lambda: len(self.queue))
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stopping(self) -> None:
        """Tells the thread to send once more what waits, and then to end."""
        self._stopping.set()
        self.queue.wake()

    def stop(self, deadline: float) -> None:
        """Waits for the thread's end. deadline is a monotonic time."""
        self.stopping()
        if self._thread.is_alive():
            self._thread.join(max(0.0, deadline - time.monotonic()))
        if len(self.queue):
            log.warning("%s: stopped with %d alerts unsent", self.name, len(self.queue))

    def send_batch(self, timeout: float | None = None) -> bool:
        """One request with what waits; whether the bridge answers well (or nothing was to do)."""
        alerts = self.queue.take(_BATCH)
        if not alerts:
            return True
        started = time.monotonic()
        body = encode(alerts, self.external_labels)
        try:
            self._post(f"{self._url}/api/v2/alerts", body, timeout or self.timeout)
        except NotifyError as err:
            self._failed(alerts, err)
            return not err.retriable
        finally:
            self._metrics.latency.labels(self._url).observe(time.monotonic() - started)
        self._metrics.sent.labels(self._url).inc(len(alerts))
        if self._failures:
            log.info("%s: works again", self.name)
        self._failures = 0
        return True

    def _failed(self, alerts: Sequence[Alert], err: NotifyError) -> None:
        self._metrics.errors.labels(self._url).inc(len(alerts))
        if err.retriable:
            self.queue.put_back(alerts)
            # Once when it begins; the metrics tell how long it lasts.
            level = logging.DEBUG if self._failures else logging.WARNING
            log.log(level, "alerts wait for the bridge: %s", err)
            self._failures += 1
        else:
            self._metrics.dropped.labels(self._url).inc(len(alerts))
            log.error("%d alerts refused for good: %s", len(alerts), err)

    def back_off(self) -> float:
        """Seconds to wait after the failures so far."""
        return min(_LONGEST_BACK_OFF, _FIRST_BACK_OFF * 2.0 ** min(self._failures - 1, 10))

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.queue.wait(self._stopping.is_set)
            if not self._turn():
                self._stopping.wait(self.back_off())
        self._turn(min(_LAST_CHANCE, self.timeout))
        self._post.close()

    def _turn(self, timeout: float | None = None) -> bool:
        try:
            return self.send_batch(timeout)
        except Exception:  # the thread must go on
            log.exception("%s failed", self.name)
            self._failures += 1
            return False


class Notifier:
    """Hands alerts to every bridge. send() returns at once and is safe from any thread.

    create makes the sender for a URL; the senders come and go with set_urls().
    """

    name = "notifier"

    def __init__(self, create: Callable[[str], BridgeSender]) -> None:
        self._create = create
        self._senders: dict[str, BridgeSender] = {}

    def set_urls(self, urls: Sequence[str]) -> None:
        """Starts senders for the URLs that are new and stops those of URLs that are gone."""
        old = self._senders
        self._senders = {url: old.get(url) or self._create(url) for url in urls}
        for url, sender in self._senders.items():
            if url not in old:
                sender.start()
        self._end([sender for url, sender in old.items() if url not in self._senders])

    def change(self, external_labels: Labels, timeout: float) -> None:
        """Takes over what a reload may have changed for all senders."""
        for sender in self._senders.values():
            sender.external_labels, sender.timeout = external_labels, timeout

    def send(self, alerts: Sequence[Alert]) -> None:
        for sender in self._senders.values():
            sender.queue.add(alerts)

    def stop(self, within: float = STOP_DEADLINE) -> None:
        """Sends what waits if that takes no more than so many seconds."""
        self._end(list(self._senders.values()), within)

    def _end(self, senders: Sequence[BridgeSender], within: float = STOP_DEADLINE) -> None:
        deadline = time.monotonic() + within
        for sender in senders:
            sender.stopping()
        for sender in senders:
            sender.stop(deadline)
