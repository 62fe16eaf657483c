"""The scraper's metrics about itself."""

from prometheus_client import CollectorRegistry, Counter, Gauge

_PREFIX = "fleetpulse_scraper_"


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
        self.faults = Gauge(
            _PREFIX + "targets_faulty",
            "Targets left out because they cannot be scraped; the log says why.",
            registry=registry,
        )
