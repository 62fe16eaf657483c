"""What the rules role tells about itself: Prometheus' rule and notification metrics, renamed."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Summary

_GROUP = ["rule_group"]
_BRIDGE = ["alertmanager"]


class RuleMetrics:
    """Counters and gauges of the groups; the label rule_group is `file;name`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"fleetpulse_rules_{name}", text, _GROUP, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"fleetpulse_rules_{name}", text, _GROUP, registry=registry)

        self.evaluations = counter("evaluations_total", "Evaluations of single rules.")
        self.failures = counter("evaluation_failures_total", "Rule evaluations that failed.")
        self.scheduled = counter("group_iterations_total", "Turns of a group, missed ones too.")
        self.missed = counter(
            "group_iterations_missed_total", "Turns skipped since the one before took too long."
        )
        self.interval = gauge("group_interval_seconds", "How often the group is evaluated.")
        self.rules = gauge("group_rules", "Rules in the group.")
        self.samples = gauge("group_last_evaluation_samples", "Samples that the last turn gave.")
        self.last_duration = gauge("group_last_duration_seconds", "How long the last turn took.")
        self.last_evaluation = gauge(
            "group_last_evaluation_timestamp_seconds", "When the last turn began, Unix time."
        )
        self.alerts = Gauge(
            "fleetpulse_rules_alerts",
            "Alerts of the group by state.",
            ["rule_group", "state"],
            registry=registry,
        )
        self.reload_successful = Gauge(
            "fleetpulse_rules_last_reload_successful",
            "Whether the last reading of the rule files succeeded.",
            registry=registry,
        )
        self.duration = Summary(
            "fleetpulse_rules_evaluation_duration_seconds",
            "How long rule evaluations took.",
            registry=registry,
        )
        self._of_group = (
            self.evaluations, self.failures, self.scheduled, self.missed, self.interval,
            self.rules, self.samples, self.last_duration, self.last_evaluation,
        )  # fmt: skip

    def add_group(self, key: str, interval: float, rules: int) -> None:
        """Shows the group from the start, with zeroes."""
        for metric in self._of_group:
            metric.labels(key)
        for state in ("pending", "firing"):
            self.alerts.labels(key, state)
        self.interval.labels(key).set(interval)
        self.rules.labels(key).set(rules)

    def remove_group(self, key: str) -> None:
        for metric in self._of_group:
            metric.remove(key)
        for state in ("pending", "firing"):
            self.alerts.remove(key, state)


class NotifierMetrics:
    """What happened to alerts on their way to each bridge (label alertmanager: its URL)."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str) -> Counter:
            name = f"fleetpulse_rules_notifications_{name}"
            return Counter(name, text, _BRIDGE, registry=registry)

        self.sent = counter("sent_total", "Alerts that the bridge took.")
        self.errors = counter("errors_total", "Alerts in requests that failed; most are retried.")
        self.dropped = counter("dropped_total", "Alerts dropped: queue full, or refused for good.")
        self.queued = Gauge(
            "fleetpulse_rules_notifications_queue_length",
            "Alerts that wait to be sent.",
            _BRIDGE,
            registry=registry,
        )
        self.latency = Summary(
            "fleetpulse_rules_notifications_latency_seconds",
            "How long requests to the bridge took.",
            _BRIDGE,
            registry=registry,
        )

    def add_bridge(self, url: str) -> None:
        for metric in (self.sent, self.errors, self.dropped, self.queued, self.latency):
            metric.labels(url)
