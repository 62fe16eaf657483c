"""The bridge's own metrics."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_BY = ("receiver", "integration")


@dataclass(frozen=True, slots=True)
class Gauges:
    """What the bridge holds at a moment."""

    alerts: dict[str, int]
    silences: dict[str, int]
    groups: int
    pending: dict[tuple[str, str], int]


class BridgeMetrics:
    """Counters that the parts of the bridge raise. One object a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        prefix = "fleetpulse_bridge_"
        self._received = Counter(
            f"{prefix}alerts_received_total", "Alerts taken.", ["status"], registry=registry
        )
        self._invalid = Counter(
            f"{prefix}alerts_invalid_total", "Alerts refused as faulty.", registry=registry
        )
        self._sent = Counter(
            f"{prefix}notifications_total", "Messages sent.", _BY, registry=registry
        )
        self._failed = Counter(
            f"{prefix}notification_attempts_failed_total",
            "Attempts to send that failed; the message is retried unless it is dropped.",
            _BY,
            registry=registry,
        )
        self._dropped = Counter(
            f"{prefix}notifications_dropped_total",
            "Messages given up: refused, too_old, queue_full or no_receiver.",
            (*_BY, "reason"),
            registry=registry,
        )
        self._latency = Histogram(
            f"{prefix}notification_duration_seconds",
            "Time an attempt to send took.",
            _BY,
            buckets=(0.1, 0.5, 1, 2.5, 5, 10, 20),
            registry=registry,
        )
        self._errors = Counter(
            f"{prefix}internal_errors_total",
            "Turns of a loop that failed, by loop; the log has the traceback.",
            ["loop"],
            registry=registry,
        )
        for status in ("firing", "resolved"):
            self._received.labels(status)
        for loop in ("dispatcher", "sender", "housekeeping"):
            self._errors.labels(loop)

    def received(self, *, firing: bool) -> None:
        self._received.labels("firing" if firing else "resolved").inc()

    def invalid(self) -> None:
        self._invalid.inc()

    def prepare(self, receiver: str, kind: str) -> None:
        """Shows a receiver's counters at zero before the first message."""
        for metric in (self._sent, self._failed, self._latency):
            metric.labels(receiver, kind)

    def attempted(self, receiver: str, kind: str, seconds: float, *, sent: bool) -> None:
        self._latency.labels(receiver, kind).observe(seconds)
        (self._sent if sent else self._failed).labels(receiver, kind).inc()

    def dropped(self, receiver: str, kind: str, reason: str) -> None:
        self._dropped.labels(receiver, kind, reason).inc()

    def error(self, loop: str) -> None:
        self._errors.labels(loop).inc()


class GaugeCollector(Collector):
    """Asks for the gauges at each scrape. read answers None while there is nothing to tell."""

    def __init__(self, read: Callable[[], Gauges | None]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        gauges = self._read()
        if gauges is None:
            return
        yield _family("alerts", "Alerts known, by state.", gauges.alerts)
        yield _family("silences", "Silences known, by state.", gauges.silences)
        yield GaugeMetricFamily(
            "fleetpulse_bridge_groups", "Aggregation groups.", value=gauges.groups
        )
        pending = GaugeMetricFamily(
            "fleetpulse_bridge_outbox_messages", "Messages waiting to be sent.", labels=_BY
        )
        for (receiver, kind), count in gauges.pending.items():
            pending.add_metric([receiver, kind], count)
        yield pending


def _family(name: str, help_text: str, counts: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"fleetpulse_bridge_{name}", help_text, labels=["state"])
    for state, count in counts.items():
        family.add_metric([state], count)
    return family
