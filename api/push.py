"""POST /api/v1/metrics: samples from hosts that cannot be reached."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Request, Response, request

from api import params
from api.auth import caller
from api.body import read_body
from api.config import PushConfig, PushServer
from api.pages import PageMaker
from api.pushed import Batch, Faults, TimeBounds, load_json, read_json, read_text
from api.pushmemory import PushCounters, PushMemory
from api.respond import Refusal, bad_data, plain
from api.textpages import Pushed, TextPages
from fleetpulse.storage.base import SampleWriter

_OPENMETRICS = "application/openmetrics-text"
_MAX_BATCH_ID = 200


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
        self._maker, self._texts = PageMaker(), TextPages()

    def receive(self, req: Request) -> Response:
        """Refusal or StorageError where nothing was stored."""
        named = req.args.get("server", "")
        if named:
            self._allowed(named)  # before the body is read
        body = read_body(req, self._config.max_body, self._config.max_decompressed)
        received = self._now()
        faults = Faults()
        if _is_json(req, body):
            push, pushed = self._read_json(req, body, received, faults)
        else:
            push, pushed = self._read_text(req, body, received, faults)
        self._memory.came_from(push.server.name, req.remote_addr or "")
        if pushed is None or not self._store(push, pushed):
            return self._duplicate(push)
        self._counters.samples.labels("rejected").inc(faults.count)
        return _told(pushed.accepted, faults, 0)

    def _read_json(
        self, req: Request, body: bytes, received: float, faults: Faults
    ) -> tuple[_Push, Pushed | None]:
        document = load_json(body)
        push = self._push(req, document)
        if self._memory.seen(push.server.name, push.batch_id) is not None:
            return push, None
        samples = document.get("samples")
        if not isinstance(samples, list):
            raise bad_data('samples: must be a list of {"name":…,"labels":{…},"value":…}')
        self._check_count(len(samples))
        batch = read_json(samples, round(received * 1000), self._bounds(received), faults)
        return push, self._pushed(push, batch, received)

    def _read_text(
        self, req: Request, body: bytes, received: float, faults: Faults
    ) -> tuple[_Push, Pushed | None]:
        push = self._push(req, {})
        if self._memory.seen(push.server.name, push.batch_id) is not None:
            return push, None
        bounds = self._bounds(received)
        at_ms = _page_time(req, round(received * 1000), bounds)
        openmetrics = req.mimetype == _OPENMETRICS
        pushed = self._texts.read(push.server, body, at_ms, received, openmetrics=openmetrics)
        if pushed is None:
            batch = read_text(body, at_ms, openmetrics=openmetrics, bounds=bounds, faults=faults)
            pushed = self._pushed(push, batch, received)
        self._check_count(pushed.accepted)
        return push, pushed

    def _pushed(self, push: _Push, batch: Batch, received: float) -> Pushed:
        pages = self._maker.pages(push.server, batch, received)
        return Pushed(pages, batch.metadata, len(batch.lines))

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

    def _store(self, push: _Push, pushed: Pushed) -> bool:
        """False where another request has stored the same batch in the meantime."""
        name = push.server.name
        with self._memory.turn(name):
            if self._memory.seen(name, push.batch_id) is not None:
                return False
            self._writer.write(pushed.pages)
            self._memory.remember(name, push.batch_id, pushed.accepted)
        self._counters.batches.labels("stored").inc()
        self._counters.samples.labels("accepted").inc(pushed.accepted)
        if self._memory.is_news(name, pushed.metadata):
            self._writer.describe(pushed.metadata)
            self._memory.described(name, pushed.metadata)
        return True

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
