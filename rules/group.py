"""A group of rules, evaluated in their order at one time."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from fleetpulse.errors import FleetPulseError, StorageError
from fleetpulse.model import Alert, Labels
from fleetpulse.promql.result import QueryEngine
from fleetpulse.storage.base import SampleWriter
from rules.alerting import AlertingRule, to_send
from rules.evaluate import Evaluator
from rules.files import GroupSpec, RuleSpec
from rules.metrics import RuleMetrics
from rules.output import RuleOutput, stale_page
from rules.recording import RecordingRule
from rules.restore import Restorer

log = logging.getLogger(__name__)

Rule = AlertingRule | RecordingRule


class AlertSink(Protocol):
    """Where alerts go. Returns at once; safe from any thread."""

    def send(self, alerts: Sequence[Alert]) -> None: ...


@dataclass(frozen=True, slots=True)
class Context:
    """What all groups share. clock measures durations, in seconds."""

    engine: QueryEngine
    writer: SampleWriter
    sink: AlertSink
    metrics: RuleMetrics
    external_labels: dict[str, str]
    external_url: str
    resend_delay: float
    timeout: float
    restorer: Restorer
    clock: Callable[[], float] = time.monotonic


@dataclass(slots=True)
class RuleRun:
    """A rule with what came of its last evaluation. Times in seconds."""

    rule: Rule
    output: RuleOutput = field(default_factory=RuleOutput)
    health: Literal["unknown", "ok", "err"] = "unknown"
    last_error: str = ""
    evaluated_at: float = 0.0
    duration: float = 0.0

    @property
    def spec(self) -> RuleSpec:
        return self.rule.spec


class Group:
    """Evaluates its rules. evaluate() is called by one thread at a time; the rest by any."""

    def __init__(self, spec: GroupSpec, context: Context, *, restore: bool) -> None:
        self.spec = spec
        self.evaluated_at = 0.0
        self.duration = 0.0
        self._context = context
        self.runs = tuple(RuleRun(self._rule(rule, restore)) for rule in spec.rules)
        # The first turn may come before the first scrapes; what it finds is not judged by.
        self._turns_before_restore = 2 if restore else 0
        self._leftover: tuple[Labels, ...] = ()
        self._stopping = threading.Event()
        context.metrics.add_group(spec.key, spec.interval, len(spec.rules))

    def _rule(self, spec: RuleSpec, restore: bool) -> Rule:
        if spec.kind == "recording":
            return RecordingRule(spec)
        return AlertingRule(spec, self._context.external_labels, restored=not restore)

    def evaluate(self, at: float) -> None:
        """One turn at the time of its slot, in Unix seconds. Failures stay with their rules."""
        started = self._context.clock()
        self._context.metrics.scheduled.labels(self.spec.key).inc()
        written: set[Labels] = set()
        samples = 0
        for run in self.runs:
            if self._stopping.is_set():
                return
            samples += self._evaluate_rule(run, at, written)
        self._end_leftover(at, written)
        self._restore(at)
        self.evaluated_at, self.duration = at, self._context.clock() - started
        self._show(samples)

    def stop(self) -> None:
        """Lets a turn under way end after the rule it is at."""
        self._stopping.set()

    def copy_state(self, old: "Group") -> None:
        """Takes over alerts and written series of rules with the same name and labels."""
        waiting: dict[tuple[object, ...], list[RuleRun]] = {}
        for run in old.runs:
            waiting.setdefault(_identity(run.spec), []).append(run)
        for run in self.runs:
            matching = waiting.get(_identity(run.spec))
            if not matching:
                continue
            before = matching.pop(0)
            run.output.adopt(before.output.series)
            if isinstance(run.rule, AlertingRule) and isinstance(before.rule, AlertingRule):
                run.rule.alerts = before.rule.alerts
                run.rule.restored = before.rule.restored
                run.rule.remembered = before.rule.remembered
                run.rule.remembered_until = before.rule.remembered_until
        self._turns_before_restore = old._turns_before_restore
        left = [run.output.series for runs in waiting.values() for run in runs]
        self._leftover = old._leftover + tuple(line for lines in left for line in lines)
        self.evaluated_at, self.duration = old.evaluated_at, old.duration

    def end(self, at: float) -> None:
        """Marks all its series as ended: the group is gone from the files."""
        series = {line for run in self.runs for line in run.output.series} | {*self._leftover}
        self._context.metrics.remove_group(self.spec.key)
        if series:
            try:
                self._context.writer.write([stale_page(series, _ms(at))])
            except StorageError as err:
                log.warning("group %s: its series could not be ended: %s", self.spec.key, err)

    # One rule

    def _evaluate_rule(self, run: RuleRun, at: float, written: set[Labels]) -> int:
        context, key = self._context, self.spec.key
        started = context.clock()
        context.metrics.evaluations.labels(key).inc()
        try:
            count = self._run(run, at, written)
            run.health, run.last_error = "ok", ""
        except FleetPulseError as err:
            # Once when it begins; the metrics and the rules page tell how long it lasts.
            level = logging.DEBUG if run.last_error == str(err) else logging.WARNING
            log.log(level, "group %s: rule %s failed: %s", key, run.spec.name, err)
            count = self._failed(run, str(err))
        except Exception as err:  # the other rules of the group go on
            count = self._failed(run, f"internal error: {err!r}")
            log.exception("group %s: rule %s failed", key, run.spec.name)
        run.evaluated_at, run.duration = at, context.clock() - started
        context.metrics.duration.observe(run.duration)
        return count

    def _failed(self, run: RuleRun, message: str) -> int:
        run.health, run.last_error = "err", message
        self._context.metrics.failures.labels(self.spec.key).inc()
        return 0

    def _run(self, run: RuleRun, at: float, written: set[Labels]) -> int:
        context = self._context
        at_ms = _ms(at - self.spec.query_offset)
        evaluator = Evaluator(context.engine, at_ms, context.external_url, context.timeout)
        samples = run.rule.evaluate(evaluator, at, self.spec.limit)
        if isinstance(run.rule, AlertingRule):
            # Before the writing: a store that takes nothing must not keep people from knowing.
            self._send(run.rule, at)
        run.output.write(context.writer, samples, at_ms, written)
        written.update(samples)
        return len(samples)

    def _send(self, rule: AlertingRule, at: float) -> None:
        context = self._context
        # Two failed turns or requests may pass before the bridge takes an alert for ended.
        valid_until = at + 4 * max(self.spec.interval, context.resend_delay)
        due = rule.take_sendable(at, context.resend_delay)
        if due:
            context.sink.send(
                [to_send(one, rule.spec.expr, valid_until, context.external_url) for one in due]
            )

    # The group

    def _restore(self, at: float) -> None:
        self._turns_before_restore -= 1
        if self._turns_before_restore > 0:
            return
        for run in self.runs:
            if isinstance(run.rule, AlertingRule):
                self._context.restorer.restore(run.rule, at, self.spec.interval)

    def _end_leftover(self, at: float, written: set[Labels]) -> None:
        gone = [line for line in self._leftover if line not in written]
        if not gone:
            self._leftover = ()
            return
        try:
            self._context.writer.write([stale_page(gone, _ms(at - self.spec.query_offset))])
            self._leftover = ()
        except StorageError as err:
            log.warning("group %s: old series could not be ended: %s", self.spec.key, err)

    def _show(self, samples: int) -> None:
        metrics, key = self._context.metrics, self.spec.key
        metrics.last_duration.labels(key).set(self.duration)
        metrics.last_evaluation.labels(key).set(self.evaluated_at)
        metrics.samples.labels(key).set(samples)
        for state in ("pending", "firing"):
            metrics.alerts.labels(key, state).set(
                sum(
                    alert.state.name == state
                    for run in self.runs
                    if isinstance(run.rule, AlertingRule)
                    for alert in run.rule.active
                )
            )


def _identity(spec: RuleSpec) -> tuple[object, ...]:
    return spec.kind, spec.name, spec.labels


def _ms(at: float) -> int:
    return round(at * 1000)
