"""POST /api/v1/metrics: samples from hosts that cannot be reached."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Request, Response, request
from prometheus_client import CollectorRegistry, Counter

from api import params
from api.auth import caller
from api.body import read_body
from api.config import PushConfig, PushServer
from api.pages import PageMaker
from api.pushed import Batch, Faults, TimeBounds, load_json, read_json, read_text
from api.respond import Refusal, bad_data, plain
from fleetpulse.model import Metadata
from fleetpulse.storage.base import SampleWriter

_OPENMETRICS = "application/openmetrics-text"
_MAX_BATCH_ID = 200


class PushMemory:
    """What is remembered of each server's pushes. In memory, bounded, safe from any thread.

    A batch that comes again after a restart of the API is stored again: the same series at the
    same times, which is the same samples.
    """

    def __init__(self, batches: int) -> None:
        self._lock = threading.Lock()
        self._most = batches
        self._batches: dict[str, OrderedDict[str, int]] = {}
        self._addresses: dict[str, str] = {}
        self._metadata: dict[str, Mapping[str, Metadata]] = {}

    def seen(self, server: str, batch_id: str) -> int | None:
        """How many samples of the batch were stored, if it was."""
        with self._lock:
            return self._batches.get(server, OrderedDict[str, int]()).get(batch_id)

    def remember(self, server: str, batch_id: str, samples: int) -> None:
        if not batch_id:
            return
        with self._lock:
            batches = self._batches.setdefault(server, OrderedDict())
            batches[batch_id] = samples
            if len(batches) > self._most:
                batches.popitem(last=False)

    def address(self, server: str) -> str:
        """Where the server's last push came from, or an empty text."""
        with self._lock:
            return self._addresses.get(server, "")

    def came_from(self, server: str, address: str) -> None:
        with self._lock:
            self._addresses[server] = address

    def is_news(self, server: str, metadata: Mapping[str, Metadata]) -> bool:
        """Whether metadata says anything that the server's last page did not."""
        with self._lock:
            return bool(metadata) and self._metadata.get(server) != metadata

    def described(self, server: str, metadata: Mapping[str, Metadata]) -> None:
        with self._lock:
            self._metadata[server] = metadata


class PushCounters:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.samples = Counter(
            "fleetpulse_api_push_samples_total",
            "Pushed samples by what became of them.",
            ["result"],
            registry=registry,
        )
        self.batches = Counter(
            "fleetpulse_api_push_batches_total",
            "Pushed batches by what became of them.",
            ["result"],
            registry=registry,
        )
        for result in ("accepted", "rejected", "duplicate"):
            self.samples.labels(result)
        for result in ("stored", "duplicate"):
            self.batches.labels(result)


@dataclass(frozen=True, slots=True)
class _Push:
    """One request's server and batch_id, checked."""

    server: PushServer
    batch_id: str


