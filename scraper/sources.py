"""Discoveries that ask somebody, over HTTP or in the DNS: every so often, a few at a time.

What was found last stays until there is another answer: an answer that does not come changes
nothing, one that names no targets ends them all.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from fleetpulse.errors import FleetPulseError
from scraper.metrics import DiscoveryMetrics
from scraper.sdconfig import DnsSdConfig, HttpSdConfig, TargetGroup

log = logging.getLogger(__name__)

_WORKERS = 8  # questions at the same time; each has a time limit of its own
_STOP_DEADLINE = 1.0  # seconds; a question under way is nothing that must be ended well

SdConfig = HttpSdConfig | DnsSdConfig


class DiscoveryError(FleetPulseError):
    """No answer this time; what was known stays."""

    retriable = True


class Asker(Protocol):
    """One question. mechanism is http or dns; subject names it to people."""

    mechanism: str
    subject: str

    def ask(self) -> tuple[TargetGroup, ...]:
        """The groups there are now, or DiscoveryError. Takes its time, but not without limit."""


@dataclass(slots=True, eq=False)
class _Source:
    """A question with its last answer. Written by one worker at a time, as busy says."""

    asker: Asker
    interval: float
    due: float
    groups: tuple[TargetGroup, ...] = ()
    error: str = ""
    busy: bool = False
    retired: bool = False


class Sources:
    """All questions of all jobs. Jobs that ask the same share the answer.

    askers: what a configuration asks. All methods but for the workers' own are of one thread.
    """

    def __init__(
        self,
        askers: Callable[[SdConfig], Sequence[Asker]],
        metrics: DiscoveryMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._askers, self._metrics, self._clock = askers, metrics, clock
        self._known: list[tuple[SdConfig, list[_Source]]] = []
        self._work: queue.SimpleQueue[_Source | None] = queue.SimpleQueue()
        self._workers: list[threading.Thread] = []
        self._changed = threading.Event()

    @property
    def broken(self) -> int:
        """How many got no answer to their last question."""
        return sum(bool(source.error) for _, sources in self._known for source in sources)

    def configure(self, configs: Iterable[SdConfig]) -> None:
        """Asks these from now on; those known keep their answers and their turns."""
        known: list[tuple[SdConfig, list[_Source]]] = []
        for config in configs:
            if not any(config == other for other, _ in known):
                known.append((config, self._find(config) or self._new(config)))
        kept = {id(source) for _, sources in known for source in sources}
        for _, sources in self._known:
            for source in sources:
                source.retired = id(source) not in kept
        self._known = known

    def ask_due(self) -> None:
        now = self._clock()
        for _, sources in self._known:
            for source in sources:
                if source.busy or source.due > now:
                    continue
                source.busy, source.due = True, now + source.interval
                self._work.put(source)
                self._hire()

    def changed(self) -> bool:
        """Whether an answer since the last call was another one than before."""
        if not self._changed.is_set():
            return False
        self._changed.clear()  # before the answers are read: one that comes now is not lost
        return True

    def groups(self, config: SdConfig) -> list[TargetGroup]:
        return [group for source in self._find(config) or () for group in source.groups]

    def close(self) -> None:
        for _ in self._workers:
            self._work.put(None)
        end = time.monotonic() + _STOP_DEADLINE
        for worker in self._workers:
            worker.join(max(0.0, end - time.monotonic()))

    def _find(self, config: SdConfig) -> list[_Source] | None:
        # Configurations hold headers and so cannot be hashed; there are only a few.
        return next((sources for other, sources in self._known if other == config), None)

    def _new(self, config: SdConfig) -> list[_Source]:
        """A question asked before in another way begins with what was answered then."""
        now = self._clock()
        old = {one.asker.subject: one.groups for _, sources in self._known for one in sources}
        return [
            _Source(asker, config.refresh_interval, now, old.get(asker.subject, ()))
            for asker in self._askers(config)
        ]

    def _hire(self) -> None:
        if len(self._workers) < _WORKERS:
            name = f"discovery {len(self._workers) + 1}"
            worker = threading.Thread(target=self._run, name=name, daemon=True)
            self._workers.append(worker)
            worker.start()

    def _run(self) -> None:
        while (source := self._work.get()) is not None:
            try:
                if not source.retired:
                    self._ask(source)
            except Exception as err:  # the other questions must go on
                log.exception("asking %s failed", source.asker.subject)
                self._failed(source, f"a fault in the scraper itself: {err}")
            finally:
                source.busy = False

    def _ask(self, source: _Source) -> None:
        asker = source.asker
        self._metrics.lookups.labels(asker.mechanism).inc()
        try:
            groups = asker.ask()
        except DiscoveryError as err:
            self._failed(source, str(err))
            return
        if source.error:
            log.info("discovery from %s works again", asker.subject)
            source.error = ""
        if groups != source.groups:
            source.groups = groups
            self._changed.set()

    def _failed(self, source: _Source, error: str) -> None:
        self._metrics.failures.labels(source.asker.mechanism).inc()
        if not source.error:
            count = sum(len(group.targets) for group in source.groups)
            subject = source.asker.subject
            log.error("no targets from %s, the last %d are kept: %s", subject, count, error)
        source.error = error
