"""Wires the API: a Flask application from ready collaborators."""

import time
from collections.abc import Callable, Sequence

from flask import Blueprint, Flask
from prometheus_client import CollectorRegistry

from api import (
    catalog,
    expressions,
    federate,
    graph,
    metrics,
    observe,
    prometheus,
    push,
    rules,
    server,
    servers,
    status,
    targets,
    topqueries,
)
from api.about import About
from api.auth import Gate
from api.body import FormRequest
from api.compress import compress
from api.config import ApiConfig
from api.inventory import Inventory
from api.keys import KeyStore
from api.limits import limit_rate
from api.pushmemory import PushCounters, PushMemory
from api.querylog import QueryLog
from api.querymetrics import QueryMetrics
from api.remotewrite import receiver as remotewrite
from api.respond import map_errors
from api.templates import Templates
from api.watched import WatchedEngine, Witness
from fleetpulse.promql.result import QueryEngine
from fleetpulse.storage.base import SampleWriter, SeriesReader

_API = "/api/v1"
_REMOTE_WRITE = "remote_write.receive"
_NOTHING = About()


def create_app(
    config: ApiConfig,
    engine: QueryEngine,
    reader: SeriesReader,
    writer: SampleWriter,
    keys: KeyStore,
    registry: CollectorRegistry,
    *,
    now: Callable[[], float] = time.time,
    about: About = _NOTHING,
) -> Flask:
    """The WSGI application. StartError where keys are needed and there are none.

    Closes none of what it is handed. All state is behind locks: threads may share it.
    """
    app = _guarded_app(config, keys, registry)
    top = topqueries.TopQueries(now)
    engine = _watched(engine, config, registry, top, now)
    memory = PushMemory(config.push.remembered_batches)
    inventory = Inventory(
        engine, reader, config.servers, config.push.servers, memory.address, config.query.timeout
    )
    pushes = push.PushReceiver(config.push, writer, memory, PushCounters(registry), now)
    remote_writes = remotewrite.RemoteWriteReceiver(config.remote_write, writer, registry, now)
    for page in (
        push.blueprint(pushes),
        remotewrite.blueprint(remote_writes),
        metrics.blueprint(engine, reader, Templates.load(), config.query, now),
        servers.blueprint(inventory, now),
        topqueries.blueprint(top),
        *_prometheus_api(config, engine, reader, about, now),
    ):
        app.register_blueprint(page, url_prefix=_API)
    for page in (
        observe.blueprint(registry, lambda: _summary(config)),
        graph.blueprint(),
        federate.blueprint(reader, config.query, about, now),
        status.version_blueprint(),
        server.lifecycle_blueprint(),
    ):
        app.register_blueprint(page)
    return app


def _prometheus_api(
    config: ApiConfig,
    engine: QueryEngine,
    reader: SeriesReader,
    about: About,
    now: Callable[[], float],
) -> Sequence[Blueprint]:
    return (
        prometheus.blueprint(engine, config.query, now),
        catalog.blueprint(reader, config.query),
        targets.blueprint(config.scrapers),
        rules.blueprint(config.rules),
        status.blueprint(about, reader, now),
        expressions.blueprint(experimental=about.promql.experimental),
        server.blueprint(about.promql),
    )


def _guarded_app(config: ApiConfig, keys: KeyStore, registry: CollectorRegistry) -> Flask:
    """Without a page yet; who may ask for what, and how often, is seen to for all."""
    gate = Gate(
        config,
        keys,
        scopes={"push.receive": "push", _REMOTE_WRITE: "push"},
        open_endpoints=observe.OPEN_ENDPOINTS,
    )
    gate.check_start()
    app = _bare_app(config)
    map_errors(app)
    observe.observe(app, registry)
    compress(app)
    observe.guard_headers(app)
    gate.install(app)
    limit_rate(app, config, observe.OPEN_ENDPOINTS, unmetered=(_REMOTE_WRITE,))
    app.before_request(gate.authorize)
    return app


def _watched(
    engine: QueryEngine,
    config: ApiConfig,
    registry: CollectorRegistry,
    top: topqueries.TopQueries,
    now: Callable[[], float],
) -> WatchedEngine:
    """The engine for all endpoints: whatever a client asks of it ends with that client."""
    witnesses: list[Witness] = [top.note]
    if config.query.log is not None:
        log = QueryLog(config.query.log, config.query.log_slower_than, registry)
        witnesses.append(log.note)
    query_metrics = QueryMetrics(registry, config.query.max_concurrency)
    return WatchedEngine(engine, query_metrics, witnesses, now=now)


def _bare_app(config: ApiConfig) -> Flask:
    app = Flask("api", static_folder=None)
    app.request_class = FormRequest
    # Read by Flask while the body comes in: also where the sender does not tell its length.
    app.config["MAX_CONTENT_LENGTH"] = config.push.max_body
    app.config["MAX_FORM_MEMORY_SIZE"] = 1 << 20
    app.config["MAX_FORM_PARTS"] = 1000
    app.url_map.merge_slashes = False
    app.url_map.strict_slashes = False
    return app


def _summary(config: ApiConfig) -> str:
    """The line of /-/ready, for people."""
    guard = "keys needed" if config.needs_keys else "reads need no key"
    count = len(config.push.servers)
    pushers = f", {count} server{'s' * (count != 1)} may push" if count else ""
    return f"{guard}{pushers}"
