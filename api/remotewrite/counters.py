"""What the API tells of remote writers in its own metrics."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

REASONS = (
    "empty", "histograms", "label_limit", "labels", "max_series", "too_far_ahead", "too_old",
)  # fmt: skip


class RemoteWriteCounters:
    def __init__(self, registry: CollectorRegistry, series: Callable[[], int]) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"fleetpulse_api_remote_write_{name}", text, labels, registry=registry)

        self._requests = counter(
            "requests_total", "Remote write requests by version and what became of them.",
            "version", "result",
        )  # fmt: skip
        self._stored = counter("samples_stored_total", "Samples stored.")
        self._refused = counter(
            "samples_refused_total", "Samples that were not stored, by reason.", "reason"
        )
        self._ignored = counter(
            "ignored_total", "What is read and not kept: exemplars, start timestamps.", "kind"
        )
        Gauge(
            "fleetpulse_api_remote_write_series",
            "Series with a sample in the last 15 minutes.",
            registry=registry,
        ).set_function(series)
        for reason in REASONS:
            self._refused.labels(reason)
        for kind in ("exemplars", "start_timestamps"):
            self._ignored.labels(kind)

    def request(self, version: str, result: str) -> None:
        self._requests.labels(version, result).inc()

    def taken(self, stored: int, refused: Mapping[str, int], ignored: Mapping[str, int]) -> None:
        self._stored.inc(stored)
        for reason, count in refused.items():
            self._refused.labels(reason).inc(count)
        for kind, count in ignored.items():
            self._ignored.labels(kind).inc(count)
