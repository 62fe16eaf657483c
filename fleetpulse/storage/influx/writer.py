"""Writes to InfluxDB 2, and to whatever takes its write API.

Pages become line protocol in a spool on disk, from which one thread sends them. Reads are not
offered here: InfluxDB is asked with its own languages.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException
from prometheus_client import CollectorRegistry, Counter, Gauge
from urllib3.exceptions import HTTPError

from fleetpulse.lineprotocol import LineEncoder
from fleetpulse.model import Metadata, Page
from fleetpulse.service import STOP_DEADLINE, Periodic
from fleetpulse.storage.drain import Drain, Send, SendError
from fleetpulse.storage.influxconfig import InfluxConfig
from fleetpulse.storage.spool import Spool
from fleetpulse.yamldoc import read_secret

log = logging.getLogger(__name__)

# Answers that say that the lines are wrong, or too many at a time.
_REJECTIONS = (400, 413, 422)
_MAX_ASIDE = 10 << 20  # bytes of bad lines that are kept
_LOGGED_EVERY = 100  # of bad lines, past the first ten


class InfluxWriter:
    """SampleWriter in front of InfluxDB 2.

    write() is back once the samples are safe in the spool; the store gets them by and by. The
    sending thread starts with the first write() or with start(), and then also sends what an
    earlier run left behind.
    """

    def __init__(
        self,
        config: InfluxConfig,
        spool_path: Path,
        registry: CollectorRegistry,
        *,
        send: Send | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._spool = Spool(spool_path, max_bytes=config.spool_max_bytes)
        self._tally = InfluxTally(registry, self._spool)
        self._post = None if send is not None else InfluxPost(config)
        self._encoder = LineEncoder()
        self._drain = Drain(
            self._spool,
            send or self._send,
            self._tally,
            batch_size=config.batch_size,
            timeout=config.timeout,
            clock=clock,
        )
        self._loop = Periodic("influx", self._drain.turn, config.flush_interval)
        self._lock = threading.Lock()  # guards the two below
        self._started = self._closed = False
        self._unsent = 0

    def start(self) -> None:
        """Starts to send; write() does it too."""
        with self._lock:
            if not self._started and not self._closed:
                self._started = True
                self._loop.start()

    def write(self, pages: Sequence[Page]) -> None:
        lines: list[str] = []
        left_out = 0
        for page in pages:
            encoded = self._encoder.encode(page)
            lines += encoded.lines
            left_out += encoded.left_out
        for start in range(0, len(lines), self._config.batch_size):
            part = "".join(lines[start : start + self._config.batch_size])
            # Surrogates, from pages that are no UTF-8, would be refused by the store.
            self._tally.dropped(self._spool.put(part.encode("utf-8", "replace")))
        self._tally.left_out(left_out)
        self.start()
        self._wake_for(len(lines))

    def describe(self, metadata: Mapping[str, Metadata]) -> None:
        """InfluxDB keeps no type, help or unit."""

    def close(self) -> None:
        """Tries for some seconds to send the rest; what is left stays for the next start."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if self._started:
            deadline = time.monotonic() + STOP_DEADLINE
            self._drain.interrupt()
            self._loop.stop()
            self._drain.finish(max(0.0, deadline - time.monotonic()))
        self._spool.close()
        if self._post is not None:
            self._post.close()

    def _wake_for(self, lines: int) -> None:
        with self._lock:
            self._unsent += lines
            if self._unsent < self._config.batch_size:
                return
            self._unsent = 0
        self._loop.wake()

    def _send(self, lines: bytes, timeout: float) -> None:
        assert self._post is not None
        self._post(lines, timeout)


class InfluxPost:
    """One POST /api/v2/write by influxdb-client, and what its answer means."""

    def __init__(self, config: InfluxConfig) -> None:
        self._bucket, self._org = config.bucket, config.org
        # No retries: they are Drain's. It also means that no redirect is followed.
        self._client = InfluxDBClient(
            url=config.url,
            token=read_secret(config.token, config.token_file) or "",
            org=config.org,
            enable_gzip=config.gzip,
            retries=False,
        )
        self._api: Any = self._client.write_api(write_options=SYNCHRONOUS)

    def __call__(self, lines: bytes, timeout: float) -> None:
        """One caller at a time: the client has a single time limit for all its requests."""
        self._client.conf.timeout = max(1, round(timeout * 1000))
        try:
            self._api.write(self._bucket, self._org, lines, "ms")
        except ApiException as err:
            raise _refused(err) from err
        except (HTTPError, OSError) as err:
            raise SendError(f"influxdb2: cannot be reached: {err}") from err

    def close(self) -> None:
        self._api.close()
        self._client.close()


def _refused(err: ApiException) -> SendError:
    headers = err.headers or {}
    body = err.body.decode("utf-8", "replace") if isinstance(err.body, bytes) else err.body
    said = " ".join(str(body or err.reason or "").split())[:300]
    message = f"influxdb2: HTTP {err.status}: {said}"
    if err.status in (401, 403, 404):
        message += "; check storage.token, org and bucket"
    elif err.status in (301, 302, 307, 308):
        message += "; redirects are not followed, check storage.url"
    after = str(headers.get("Retry-After", ""))
    return SendError(
        message,
        rejected=err.status in _REJECTIONS,
        retry_after=float(after) if after.isdigit() else None,
    )


class InfluxTally:
    """Counts what became of samples, and logs the bad ones."""

    def __init__(self, registry: CollectorRegistry, spool: Spool) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"fleetpulse_storage_influx_{name}", text, registry=registry)

        self._sent = counter("samples_sent_total", "Samples that the store has taken.")
        self._rejected = counter(
            "samples_rejected_total", "Samples set aside because the store refused them."
        )
        self._left_out = counter(
            "samples_left_out_total", "NaN and infinite samples, which line protocol cannot hold."
        )
        self._failures = counter("send_failures_total", "Requests to the store that failed.")
        self._dropped = counter(
            "spool_dropped_batches_total", "Batches dropped, oldest first, for want of room."
        )
        Gauge(
            "fleetpulse_storage_influx_spool_batches", "Batches on disk.", registry=registry
        ).set_function(lambda: len(spool))
        Gauge(
            "fleetpulse_storage_influx_spool_bytes", "Bytes that wait on disk.", registry=registry
        ).set_function(lambda: spool.size_bytes)
        self._seen_rejected = 0
        self._aside = spool.path.with_name(spool.path.name + ".rejected")

    def sent(self, lines: int) -> None:
        self._sent.inc(lines)

    def failed(self) -> None:
        self._failures.inc()

    def left_out(self, samples: int) -> None:
        self._left_out.inc(samples)

    def dropped(self, batches: int) -> None:
        if batches:
            self._dropped.inc(batches)
            log.error("the spool is full: dropped the %d oldest batches", batches)

    def rejected(self, line: bytes, reason: str) -> None:
        """Keeps the line beside the spool, for whoever looks into it."""
        self._rejected.inc()
        try:
            with self._aside.open("ab") as stream:
                if stream.tell() < _MAX_ASIDE:
                    stream.write(line)
        except OSError as err:
            log.error("%s: %s", self._aside, err.strerror)
        self._seen_rejected += 1
        if self._seen_rejected <= 10 or self._seen_rejected % _LOGGED_EVERY == 0:
            log.error("set aside %r: %s", line[:300], reason)