class PushReceiver:
    """Takes a push from the request's bytes to the store."""

    def __init__(
        self,
        config: PushConfig,
        writer: SampleWriter,
        memory: PushMemory,
        counters: PushCounters,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._config, self._writer, self._now = config, writer, now
        self._memory, self._counters = memory, counters
        self._servers = {server.name: server for server in config.servers}
        self._maker = PageMaker()

    def receive(self, req: Request) -> Response:
        """Refusal or StorageError where nothing was stored."""
        named = req.args.get("server", "")
        if named:
            self._allowed(named)  # before the body is read
        body = read_body(req, self._config.max_body, self._config.max_decompressed)
        received = self._now()
        faults = Faults()
        if _is_json(req, body):
            push, batch = self._read_json(req, body, received, faults)
        else:
            push, batch = self._read_text(req, body, received, faults)
        self._memory.came_from(push.server.name, req.remote_addr or "")
        if batch is None:
            return self._duplicate(push)
        self._store(push, batch, received)
        self._counters.samples.labels("rejected").inc(faults.count)
        return _told(len(batch.lines), faults, 0)

    def _read_json(
        self, req: Request, body: bytes, received: float, faults: Faults
    ) -> tuple[_Push, Batch | None]:
        document = load_json(body)
        push = self._push(req, document)
        if self._memory.seen(push.server.name, push.batch_id) is not None:
            return push, None
        samples = document.get("samples")
        if not isinstance(samples, list):
            raise bad_data('samples: must be a list of {"name":…,"labels":{…},"value":…}')
        self._check_count(len(samples))
        return push, read_json(samples, round(received * 1000), self._bounds(received), faults)

    def _read_text(
        self, req: Request, body: bytes, received: float, faults: Faults
    ) -> tuple[_Push, Batch | None]:
        push = self._push(req, {})
        if self._memory.seen(push.server.name, push.batch_id) is not None:
            return push, None
        bounds = self._bounds(received)
        at_ms = _page_time(req, round(received * 1000), bounds)
        openmetrics = req.mimetype == _OPENMETRICS
        batch = read_text(body, at_ms, openmetrics=openmetrics, bounds=bounds, faults=faults)
        self._check_count(len(batch.lines))
        return push, batch

    def _push(self, req: Request, document: Mapping[str, Any]) -> _Push:
        """Who pushes which batch: from the query string or the document, or by the key."""
        key = caller().key
        bound = key.server if key else None
        name = req.args.get("server") or document.get("server") or bound or ""
        batch_id = req.args.get("batch_id") or document.get("batch_id") or ""
        if not isinstance(name, str) or not name:
            raise bad_data("server: missing; name the server that the samples are of")
        if not isinstance(batch_id, str) or len(batch_id) > _MAX_BATCH_ID:
            raise bad_data(f"batch_id: must be a text of at most {_MAX_BATCH_ID} characters")
        return _Push(self._allowed(name), batch_id)

    def _allowed(self, name: str) -> PushServer:
        key = caller().key
        if key is not None and key.server is not None and key.server != name:
            raise Refusal(403, f"this key may only push for server {key.server!r}")
        server = self._servers.get(name)
        if server is None:
            raise Refusal(403, f"server {name[:100]!r} is not in api.push.servers; add it there")
        return server

    def _bounds(self, received: float) -> TimeBounds:
        return TimeBounds(
            round((received - self._config.max_age) * 1000),
            round((received + self._config.max_future) * 1000),
        )

    def _check_count(self, count: int) -> None:
        if count > self._config.max_samples:
            raise Refusal(
                413, f"{count} samples; send at most {self._config.max_samples} at a time"
            )

    def _store(self, push: _Push, batch: Batch, received: float) -> None:
        name = push.server.name
        self._writer.write(self._maker.pages(push.server, batch, received))
        if self._memory.is_news(name, batch.metadata):
            self._writer.describe(batch.metadata)
            self._memory.described(name, batch.metadata)
        self._memory.remember(name, push.batch_id, len(batch.lines))
        self._counters.batches.labels("stored").inc()
        self._counters.samples.labels("accepted").inc(len(batch.lines))

    def _duplicate(self, push: _Push) -> Response:
        samples = self._memory.seen(push.server.name, push.batch_id) or 0
        self._counters.batches.labels("duplicate").inc()
        self._counters.samples.labels("duplicate").inc(samples)
        return _told(0, Faults(), samples)


def blueprint(receiver: PushReceiver) -> Blueprint:
    bp = Blueprint("push", __name__)

    @bp.post("/metrics")
    def receive() -> Response:
        return receiver.receive(request)

    return bp


def _told(accepted: int, faults: Faults, duplicate: int) -> Response:
    answer: dict[str, Any] = {
        "accepted": accepted,
        "rejected": faults.count,
        "duplicate": duplicate,
    }
    if faults.told:
        answer["errors"] = faults.told
    return plain(answer, 202)


def _is_json(req: Request, body: bytes) -> bool:
    """By the type it is sent with; a type that says nothing (curl's own) leaves the first byte."""
    if req.mimetype == "application/json":
        return True
    if req.mimetype in ("text/plain", _OPENMETRICS):
        return False
    if req.mimetype in ("", "application/octet-stream", "application/x-www-form-urlencoded"):
        return body.lstrip()[:1] == b"{"
    raise Refusal(415, f"{req.mimetype}: send application/json or a metrics page as text/plain")


def _page_time(req: Request, arrived_ms: int, bounds: TimeBounds) -> int:
    text = req.args.get("timestamp", "")
    if not text:
        return arrived_ms
    try:
        at_ms = params.parse_time(text)
    except ValueError as err:
        raise params.invalid("timestamp", str(err)) from None
    fault = bounds.fault(at_ms)
    if fault:
        raise bad_data(fault)
    return at_ms
