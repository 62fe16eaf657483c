"""The bridge itself: takes alerts, keeps them, tells people. No HTTP in here."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from alertmanager_bridge.alert_store import AlertStore
from alertmanager_bridge.alerts import StoredAlert
from alertmanager_bridge.amconfig import AlertmanagerFile, load_amconfig
from alertmanager_bridge.config import BridgeConfig
from alertmanager_bridge.database import Clock, Database
from alertmanager_bridge.decide import Decider, drop
from alertmanager_bridge.dispatch import Dispatcher, Group
from alertmanager_bridge.history import History
from alertmanager_bridge.inhibit import Inhibitor
from alertmanager_bridge.loop import Loop
from alertmanager_bridge.nflog import NotificationLog
from alertmanager_bridge.outbox import Outbox
from alertmanager_bridge.receivers.build import Integration, build_integrations
from alertmanager_bridge.route import build_route
from alertmanager_bridge.sender import Sender
from alertmanager_bridge.silences import Silences
from alertmanager_bridge.telemetry import BridgeMetrics, GaugeCollector, Gauges
from alertmanager_bridge.timers import Timers
from fleetpulse.errors import StorageError
from fleetpulse.service import Periodic

log = logging.getLogger(__name__)

_STOP_WITHIN = 4.0
_HOUSEKEEPING_EVERY = 300.0
_CLOCK_STEP = 1.0  # seconds; less than this the clock may go back without a word
_END_AGAIN = 5.0  # seconds until an end that could not be noted is tried again
_KEEP_RESOLVED = 1800.0  # seconds in which a report can still be merged with an alert that ended

# Without a file every alert is taken and goes nowhere.
HISTORY_ONLY = AlertmanagerFile.model_validate(
    {"route": {"receiver": "history-only"}, "receivers": [{"name": "history-only"}]}
)


@dataclass(frozen=True, slots=True)
class AlertStatus:
    """Why an alert is quiet: ids of silences, fingerprints of inhibiting alerts."""

    silenced_by: list[str]
    inhibited_by: list[str]

    @property
    def state(self) -> str:
        return "suppressed" if self.silenced_by or self.inhibited_by else "active"


class Bridge:
    """Safe from any thread between start() and stop(). Raises StorageError when the disk fails.

    Nothing that matters is in memory only: after a kill -9 a new Bridge on the same file goes on.
    """

    name = "bridge"

    def __init__(
        self,
        config: BridgeConfig,
        state_path: Path,
        registry: CollectorRegistry,
        *,
        amconfig: AlertmanagerFile | None = None,
        now: Clock = time.time,
        integrations: Mapping[str, Sequence[Integration]] | None = None,
    ) -> None:
        """amconfig: the file in Alertmanager's format, if it is read already; else it is here.

        integrations: the ways to its receivers, if they are built already.
        ConfigError with all faults of that file or of a template file it names.
        """
        if amconfig is None and config.config_file is not None:
            amconfig = load_amconfig(config.config_file)
        self.config, self.amconfig, self.now = config, amconfig or HISTORY_ONLY, now
        self.database = Database(state_path)
        self.metrics = BridgeMetrics(registry)
        self.history = History(self.database)
        self.silences = Silences(self.database, config.max_silences)
        self._alerts = AlertStore(self.database, config.max_alerts)
        self._inhibitor = Inhibitor(self.amconfig.inhibit_rules)
        self._root = build_route(self.amconfig.route)
        if integrations is None:
            integrations = build_integrations(self.amconfig)
        self._decider = Decider(
            self.database,
            integrations,
            self._mutes,
            self.metrics,
            external_url=config.url,
            max_pending=config.max_pending,
            decided=self._wake_sender,
        )
        self._dispatcher = Dispatcher(self._root, self._decider.flush)
        self._ends: Timers[str] = Timers()
        self.senders = self._build_senders(integrations)
        self._loop = Loop("bridge-dispatcher", self._turn, self._error("dispatcher"))
        self._sender_loops = {
            queue: Loop(f"bridge-{queue}", _sending(sender, now), self._error("sender"))
            for queue, sender in self.senders.items()
        }
        self._housekeeping = Periodic(
            "bridge-housekeeping",
            self.tidy,
            _HOUSEKEEPING_EVERY,
            first_delay=_HOUSEKEEPING_EVERY,
            on_error=self._error("housekeeping"),
        )
        self._ready = False
        self._turned_at = 0.0  # by the clock that is not monotonic
        registry.register(GaugeCollector(self.gauges))

    def _build_senders(
        self, integrations: Mapping[str, Sequence[Integration]]
    ) -> dict[str, Sender]:
        return {
            one.queue: Sender(
                one,
                self.database,
                self.metrics,
                give_up_after=self.config.give_up_after,
                now=self.now,
            )
            for ways in integrations.values()
            for one in ways
        }

    def _error(self, loop: str) -> Callable[[], None]:
        return lambda: self.metrics.error(loop)

    # Beginning and end

    def start(self) -> None:
        """Takes up what the last process left, and begins. Raises StartError, StorageError."""
        self.load()
        self._loop.start()
        for loop in self._sender_loops.values():
            loop.start()
        self._housekeeping.start()

    def load(self) -> None:
        """Opens the state without starting a thread."""
        self.database.open()
        now = self.now()
        with self.database.lock:
            Outbox(self.database).hurry_future(now)
            NotificationLog(self.database).none_later(now)
            self.silences.load()
            for alert in self._alerts.load():
                self._take_back(alert, now)
            self._drop_orphans(now)
        self._ready = True

    def _take_back(self, alert: StoredAlert, now: float) -> None:
        """An alert that the last process had. One whose end was told is not told of again."""
        if not alert.resolved(now) or any(
            self._decider.is_owed(group, alert.fingerprint, now) for group in self._groups_of(alert)
        ):
            self._take_up(alert, now)
        else:
            self._inhibitor.observe(alert)
            self._ends.set(alert.fingerprint, alert.ends_at)

    def _groups_of(self, alert: StoredAlert) -> Iterable[Group]:
        for route in self._root.match(dict(alert.labels)):
            yield Group(route, route.group_labels(alert.labels))

    def _take_up(self, alert: StoredAlert, now: float) -> None:
        self._inhibitor.observe(alert)
        self._dispatcher.insert(alert, now)
        self._ends.set(alert.fingerprint, alert.ends_at)

    def _drop_orphans(self, now: float) -> None:
        """Messages for receivers that are no longer configured can never be sent."""
        outbox = Outbox(self.database)
        for queue in set(outbox.queues()) - set(self.senders):
            receiver, _, integration = queue.rpartition("/")
            while (pending := outbox.oldest(queue)) is not None:
                drop(
                    self.database,
                    pending.message_id,
                    "the receiver is no longer configured",
                    receiver=receiver,
                    integration=integration,
                    alertname=pending.data["commonLabels"].get("alertname", ""),
                    now=now,
                )
                self.metrics.dropped(receiver, integration.partition("[")[0], "no_receiver")
                log.warning("dropped a message for %s: no longer configured", queue)

    def stop(self) -> None:
        """Ends within some seconds. A message on its way then may be sent again later."""
        self._ready = False
        deadline = time.monotonic() + _STOP_WITHIN
        loops = [self._loop, *self._sender_loops.values()]
        for loop in loops:
            loop.end()
        for loop in loops:
            if not loop.join(deadline):
                log.warning("%s is still sending; its message stays in the outbox", loop.name)
        self._housekeeping.stop()
        self.database.close()

    def ready(self) -> str | None:
        if not self._ready:
            return None
        reached = len({sender.integration.receiver for sender in self.senders.values()})
        if not reached:
            return "no receiver configured: alerts are kept in the history only"
        routes = sum(1 for _ in self._root.walk())
        return f"{_count(reached, 'receiver')}, {_count(routes, 'route')}"

    # The turn of the dispatcher's thread

    def run_due(self, now: float) -> None:
        """Does everything that is due: groups' turns and the ends of alerts."""
        with self.database.lock:
            before, self._turned_at = self._turned_at, now
            if before - now > _CLOCK_STEP:
                self._clock_set_back(now, now - before)
            failures = [*self._note_ends(now), *self._dispatcher.run_due(now)]
        for failure in failures:
            log.error("a group's turn failed; it comes again", exc_info=failure)
            self.metrics.error("dispatcher")

    def _clock_set_back(self, now: float, step: float) -> None:
        """Keeps the distance to all that is to come: nobody waits hours for their alerts."""
        log.warning("the clock was set back by %.0f s; what was due comes as planned", -step)
        self._dispatcher.shift(step)
        for sender in self.senders.values():
            sender.shift(step)
        Outbox(self.database).shift(step)
        NotificationLog(self.database).none_later(now)

    def _note_ends(self, now: float) -> list[Exception]:
        due = list(self._ends.pop_due(now))
        for index, fingerprint in enumerate(due):
            try:
                self._alerts.note_end(fingerprint, now)
            except StorageError as err:
                for left in due[index:]:
                    self._ends.set(left, now + _END_AGAIN)
                return [err]
        return []

    def next_due(self) -> float | None:
        with self.database.lock:
            due = (self._dispatcher.next_due(), self._ends.next_due())
        return min((at for at in due if at is not None), default=None)

    def _turn(self) -> float | None:
        self.run_due(self.now())
        due = self.next_due()
        return None if due is None else due - self.now()

    def _wake_sender(self, queue: str) -> None:
        self._sender_loops[queue].wake()

    def tidy(self) -> None:
        """Removes what is long over."""
        now = self.now()
        with self.database.transaction():
            for alert in self._alerts.forget(now - _KEEP_RESOLVED, self._dispatcher.held()):
                self._inhibitor.forget(alert)
                self._ends.cancel(alert.fingerprint)
            self.silences.forget_old(now)
            NotificationLog(self.database).expire(now)
            self.history.expire(now - self.config.history_retention)
        self.database.keep_reserve()

    # What the API asks

    def post(self, alerts: Sequence[StoredAlert]) -> list[StoredAlert]:
        """Takes reported alerts; those refused because max_alerts is reached."""
        now = self.now()
        with self.database.lock:
            stored, refused = self._alerts.put(alerts, now)
            for alert in stored:
                self._take_up(alert, now)
        for alert in stored:
            self.metrics.received(firing=not alert.resolved(now))
        self._loop.wake()
        return refused

    def firing(self) -> list[StoredAlert]:
        """Alerts that are not over, by fingerprint."""
        found = self._alerts.firing(self.now())
        return sorted(found, key=lambda alert: alert.fingerprint)

    def status_of(self, alert: StoredAlert) -> AlertStatus:
        labels, now = dict(alert.labels), self.now()
        with self.database.lock:
            silenced = self.silences.silenced_by(labels, now)
            return AlertStatus(silenced, self._inhibitor.inhibited_by(labels, now))

    def receivers_of(self, alert: StoredAlert) -> list[str]:
        return self._dispatcher.receivers_of(alert)

    def groups(self) -> Iterable[Group]:
        """Copies of the groups with their alerts."""
        with self.database.lock:
            return [
                Group(group.route, group.labels, dict(group.alerts), group.flushed)
                for group in self._dispatcher.groups()
            ]

    def _mutes(self, labels: Mapping[str, str], now: float) -> bool:
        if self._inhibitor.inhibited_by(labels, now):
            return True
        return bool(self.silences.silenced_by(labels, now))

    def gauges(self) -> Gauges | None:
        """What there is right now, for /metrics; None while the bridge is not running."""
        if not self._ready:
            return None
        now = self.now()
        states = {"active": 0, "suppressed": 0}
        for alert in self.firing():
            states[self.status_of(alert).state] += 1
        pending: dict[tuple[str, str], int] = {}
        outbox = Outbox(self.database)
        for queue, sender in self.senders.items():
            place = (sender.integration.receiver, sender.integration.kind)
            pending[place] = pending.get(place, 0) + outbox.size(queue)
        counts = {str(state): count for state, count in self.silences.counts(now).items()}
        with self.database.lock:
            groups = len(list(self._dispatcher.groups()))
        return Gauges(states, counts, groups, pending)


def _sending(sender: Sender, now: Clock) -> Callable[[], float | None]:
    def turn() -> float | None:
        if sender.run_due():
            return 0.0
        due = sender.next_due()
        return None if due is None else due - now()

    return turn


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
