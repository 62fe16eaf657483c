"""The scraper's metrics about itself."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_PREFIX = "fleetpulse_scraper_"
_DURATIONS = (0.001, 0.005, 0.02, 0.1, 0.5, 1, 2, 5, 10, 30)


class BufferMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.written = Counter(
            _PREFIX + "pages_written", "Pages that the store took.", registry=registry
        )
        self.dropped = Counter(
            _PREFIX + "dropped_pages",
            "Pages lost because the store refused them or failed for too long.",
            registry=registry,
        )
        self.failures = Counter(
            _PREFIX + "write_failures", "Writes that the store did not take.", registry=registry
        )
        self.waiting = Gauge(
            _PREFIX + "waiting_samples", "Samples that wait for the store.", registry=registry
        )
        self.waiting_pages = Gauge(
            _PREFIX + "waiting_pages", "Pages that wait for the store.", registry=registry
        )


class ScrapeMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.targets = Gauge(_PREFIX + "targets", "Targets that are scraped.", registry=registry)
        self.scrapes = Counter(_PREFIX + "scrapes", "Scrapes that ended.", registry=registry)
        self.failures = Counter(
            _PREFIX + "scrape_failures", "Scrapes that failed.", ["reason"], registry=registry
        )
        self.skipped = Counter(
            _PREFIX + "skipped",
            "Turns not taken, as the last scrape was not done or the loop was late.",
            registry=registry,
        )
        self.late = Counter(
            _PREFIX + "late", "Turns begun more than a second late.", registry=registry
        )
        self.durations = Histogram(
            _PREFIX + "scrape_duration_seconds",
            "How long scrapes took, failed ones included.",
            registry=registry,
            buckets=_DURATIONS,
        )
        self.failure_log_errors = Counter(
            _PREFIX + "failure_log_errors",
            "Lines that could not be written to a scrape_failure_log_file.",
            registry=registry,
        )
        self.samples = Counter(_PREFIX + "samples", "Samples scraped and kept.", registry=registry)
        self.out_of_bounds = Counter(
            _PREFIX + "samples_out_of_bounds",
            "Samples not taken: their own timestamps are 10 minutes ahead, or negative.",
            registry=registry,
        )
        self.out_of_order = Counter(
            _PREFIX + "samples_out_of_order",
            "Samples not taken: their own timestamps are older than the newest of their series.",
            registry=registry,
        )
        self.duplicates = Counter(
            _PREFIX + "samples_duplicate",
            "Samples not taken: their series have another value for the same time.",
            registry=registry,
        )
        self.active = Gauge(_PREFIX + "active_scrapes", "Scrapes under way now.", registry=registry)
        self.lag = Gauge(
            _PREFIX + "loop_lag_seconds",
            "How late the latest scrape was begun.",
            registry=registry,
        )
        self.errors = Counter(
            _PREFIX + "internal_errors",
            "Faults in the scraper itself; the log has the traceback.",
            registry=registry,
        )


class MakerMetrics:
    """How full the page maker's memory is: looked up when somebody asks, and not before."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def _show(self, name: str, help_text: str, look: Callable[[], float]) -> None:
        Gauge(_PREFIX + name, help_text, registry=self._registry).set_function(look)

    def show(
        self,
        queued: Callable[[], float],
        queued_bytes: Callable[[], float],
        known: Callable[[], float],
        shapes: Callable[[], float],
    ) -> None:
        self._show("queued_pages", "Pages fetched that wait to be read.", queued)
        self._show("queued_bytes", "Bytes of pages that wait to be read.", queued_bytes)
        self._show("cache_lines", "Lines of pages that need not be parsed again.", known)
        self._show("cache_shapes", "Pages known but for their values.", shapes)


class GuardMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.series = Gauge(_PREFIX + "series", "Series of all targets.", registry=registry)
        self.new = Counter(
            _PREFIX + "new_series", "Series that a target did not have before.", registry=registry
        )
        self.refused = Counter(
            _PREFIX + "series_refused",
            "Series in a page that were not taken, by the guard that was in the way: too many of "
            "the target, of all targets, or new in this minute.",
            ["job", "guard"],
            registry=registry,
        )


class DiscoveryMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.broken_files = Gauge(
            _PREFIX + "target_files_broken",
            "Target files that cannot be read now; their last targets are kept.",
            registry=registry,
        )
        self.lookups = Counter(
            _PREFIX + "discovery_lookups",
            "Questions asked to find targets, over HTTP or of the DNS.",
            ["mechanism"],
            registry=registry,
        )
        self.failures = Counter(
            _PREFIX + "discovery_failures",
            "Questions that got no answer; the last targets are kept.",
            ["mechanism"],
            registry=registry,
        )
        self.broken_sources = Gauge(
            _PREFIX + "discovery_broken",
            "HTTP and DNS discoveries whose last question got no answer.",
            registry=registry,
        )
        self.dropped = Gauge(
            _PREFIX + "targets_dropped", "Targets that relabelling dropped.", registry=registry
        )
        self.elsewhere = Gauge(
            _PREFIX + "targets_elsewhere", "Targets that are other shards'.", registry=registry
        )
        self.faults = Gauge(
            _PREFIX + "targets_faulty",
            "Targets left out because they cannot be scraped; the log says why.",
            registry=registry,
        )
