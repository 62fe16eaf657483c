"""Wires the rules role: files → groups on a timetable → alerts to a bridge, samples to a store."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry

from fleetpulse.errors import ConfigError
from fleetpulse.model import Labels
from fleetpulse.promql.result import QueryEngine
from fleetpulse.service import STOP_DEADLINE, FileWatch
from fleetpulse.storage.base import SampleWriter
from fleetpulse.telemetry import TelemetryServer, health_routes
from fleetpulse.values import ListenAddress
from rules import web
from rules.alerting import AlertingRule
from rules.config import RulesConfig
from rules.group import Context
from rules.manager import RuleManager
from rules.metrics import NotifierMetrics, RuleMetrics
from rules.notifier import BridgeSender, HttpPost, Notifier, Post
from rules.restore import Restorer
from rules.schedule import Timetable

log = logging.getLogger(__name__)

# What cannot be changed while the role runs.
_FIXED = ("listen", "concurrency")


class RulesApp:
    """The role. reload() may be called from any thread, start() and stop() from one.

    base_dir: where relative rule_files start from. new_post makes what sends to one bridge.
    """

    name = "rules"

    def __init__(
        self,
        config: RulesConfig,
        engine: QueryEngine,
        writer: SampleWriter,
        registry: CollectorRegistry,
        *,
        base_dir: Path,
        now: Callable[[], float] = time.time,
        new_post: Callable[[], Post] = HttpPost,
    ) -> None:
        self._config = config
        self._engine, self._writer = engine, writer
        self._now = now
        self._metrics = RuleMetrics(registry)
        self._notifier_metrics = NotifierMetrics(registry)
        self._new_post = new_post
        self._notifier = Notifier(self._sender)
        self._timetable = Timetable(config.concurrency, self._missed, now)
        self._manager = RuleManager(self._timetable, base_dir, now)
        self._watch = FileWatch("rule file watch", self._watched, self._files_changed)
        told = web.routes(lambda: self._manager.groups, lambda: self._config.bridge_urls)
        pages = {**health_routes(registry, self.ready), **told}
        self._server = TelemetryServer("rules telemetry", config.listen, pages)
        self._ready = False
        # The configuration's watch and that of the rule files are two threads.
        self._reloading = threading.Lock()

    @property
    def address(self) -> ListenAddress:
        """Where /metrics and its neighbours are, once started."""
        return self._server.address

    def start(self) -> None:
        """Begins. ConfigError has the rule files' faults, StartError says why else it cannot."""
        specs = self._manager.load(self._config)
        self._server.start()
        self._notifier.set_urls(self._config.bridge_urls)
        self._manager.apply(specs, self._context(self._config))
        self._metrics.reload_successful.set(1)
        self._timetable.start()
        self._watch.start()
        self._ready = True
        log.info("%s", self.ready())

    def stop(self) -> None:
        self._ready = False
        self._watch.stop()
        self._manager.stop()
        # Together within the time that a service has for its end.
        self._timetable.stop(STOP_DEADLINE / 2)
        self._notifier.stop(STOP_DEADLINE / 2)
        self._server.stop()

    def ready(self) -> str | None:
        """`10 rules in 2 groups`, or None before the start."""
        if not self._ready:
            return None
        groups = self._manager.groups
        rules = sum(len(group.runs) for group in groups)
        return f"{_count(rules, 'rule')} in {_count(len(groups), 'group')}"

    def reload(self, config: RulesConfig) -> None:
        """Takes over a new configuration and the rule files as they are now.

        ConfigError where a file has faults: then everything stays as it was.
        """
        with self._reloading:
            self._reload(config)

    def _reload(self, config: RulesConfig) -> None:
        try:
            specs = self._manager.load(config)
        except ConfigError:
            self._metrics.reload_successful.set(0)
            raise
        for key in _FIXED:
            if getattr(config, key) != getattr(self._config, key):
                log.warning("rules.%s has changed; it takes effect after a restart", key)
        self._config = config
        self._notifier.set_urls(config.bridge_urls)
        self._notifier.change(Labels.of(config.external_labels), config.bridge_timeout)
        self._manager.apply(specs, self._context(config))
        self._metrics.reload_successful.set(1)

    def evaluate_once(self) -> list[str]:
        """Evaluates every rule now, without starting anything; a line for each alert and failure.

        Nothing is sent; results are written, as in any turn.
        """
        specs = self._manager.load(self._config)
        self._manager.apply(specs, self._context(self._config))
        lines = []
        for group in self._manager.groups:
            group.evaluate(self._now())
            for run in group.runs:
                if run.last_error:
                    lines.append(f"{run.spec.name}: failed: {run.last_error}")
                if isinstance(run.rule, AlertingRule):
                    lines += [f"{alert.state.name} {alert.labels}" for alert in run.rule.active]
        return lines

    def _context(self, config: RulesConfig) -> Context:
        restorer = Restorer(
            self._engine,
            config.for_outage_tolerance,
            config.for_grace_period,
            config.evaluation_timeout,
        )
        return Context(
            self._engine,
            self._writer,
            self._notifier,
            self._metrics,
            config.external_labels,
            config.external_url,
            config.resend_delay,
            config.evaluation_timeout,
            restorer,
        )

    def _sender(self, url: str) -> BridgeSender:
        return BridgeSender(
            url,
            self._new_post(),
            self._notifier_metrics,
            Labels.of(self._config.external_labels),
            timeout=self._config.bridge_timeout,
        )

    def _missed(self, key: str, turns: int) -> None:
        self._metrics.missed.labels(key).inc(turns)
        self._metrics.scheduled.labels(key).inc(turns)
        log.warning("group %s: %d turns missed; it takes longer than its interval", key, turns)

    def _watched(self) -> Iterable[Path]:
        try:
            return self._manager.files(self._config)
        except ConfigError:
            return ()

    def _files_changed(self) -> None:
        try:
            self.reload(self._config)
        except ConfigError as err:
            for fault in err.faults:
                log.error("rule files not reloaded, the old rules stay: %s", fault)
        else:
            log.info("rule files reloaded: %s", self.ready())


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
