"""Aggregation groups and their turns: group_wait, then every group_interval."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from alertmanager_bridge.alerts import StoredAlert, in_order
from alertmanager_bridge.route import Route
from alertmanager_bridge.timers import Timers
from alertmanager_bridge.wire import label_set_text
from fleetpulse.model import Labels


@dataclass(slots=True, eq=False)
class Group:
    """Alerts of one route that are told of together."""

    route: Route
    labels: Labels
    alerts: dict[str, StoredAlert] = field(default_factory=dict)
    flushed: bool = False

    @property
    def key(self) -> str:
        return f"{self.route.key}:{label_set_text(dict(self.labels))}"


GroupId = tuple[int, Labels]
Flush = Callable[[Group, list[StoredAlert], float], None]


class Dispatcher:
    """Sorts alerts into groups and gives each group to flush when its turn has come.

    Has no clock and no thread, and is not safe for threads: its owner calls run_due() with the
    time and holds a lock. flush raises where nothing was decided: the alerts then stay.
    """

    def __init__(self, root: Route, flush: Flush) -> None:
        self._root, self._flush = root, flush
        self._groups: dict[GroupId, Group] = {}
        self._timers: Timers[GroupId] = Timers()

    def insert(self, alert: StoredAlert, now: float) -> None:
        """Puts an alert, or its new state, into its groups."""
        for route in self._root.match(dict(alert.labels)):
            place = (id(route), route.group_labels(alert.labels))
            group = self._groups.get(place)
            if group is None:
                group = self._groups[place] = Group(route, place[1])
                self._timers.set(place, now + route.group_wait)
            group.alerts[alert.fingerprint] = alert
            if not group.flushed and alert.starts_at + route.group_wait < now:
                self._timers.set(place, now)  # it has waited long enough before it came here

    def shift(self, seconds: float) -> None:
        """Moves every group's turn, when the clock was set."""
        self._timers.shift(seconds)

    def next_due(self) -> float | None:
        return self._timers.next_due()

    def run_due(self, now: float) -> list[Exception]:
        """Gives every group a turn that is due; what went wrong, group by group."""
        failures: list[Exception] = []
        for place in list(self._timers.pop_due(now)):
            group = self._groups[place]
            group.flushed = True
            # Set first: whatever happens below, the group gets its next turn.
            self._timers.set(place, now + group.route.group_interval)
            try:
                self._flush(group, in_order(group.alerts.values()), now)
            except Exception as err:  # noqa: BLE001 - one group's fault must not stop the others
                failures.append(err)
                continue
            self._tidy(place, group, now)
        return failures

    def _tidy(self, place: GroupId, group: Group, now: float) -> None:
        for alert in list(group.alerts.values()):
            if alert.resolved(now):
                del group.alerts[alert.fingerprint]
        if not group.alerts:
            del self._groups[place]
            self._timers.cancel(place)

    def groups(self) -> Iterable[Group]:
        return list(self._groups.values())

    def held(self) -> set[str]:
        """Fingerprints of all alerts that some group still has something to do with."""
        return {fingerprint for group in self._groups.values() for fingerprint in group.alerts}

    def receivers_of(self, alert: StoredAlert) -> list[str]:
        routes = self._root.match(dict(alert.labels))
        return list(dict.fromkeys(route.receiver for route in routes))
