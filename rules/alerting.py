"""Alerting rules: from the series of an expression to alerts that are pending, firing, resolved.

The states and their times are those of Prometheus (rules/alerting.go). Times are Unix seconds.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from fleetpulse.model import METRIC_NAME, Alert, Labels
from rules.evaluate import Evaluator, RuleError, VectorSample
from rules.files import RuleSpec
from rules.humanize import humanize
from rules.template_functions import graph_path
from rules.template_values import AlertData

log = logging.getLogger(__name__)

StateName = Literal["inactive", "pending", "firing"]
ALERTS = "ALERTS"
FOR_STATE = "ALERTS_FOR_STATE"
ALERT_NAME = "alertname"
# A resolved alert is sent again for so long, in case the bridge was down or lost it.
RESOLVED_RETENTION = 15 * 60.0
_DUPLICATE = "vector contains metrics with the same labelset after applying alert labels"


def lasted(since: float, at: float, seconds: float) -> bool:
    """Whether so many seconds have passed, to the millisecond: float times are not exact."""
    return round((at - since) * 1000) >= round(seconds * 1000)


@dataclass(frozen=True, slots=True)
class AlertState:
    """Where one alert stands, and since when. None: not so (yet)."""

    name: StateName = "inactive"
    active_at: float | None = None
    fired_at: float | None = None
    resolved_at: float | None = None
    kept_since: float | None = None

    def advance(self, *, seen: bool, at: float, hold: float, keep: float = 0.0) -> "AlertState":
        """The state after an evaluation that did or did not return the alert's series.

        hold is the rule's `for`, keep its `keep_firing_for`, both in seconds.
        """
        state = self._not_after(at)
        return state._present(at, hold) if seen else state._absent(at, hold, keep)

    def _not_after(self, at: float) -> "AlertState":
        """A clock that was set back must not make an alert wait until it has caught up."""
        if (self.active_at or at) <= at and (self.kept_since or at) <= at:
            return self
        kept_since = None if self.kept_since is None else min(self.kept_since, at)
        return replace(self, active_at=min(self.active_at or at, at), kept_since=kept_since)

    def _present(self, at: float, hold: float) -> "AlertState":
        if self.active_at is None or self.name == "inactive":
            return AlertState("pending", active_at=at)._held(at, hold)
        return replace(self, kept_since=None)._held(at, hold)

    def _absent(self, at: float, hold: float, keep: float) -> "AlertState":
        if self.name == "pending":
            return AlertState()
        if self.name == "inactive":
            return self
        kept_since = at if self.kept_since is None else self.kept_since
        if not lasted(kept_since, at, keep):
            return replace(self, kept_since=kept_since)._held(at, hold)
        return replace(self, name="inactive", resolved_at=at, kept_since=None)

    def _held(self, at: float, hold: float) -> "AlertState":
        """Pending until the hold has passed; a longer hold after a reload makes it pending anew."""
        active_at = at if self.active_at is None else self.active_at
        if lasted(active_at, at, hold):
            return self if self.name == "firing" else replace(self, name="firing", fired_at=at)
        return AlertState("pending", active_at=active_at)

    def forgotten(self, at: float) -> bool:
        """Whether nothing is left to say of it."""
        if self.name != "inactive":
            return False
        return self.resolved_at is None or at - self.resolved_at > RESOLVED_RETENTION


@dataclass(frozen=True, slots=True)
class ActiveAlert:
    """One alert of a rule. Immutable, so that readers need no lock; sent_at: last handed over."""

    labels: Labels
    annotations: Labels
    value: float
    state: AlertState
    sent_at: float | None = None

    def advance(self, *, seen: bool, at: float, hold: float, keep: float) -> "ActiveAlert":
        state = self.state.advance(seen=seen, at=at, hold=hold, keep=keep)
        # Whoever was told that it fires must be told anew once it fires again.
        sent_at = None if state.name == "pending" else self.sent_at
        return replace(self, state=state, sent_at=sent_at)

    def needs_sending(self, at: float, resend_delay: float) -> bool:
        if self.state.name == "pending":
            return False
        if self.sent_at is None or self.sent_at > at:  # later: the clock was set back
            return True
        resolved_at = self.state.resolved_at
        if resolved_at is not None and resolved_at > self.sent_at:
            return True
        return lasted(self.sent_at, at, resend_delay)


@dataclass(frozen=True, slots=True)
class Remembered:
    """An alert of before a restart: active since when, and last seen so."""

    active_at: float
    down_at: float


@dataclass(slots=True)
class AlertingRule:
    """One alerting rule with its alerts. evaluate() and its kin are called by one thread at a time.

    Readers in other threads take `alerts`, which is replaced and never changed.
    """

    spec: RuleSpec
    external_labels: Mapping[str, str] = field(default_factory=dict)
    alerts: Mapping[Labels, ActiveAlert] = field(default_factory=dict)
    # ALERTS_FOR_STATE is written only once the state of before a restart is read back.
    restored: bool = True
    restore_attempts: int = 0
    # Alerts of before the restart that have not shown up again, and how long they may.
    remembered: Mapping[Labels, Remembered] = field(default_factory=dict)
    remembered_until: float = 0.0

    def evaluate(self, evaluator: Evaluator, at: float, limit: int) -> dict[Labels, float]:
        """Moves the alerts on; the samples to write. RuleError, QueryError, StorageError."""
        found = self._found(evaluator.vector(self.spec.expr), evaluator)
        hold, keep = self.spec.hold, self.spec.keep_firing
        moved: dict[Labels, ActiveAlert] = {}
        for labels in {**self.alerts, **found}:
            alert, known = found.get(labels), self.alerts.get(labels)
            base = _merged(known, alert)
            following = base.advance(seen=alert is not None, at=at, hold=hold, keep=keep)
            _log_change(base.state, following)
            if not following.state.forgotten(at):
                moved[labels] = following
        active = sum(alert.state.name != "inactive" for alert in moved.values())
        if limit and active > limit:
            self.alerts = {}
            raise RuleError(f"exceeded limit of {limit} with {active} alerts")
        self.alerts = moved
        return dict(self._samples()) if self.restored else {}

    def take_sendable(self, at: float, resend_delay: float) -> list[ActiveAlert]:
        """The alerts to send now; they count as sent at this time."""
        due = {
            labels: replace(alert, sent_at=at)
            for labels, alert in self.alerts.items()
            if alert.needs_sending(at, resend_delay)
        }
        if due:
            self.alerts = {**self.alerts, **due}
        return list(due.values())

    @property
    def active(self) -> list[ActiveAlert]:
        """Alerts that are pending or firing, in the order of their labels."""
        alerts = self.alerts
        return [alerts[key] for key in sorted(alerts) if alerts[key].state.name != "inactive"]

    @property
    def state(self) -> StateName:
        """The most serious state among the alerts."""
        names = {alert.state.name for alert in self.alerts.values()}
        for name in ("firing", "pending"):
            if name in names:
                return name
        return "inactive"

    def _found(
        self, vector: Sequence[VectorSample], evaluator: Evaluator
    ) -> dict[Labels, ActiveAlert]:
        """The alerts that the expression's series make, templates expanded."""
        found: dict[Labels, ActiveAlert] = {}
        expander = evaluator.expander(self.spec.name)
        for series, value in vector:
            bare = series.without(METRIC_NAME)
            data = AlertData(dict(series), value, self.external_labels, evaluator.external_url)
            rule_labels = expander.expand_all(dict(self.spec.labels), data)
            labels = Labels.of({**dict(bare), **rule_labels, ALERT_NAME: self.spec.name})
            if labels in found:
                raise RuleError(_DUPLICATE)
            annotations = Labels.of(expander.expand_all(dict(self.spec.annotations), data))
            found[labels] = ActiveAlert(labels, annotations, value, AlertState())
        return found

    def _samples(self) -> Iterator[tuple[Labels, float]]:
        for alert in self.active:
            yield alert.labels.with_(__name__=ALERTS, alertstate=alert.state.name), 1.0
            since = float(int(alert.state.active_at or 0))
            yield alert.labels.with_(__name__=FOR_STATE), since


