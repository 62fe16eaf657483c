"""POST /api/v1/write: Prometheus' remote write, from the request to the store and the answer."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
from flask import Blueprint, Request, Response, request
from prometheus_client import CollectorRegistry

from api.auth import caller
from api.remotewrite import decode, version1, version2
from api.remotewrite.config import RemoteWriteConfig
from api.remotewrite.counters import RemoteWriteCounters
from api.remotewrite.incoming import Incoming
from api.remotewrite.paging import pages_of
from api.remotewrite.symbols import Symbols
from api.remotewrite.table import LabelLimits, SeriesTable
from api.remotewrite.wire import WireError
from api.respond import Refusal, bad_data, failure
from fleetpulse.errors import StorageError
from fleetpulse.model import Metadata, Page
from fleetpulse.storage.base import SampleWriter

_RETRY = {"Retry-After": "2"}
_DESCRIBED_MOST = 50_000


class RemoteWriteReceiver:
    """Safe from any thread: requests are read one after the other, and stored side by side.

    What a request holds is stored whole or not at all, but for samples that are refused for good.
    A request that comes again makes no difference: the same series, the same times.
    """

    def __init__(
        self,
        config: RemoteWriteConfig,
        writer: SampleWriter,
        registry: CollectorRegistry,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._config, self._writer, self._now = config, writer, now
        limits = LabelLimits(
            config.label_limit, config.label_name_length_limit, config.label_value_length_limit
        )
        self._lock = threading.Lock()  # guards the three below
        self._table = SeriesTable(config.target_labels, config.max_series, limits)
        self._symbols = Symbols()
        self._described: dict[str, Metadata] = {}
        self._places = threading.Semaphore(config.max_concurrency)
        self._counters = RemoteWriteCounters(registry, lambda: len(self._table))

    def receive(self, req: Request) -> Response:
        """Refusal or StorageError where nothing was stored."""
        if not self._config.enabled:
            raise Refusal(404, "remote write is off; set api.remote_write.enabled")
        version = decode.message_of(req)
        try:
            with self._place():
                response = self._receive(req, version)
        except (Refusal, StorageError) as err:
            later = isinstance(err, StorageError) or err.code >= 500
            self._counters.request(version, "failed" if later else "refused")
            raise
        self._counters.request(version, "stored" if response.status_code == 204 else "partial")
        return response

    def _receive(self, req: Request, version: decode.Version) -> Response:
        body = decode.read(req, self._config.max_body, self._config.max_decompressed)
        now = self._now()
        with self._lock:
            incoming, pages = self._read(body, version, now)
        if pages:
            self._writer.write(pages)
        self._describe(incoming.metadata)
        stored = len(incoming.samples)
        ignored = {"exemplars": incoming.exemplars, "start_timestamps": incoming.start_times}
        self._counters.taken(stored, incoming.refused, ignored)
        return _answer(stored, incoming)

    def _read(
        self, body: bytes, version: decode.Version, now: float
    ) -> tuple[Incoming, list[Page]]:
        self._table.sweep(now)
        try:
            if version == "1.0":
                incoming = version1.read(body, self._table, now)
            else:
                incoming = version2.read(body, self._table, self._symbols, now)
        except WireError as err:
            raise bad_data(f"the body is no message of remote write {version}: {err}") from err
        if len(incoming.samples) > self._config.max_samples:
            raise Refusal(
                413,
                f"{len(incoming.samples)} samples; send at most {self._config.max_samples} at a "
                f"time (max_samples_per_send)",
            )
        self._check_key(incoming)
        self._drop_out_of_bounds(incoming, now)
        return incoming, pages_of(incoming.samples, self._table, now)

    def _check_key(self, incoming: Incoming) -> None:
        """A key that is bound to a server writes series of that instance, and no others."""
        key = caller().key
        if key is None or key.server is None:
            return
        for instance in self._table.values("instance", incoming.samples.series):
            if instance != key.server:
                raise Refusal(
                    403,
                    f"this key may only write series with instance={key.server!r}, and not "
                    f"{instance[:100]!r}; use a push key without --server",
                )

    def _drop_out_of_bounds(self, incoming: Incoming, now: float) -> None:
        oldest = round((now - self._config.max_age) * 1000)
        newest = round((now + self._config.max_future) * 1000)
        samples = incoming.samples
        good = np.ones(len(samples), bool)
        for reason, bad in (
            ("too_old", samples.times_ms < oldest), ("too_far_ahead", samples.times_ms > newest),
        ):  # fmt: skip
            if bad.any():
                place = int(np.flatnonzero(bad)[0])
                labels = self._table.labels(int(samples.series[place]))
                told = f"{labels} at {int(samples.times_ms[place])} ms: {reason.replace('_', ' ')}"
                incoming.refuse(reason, int(bad.sum()), told)
                good &= ~bad
        if not good.all():
            incoming.samples = samples.only(good)

    def _describe(self, metadata: dict[str, Metadata]) -> None:
        with self._lock:
            news = {
                name: told for name, told in metadata.items() if self._described.get(name) != told
            }
        if not news:
            return
        self._writer.describe(news)
        with self._lock:
            if len(self._described) > _DESCRIBED_MOST:
                self._described.clear()
            self._described.update(news)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """One of the places for requests that are worked on."""
        if not self._places.acquire(timeout=self._config.max_wait):
            raise Refusal(503, "too many remote write requests at once", headers=_RETRY)
        try:
            yield
        finally:
            self._places.release()


def _answer(stored: int, incoming: Incoming) -> Response:
    """204 where all is stored; else 400, which tells the sender not to send it again."""
    if not incoming.told:
        response = Response(status=204)
    else:
        counts = ", ".join(f"{count} {reason}" for reason, count in incoming.refused.items())
        message = f"{stored} samples stored; refused: {counts}: " + "; ".join(incoming.told)
        response = failure(400, "bad_data", message)
    headers = response.headers
    headers["X-Prometheus-Remote-Write-Samples-Written"] = str(stored)
    headers["X-Prometheus-Remote-Write-Histograms-Written"] = "0"
    headers["X-Prometheus-Remote-Write-Exemplars-Written"] = "0"
    return response


def blueprint(receiver: RemoteWriteReceiver) -> Blueprint:
    bp = Blueprint("remote_write", __name__)

    @bp.post("/write")
    def receive() -> Response:
        return receiver.receive(request)

    return bp
