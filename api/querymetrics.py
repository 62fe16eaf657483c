"""The API's metrics of its queries."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from api.queryrecord import QueryRecord
from fleetpulse.promql.asker import Asker

_BUCKETS = (0.001, 0.005, 0.025, 0.1, 0.25, 1, 2.5, 10, 30, 60, 120)
_STATUSES = (
    "success", "bad_data", "execution", "timeout", "canceled", "unavailable", "internal",
)  # fmt: skip


class QueryMetrics:
    """What Prometheus has as prometheus_engine_*. Safe from any thread."""

    def __init__(self, registry: CollectorRegistry, max_concurrency: int) -> None:
        self._ended = Counter(
            "fleetpulse_api_queries_total",
            "Queries by what became of them: success, or the errorType of the answer.",
            ["status"],
            registry=registry,
        )
        for status in _STATUSES:
            self._ended.labels(status)
        self._durations = Histogram(
            "fleetpulse_api_query_duration_seconds",
            "Time of a query, by slice: in the queue, reading the store, evaluating, sorting.",
            ["slice"],
            registry=registry,
            buckets=_BUCKETS,
        )
        self._samples = Counter(
            "fleetpulse_api_query_samples_total",
            "Samples that queries looked at, at each of their steps anew.",
            registry=registry,
        )
        self._running = Gauge(
            "fleetpulse_api_queries_running", "Queries being evaluated.", registry=registry
        )
        self._queued = Gauge(
            "fleetpulse_api_queries_queued",
            "Queries that wait for one of the places.",
            registry=registry,
        )
        places = Gauge(
            "fleetpulse_api_queries_running_max",
            "Queries that are evaluated at the same time at most: api.query.max_concurrency.",
            registry=registry,
        )
        places.set(max_concurrency)

    @contextmanager
    def under_way(self, asker: Asker) -> Iterator[None]:
        """Counts a query as queued until its turn comes, and then as running."""
        here = self._queued

        def began() -> None:
            nonlocal here
            here.dec()
            here = self._running
            here.inc()

        here.inc()
        asker.began = began
        try:
            yield
        finally:
            here.dec()

    def note(self, record: QueryRecord) -> None:
        stats = record.stats
        self._ended.labels(record.status).inc()
        self._samples.inc(stats.samples)
        slices = {
            "queue_time": stats.queued,
            "prepare_time": stats.store,
            "inner_eval": stats.evaluated,
            "result_sort": stats.shaped,
        }
        for name, seconds in slices.items():
            self._durations.labels(name).observe(seconds)