def _log_change(before: AlertState, alert: ActiveAlert) -> None:
    if (before.name == "firing") != (alert.state.name == "firing"):
        what = "firing" if alert.state.name == "firing" else "no longer firing"
        log.info("%s: %s", what, alert.labels)


def _merged(known: ActiveAlert | None, found: ActiveAlert | None) -> ActiveAlert:
    """What is known of the alert, with the value and annotations found this time."""
    if found is None:
        assert known is not None  # a label set is in one of the two
        return known
    if known is None or known.state.name == "inactive":
        # Back after it was resolved: a new alert, which must be told of at once.
        return found
    return replace(known, value=found.value, annotations=found.annotations)


def to_send(alert: ActiveAlert, expression: str, valid_until: float, external_url: str) -> Alert:
    """The alert as the bridge takes it: one that fires ends by itself unless it is sent again.

    The API of Alertmanager has no place for the value, which people want to see: it goes along
    as an annotation of that name, unless the rule has one.
    """
    annotations = alert.annotations
    if not annotations.get("value"):
        annotations = annotations.with_(value=humanize(alert.value))
    state = alert.state
    ends_at = valid_until if state.resolved_at is None else state.resolved_at
    return Alert(
        labels=alert.labels,
        annotations=annotations,
        starts_at=state.fired_at or state.active_at or 0.0,
        ends_at=ends_at,
        generator_url=external_url + graph_path(expression, 1),
    )
