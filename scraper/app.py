"""Wires the scraper: discovery to targets, the loop, the page maker, the buffer, its own server."""

import logging
import threading
from pathlib import Path

from prometheus_client import CollectorRegistry

from fleetpulse.service import Periodic
from fleetpulse.storage.base import SampleWriter
from fleetpulse.telemetry import TelemetryServer, health_routes
from fleetpulse.values import ListenAddress
from scraper import status
from scraper.buffer import PageBuffer
from scraper.config import ScraperConfig
from scraper.descriptors import connections, raise_limit
from scraper.discovery import Discovery
from scraper.fetch import Fetcher
from scraper.guards import Guards
from scraper.httpsd import HttpAsker
from scraper.loop import ScrapeLoop
from scraper.maker import PageMaker
from scraper.metrics import (
    BufferMetrics,
    DiscoveryMetrics,
    GuardMetrics,
    MakerMetrics,
    ScrapeMetrics,
)
from scraper.sdconfig import HttpSdConfig
from scraper.sources import Asker, SdConfig, Sources
from scraper.targets import TargetSet

log = logging.getLogger(__name__)


def askers(config: SdConfig) -> list[Asker]:
    """The questions that a discovery's configuration stands for."""
    if isinstance(config, HttpSdConfig):
        return [HttpAsker(config)]
    # Not above: most do without the DNS library and its memory.
    from scraper.dnssd import DnsAsker, resolve

    return [DnsAsker(config, name, resolve) for name in config.names]


class ScraperApp:
    """The scraper as a service. It closes neither the writer nor the registry.

    In seconds: tick, between two wake-ups of the loop; look_every, between two looks at the
    target files and discoveries; flush_interval, between two writes to the store.
    """

    name = "scraper"

    def __init__(
        self,
        config: ScraperConfig,
        writer: SampleWriter,
        registry: CollectorRegistry,
        *,
        base_dir: Path = Path(),  # noqa: ARG002 - paths in the configuration are whole already
        tick: float = 0.1,
        look_every: float = 2.0,
        flush_interval: float = 1.0,
    ) -> None:
        self._config = config
        self._lock = threading.Lock()  # guards _discovery and _found: reload and look come from two
        self._discovery_metrics = DiscoveryMetrics(registry)
        self._discovery = Discovery(config, Sources(askers, self._discovery_metrics))
        self._found = TargetSet()
        self._discovered = False
        self._open_files = 0
        metrics = ScrapeMetrics(registry)
        self._buffer = PageBuffer(writer, BufferMetrics(registry), flush_interval=flush_interval)
        self._guards = Guards(config.guards, GuardMetrics(registry))
        self._maker = PageMaker(self._buffer, metrics, self._guards)
        self._maker.show(MakerMetrics(registry))
        self._loop = ScrapeLoop(Fetcher(), self._maker, metrics, tick=tick)
        self._looks = Periodic(
            "target discovery", self._look, look_every, first_delay=look_every,
            on_error=metrics.errors.inc,
        )  # fmt: skip
        told = status.routes(
            lambda: self._loop.scraped,
            lambda: self._found,
            lambda: [job.job_name for job in self._config.scrape_configs],
            tick,
        )
        pages = {**health_routes(registry, self.ready), **told}
        self._server = TelemetryServer("scraper telemetry", config.listen, pages)

    @property
    def address(self) -> ListenAddress:
        return self._server.address

    def start(self) -> None:
        """StartError where the address is taken."""
        self._open_files = raise_limit()
        self._server.start()
        self._buffer.start()
        self._maker.start()
        self._look()
        self._loop.start()
        self._looks.start()

    def stop(self) -> None:
        """From the source to the sink, so that what was scraped is written."""
        self._looks.stop()
        self._discovery.close()
        self._loop.stop()
        self._maker.stop()
        self._buffer.stop()
        self._server.stop()

    def ready(self) -> str | None:
        """One line for people; None before the first look for targets."""
        if not self._discovered:
            return None
        count = len(self._found.active)
        noun = "target" if count == 1 else "targets"
        return f"{count} {noun}, every {self._config.scrape_interval:g} s"

    def reload(self, config: ScraperConfig) -> None:
        """Another configuration from now on; targets that stay the same miss no turn."""
        if config.listen != self._config.listen:
            log.warning("scraper.listen has changed; it takes effect at the next start")
        with self._lock:
            self._config = config
            self._guards.configure(config.guards)
            self._discovery.configure(config)
        self._look()

    def _look(self) -> None:
        with self._lock:
            found = self._discovery.look()
            self._discovery_metrics.broken_files.set(self._discovery.broken_files)
            self._discovery_metrics.broken_sources.set(self._discovery.broken_sources)
            if found is None:
                return
            self._found, self._discovered = found, True
            kept = connections(len(found.active), self._open_files)
            self._loop.set_targets(found.active, kept)
        self._discovery_metrics.dropped.set(sum(found.dropped_counts.values()))
        self._discovery_metrics.elsewhere.set(found.elsewhere)
        self._discovery_metrics.faults.set(len(found.faults))
        log.info("%d targets are scraped, %d dropped", len(found.active), len(found.dropped))
