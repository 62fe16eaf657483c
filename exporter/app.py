"""The exporter's role: /metrics for whoever scrapes, and push mode."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from prometheus_client import CollectorRegistry

from exporter.collectors.base import Collector
from exporter.collectors.table import build
from exporter.config import ExporterConfig, PushConfig
from exporter.page import Families, render
from exporter.post import HttpPost, Post
from exporter.push import Pusher
from exporter.registry import Registry
from fleetpulse import __version__
from fleetpulse.model import MetricFamily, gauge
from fleetpulse.storage.spool import Spool
from fleetpulse.telemetry import (
    TelemetryServer,
    health_routes,
    metrics_wsgi,
    new_registry,
    text_wsgi,
)
from fleetpulse.values import ListenAddress, format_duration

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

_LANDING = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>FleetPulse exporter</title></head>
<body><h1>FleetPulse exporter</h1>
<p>Version {version}</p>
<ul><li><a href="/metrics">Metrics</a></li>
<li><a href="/-/ready">State</a></li></ul>
</body></html>
"""


def http_post(config: PushConfig) -> Post:
    return HttpPost(
        config.url,
        config.key_file or Path(),  # the model has seen to it that there is one
        config.server_name(),
        config.timeout,
        ca_file=config.ca_file,
    )


class ExporterApp:
    """start() raises StartError: port taken, spool not writable. Pushed pages wait in data_dir."""

    name = "exporter"

    def __init__(
        self,
        config: ExporterConfig,
        data_dir: Path,
        *,
        registry: CollectorRegistry | None = None,
        make_collectors: Callable[[ExporterConfig], Sequence[Collector]] = build,
        make_post: Callable[[PushConfig], Post] = http_post,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._config, self._data_dir, self._now = config, data_dir, now
        self._make_collectors, self._make_post = make_collectors, make_post
        self._changing = threading.Lock()  # one start, stop or reload at a time
        self.registry = self._new_registry(config)
        self._pusher = self._new_pusher(config)
        self._own = registry or new_registry()
        self._own.register(Families(self._own_families))
        self._server = TelemetryServer(self.name, config.listen, self._routes())
        self._started = False

    @property
    def address(self) -> ListenAddress:
        """Where it listens; after start() with the port that 0 became."""
        return self._server.address

    def start(self) -> None:
        with self._changing:
            self._server.start()
            self._started = True
            if self._pusher is not None:
                self._pusher.start()

    def stop(self) -> None:
        with self._changing:
            self._started = False
            if self._pusher is not None:
                self._pusher.stop()
            self._server.stop()

    def ready(self) -> str | None:
        """One line for people; None before start()."""
        if not self._started:
            return None
        failing = self.registry.failing
        line = f"{len(self.registry.names)} collectors"
        if failing:
            line += f", failing: {', '.join(failing)}"
        return line + self._push_line()

    def reload(self, config: ExporterConfig) -> None:
        """Takes over all but `listen`. If push mode cannot start, StartError; nothing changed."""
        with self._changing:
            if config.listen != self._config.listen:
                log.warning("exporter.listen changed; that takes a restart")
            if config.push != self._config.push:
                self._exchange_pusher(config)
            if _host_part(config) != _host_part(self._config):
                self.registry = self._new_registry(config)
            self._config = config

    def render(self) -> str:
        """A page, as `--once` prints it."""
        return render(self._page(None), {}).decode()

    def _render_push(self) -> bytes:
        return render(self._page(None), self._config.push.labels)

    def _exchange_pusher(self, config: ExporterConfig) -> None:
        old, new = self._pusher, self._new_pusher(config)
        if old is not None:
            old.stop()  # before the other starts: the spool has one owner
        if new is not None and self._started:
            try:
                new.start()
            except BaseException:
                self._pusher = self._new_pusher(self._config)
                if self._pusher is not None:
                    self._pusher.start()
                raise
        self._pusher = new

    def _new_registry(self, config: ExporterConfig) -> Registry:
        return Registry(self._make_collectors(config), config.collector_timeout)

    def _new_pusher(self, config: ExporterConfig) -> Pusher | None:
        push = config.push
        if not push.url:
            return None
        folder = self._data_dir / "exporter"
        return Pusher(
            self._render_push,
            self._make_post(push),
            lambda: Spool(folder / "push.spool", max_items=push.spool_pages),
            push.interval,
            folder / "push.refused.gz",
            now=self._now,
        )

    def _push_line(self) -> str:
        push, pusher = self._config.push, self._pusher
        if pusher is None:
            return ""
        line = f"; push every {format_duration(push.interval)} to {push.url}"
        return f"{line}, {pusher.waiting} waiting: {pusher.trouble}" if pusher.trouble else line

    def _own_families(self) -> Iterator[MetricFamily]:
        help_text = "Version of the exporter; always 1."
        build_info = gauge("fleetpulse_exporter_build_info", help_text)
        yield build_info.add(1, version=__version__)
        if self._pusher is not None:
            yield from self._pusher.families()

    def _page(self, names: Sequence[str] | None) -> CollectorRegistry:
        """What a page is made of: the host's families, then the exporter's own."""
        host = self.registry
        page = CollectorRegistry()
        page.register(Families(lambda: host.gather(names)))
        page.register(self._own)
        return page

    def _routes(self) -> dict[str, "WSGIApplication"]:
        landing = _LANDING.format(version=__version__)
        return {
            **health_routes(self._own, self.ready),
            "/": text_wsgi(lambda: (200, landing), "text/html; charset=utf-8"),
            "/metrics": self._metrics,
        }

    def _metrics(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        try:
            names = chosen(environ.get("QUERY_STRING", ""), self.registry.names)
        except ValueError as err:
            return _bad_request(start_response, str(err))
        # What is left of the query is no concern of prometheus_client's (it knows name[]). The
        # text format for all, as node_exporter has it: OpenMetrics would name the counters'
        # metadata without _total, and dashboards look it up by the full name.
        plain = {**environ, "QUERY_STRING": "", "HTTP_ACCEPT": "text/plain"}
        return metrics_wsgi(self._page(names))(plain, start_response)


def _host_part(config: ExporterConfig) -> ExporterConfig:
    """What the collectors depend on."""
    default = ExporterConfig()
    return config.model_copy(update={"listen": default.listen, "push": default.push})


def chosen(query: str, known: Sequence[str]) -> list[str] | None:
    """Collectors asked for by `collect[]=` or `exclude[]=` as in node_exporter; None: all."""
    fields = parse_qs(query, max_num_fields=100)
    only, without = fields.get("collect[]"), fields.get("exclude[]")
    if only and without:
        raise ValueError("collect[] and exclude[] do not go together")
    for name in only or ():
        if name not in known:
            raise ValueError(f"no collector {name!r} is enabled; there are {', '.join(known)}")
    if without:
        return [name for name in known if name not in without]
    return only


def _bad_request(start_response: "StartResponse", text: str) -> list[bytes]:
    body = f"{text}\n".encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    status = HTTPStatus.BAD_REQUEST
    start_response(f"{status.value} {status.phrase}", headers)
    return [body]
