"""Gives alerts back the time they were active before a restart, from ALERTS_FOR_STATE.

The reckoning is Prometheus' (RestoreForState in rules/group.go) but for one case. Prometheus never
restores a rule whose `for` is shorter than the grace period, so that an alert which had been firing
is pending anew, the receiver takes it for resolved, and then it fires again. Here what had been
firing fires on.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fleetpulse.errors import FleetPulseError
from fleetpulse.matchers import Matcher
from fleetpulse.model import METRIC_NAME, Labels, Series
from fleetpulse.promql.result import Matrix, QueryEngine, Vector
from fleetpulse.values import format_duration
from rules.alerting import ALERT_NAME, FOR_STATE, AlertingRule, AlertState, Remembered

log = logging.getLogger(__name__)

_ATTEMPTS = 10
_MAX_PROBE = 290.0  # just inside the look-back of 5 minutes
_MIN_PROBE = 30.0
# After a restart of the whole host, rates come back only after some scrapes.
_WAIT_FOR_RETURN = 180.0


@dataclass(frozen=True, slots=True)
class Restorer:
    """Reads old states through the engine. Times in seconds.

    outage_tolerance: how long ago an alert may have been active at the most.
    grace_period: what is at least left of `for` after a restart.
    """

    engine: QueryEngine
    outage_tolerance: float
    grace_period: float
    timeout: float | None = None

    def restore(self, rule: AlertingRule, at: float, interval: float) -> None:
        """One turn of it: reads the old states if that is still to do, and gives them back."""
        if not rule.restored:
            self._read(rule, at, interval)
        if rule.remembered:
            self._give_back(rule, at)

    def _read(self, rule: AlertingRule, at: float, interval: float) -> None:
        rule.restore_attempts += 1
        try:
            rule.remembered = self._remembered(rule, at, interval)
        except FleetPulseError as err:
            rule.restored = rule.restore_attempts >= _ATTEMPTS
            what = "given up" if rule.restored else "the next turn tries again"
            log.warning("alert %s: its state is not restored: %s; %s", rule.spec.name, err, what)
            return
        rule.restored = True
        rule.remembered_until = at + max(_WAIT_FOR_RETURN, 4 * interval)

    def _remembered(
        self, rule: AlertingRule, at: float, interval: float
    ) -> dict[Labels, Remembered]:
        """The alerts that had not ended when the rules stopped."""
        if self.outage_tolerance <= 0:
            return {}
        old = {
            series.labels.without(METRIC_NAME): Remembered(
                float(series.values[-1]), int(series.times_ms[-1]) / 1000
            )
            for series in self._series(rule, at)
        }
        return self._alive(rule, old, at, interval)

    def _give_back(self, rule: AlertingRule, at: float) -> None:
        """Alerts that are active again go on from where they were."""
        left = dict(rule.remembered)
        alerts = dict(rule.alerts)
        for labels, alert in rule.alerts.items():
            if alert.state.name != "inactive" and labels in left:
                state = self._state(left.pop(labels), rule.spec.hold, at)
                if state is not None:
                    alerts[labels] = replace(alert, state=state)
        rule.alerts = alerts
        rule.remembered = left if at < rule.remembered_until else {}

    def _series(self, rule: AlertingRule, at: float) -> Sequence[Series]:
        window = format_duration(self.outage_tolerance)
        data = self._ask(f"{_selector(rule)}[{window}]", at)
        return data.series if isinstance(data, Matrix) else ()

    def _alive(
        self, rule: AlertingRule, old: dict[Labels, Remembered], at: float, interval: float
    ) -> dict[Labels, Remembered]:
        """Those of them that no staleness marker ends.

        A range hides the marker, an instant does not; so each series is looked at once more a
        little after its last sample. What ended turns before the last one need not be looked at.
        """
        ahead = min(_MAX_PROBE, max(_MIN_PROBE, 3 * interval))
        newest = max((one.down_at for one in old.values()), default=0.0)
        recent = {labels: one for labels, one in old.items() if one.down_at >= newest - ahead}
        alive: dict[Labels, Remembered] = {}
        for down_at in sorted({one.down_at for one in recent.values()}):
            data = self._ask(_selector(rule), min(at, down_at + ahead))
            found = data.labels if isinstance(data, Vector) else ()
            for labels in (one.without(METRIC_NAME) for one in found):
                if labels in recent and recent[labels].down_at == down_at:
                    alive[labels] = recent[labels]
        return alive

    def _ask(self, expression: str, at: float) -> object:
        return self.engine.instant(expression, round(at * 1000), timeout=self.timeout).data

    def _state(self, before: Remembered, hold: float, at: float) -> AlertState | None:
        """The alert's state now; None leaves it as it is."""
        remaining = hold - (before.down_at - before.active_at)
        if remaining <= 0:
            fired_at = before.active_at + hold
            return AlertState("firing", active_at=before.active_at, fired_at=fired_at)
        if hold < self.grace_period:
            return None
        if remaining < self.grace_period:
            return AlertState("pending", active_at=at + self.grace_period - hold)
        # What had passed of the hold has passed still; the outage counts for nothing.
        return AlertState("pending", active_at=before.active_at + (at - before.down_at))


def _selector(rule: AlertingRule) -> str:
    """ALERTS_FOR_STATE of this rule; labels made by a template differ by alert and are left out."""
    fixed = {name: value for name, value in rule.spec.labels if value and "{{" not in value}
    pairs = {**fixed, ALERT_NAME: rule.spec.name}
    matchers = ",".join(str(Matcher(name, "=", value)) for name, value in sorted(pairs.items()))
    return f"{FOR_STATE}{{{matchers}}}"
