"""The exporter's role: /metrics for whoever scrapes, and push mode."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.builds import builds
from exporter.collectors.base import Collector
from exporter.collectors.table import build, of_process
from exporter.config import ExporterConfig
from exporter.families import Found
from exporter.handlers import Handlers
from exporter.page import TEXT, Style
from exporter.pages import Pages, with_current
from exporter.push.mode import Pushing, http_post
from exporter.registry import Registry
from exporter.settings.push import PushConfig
from fleetpulse.values import ListenAddress
from fleetpulse.web.server import WebServer

if TYPE_CHECKING:
    from exporter.push.post import Post

log = logging.getLogger(__name__)

# What the server was made with; a change of it takes a restart.
_LASTING = ("listen", "telemetry_path", "max_requests", "web_config_file")


class ExporterApp:
    """start() raises StartError: port taken, spool not writable. Pushed pages wait in data_dir.

    own: further families of the process, as of its configuration's reloads.
    """

    name = "exporter"

    def __init__(
        self,
        config: ExporterConfig,
        data_dir: Path,
        *,
        own: Callable[[], Iterable[Found]] = tuple,
        make_collectors: Callable[[ExporterConfig], Sequence[Collector]] = build,
        make_post: "Callable[[PushConfig], Post]" = http_post,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._config, self._own = config, own
        self._make_collectors = make_collectors
        self._changing = threading.Lock()  # one start, stop or reload at a time
        self._process = of_process()
        self.pages = self._new_pages(config)
        self._handlers = Handlers(lambda: self.pages, self.ready)
        self._pushing = Pushing(
            config.push,
            data_dir / "exporter",
            self._pushed_page,
            make_post=make_post,
            now=now,
        )
        self._server = WebServer(
            self.name,
            config.listen,
            self._handlers.routes(config.telemetry_path),
            web_file=config.web_config_file,
            max_requests=config.max_requests,
        )
        self._started = False

    @property
    def addresses(self) -> Sequence[ListenAddress]:
        """Where it listens; after start() with the ports that 0 became."""
        return self._server.addresses

    def start(self) -> None:
        with self._changing:
            self._server.start()
            self._started = True
            self._pushing.start()

    def stop(self) -> None:
        with self._changing:
            self._started = False
            self._pushing.stop()
            self._server.stop()
            self.pages.registry.close(at_once=True)

    def ready(self) -> str | None:
        """One line for people; None before start()."""
        if not self._started:
            return None
        registry = self.pages.registry
        failing = registry.failing
        line = f"{len(registry.names)} collectors"
        if failing:
            line += f", failing: {', '.join(failing)}"
        return line + self._pushing.line

    def reload(self, config: ExporterConfig) -> None:
        """Takes over what can change. If push mode cannot start, StartError; nothing changed."""
        with self._changing:
            for key in _LASTING:
                if getattr(config, key) != getattr(self._config, key):
                    log.warning("exporter.%s changed; that takes a restart", key)
            self._pushing.exchange(config.push)
            if _host_part(config) != _host_part(self._config):
                old, self.pages = self.pages, self._new_pages(config)
                old.registry.close()
            self._config = config

    def healthy(self) -> bool:
        """Whether it does its work, as far as it can tell; for a watchdog."""
        return self._server.alive and self._pushing.healthy()

    def push_once(self) -> int:
        """Makes and sends a page, and what waits; 0 if nothing waits any more, else 1."""
        return self._pushing.once()

    def render(self) -> str:
        """A page, as `--once` prints it."""
        return self.pages.make(TEXT).decode()

    def _pushed_page(self, style: Style) -> bytes:
        # Of what is in force now.
        return with_current(lambda: self.pages, lambda pages: pages.make(style))

    def _new_pages(self, config: ExporterConfig) -> Pages:
        registry = Registry(self._make_collectors(config), config.collector_timeout)
        return Pages(registry, lambda: self._tell_own(config.exporter_metrics))

    def _tell_own(self, process_too: bool) -> Iterator[Found]:
        yield from builds()
        yield from self._own()
        yield from self._pushing.families()
        if process_too:
            yield from self._handlers.families()
            yield from self._process.collect()


def _host_part(config: ExporterConfig) -> ExporterConfig:
    """What the collectors and the page depend on."""
    default = ExporterConfig()
    return replace(config, push=default.push, **{key: getattr(default, key) for key in _LASTING})
