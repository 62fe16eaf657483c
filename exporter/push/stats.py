"""What push mode tells of itself on the page."""

from collections.abc import Iterator
from dataclasses import dataclass

from exporter.families import Found, counter, gauge
from fleetpulse.storage.spool import REASONS, Spool

NOT_KEPT = "not_kept"  # beside the spool's own reasons: it could not be written

_SENT = counter("fleetpulse_push_pages_sent_total", "Pages that the API took.")
_FAILED = counter(
    "fleetpulse_push_pages_failed_total", "Attempts to send a page that failed; it was kept."
)
_DROPPED = counter(
    "fleetpulse_push_pages_dropped_total",
    "Pages lost unsent: too many, too many bytes or too old for the spool, or not to be written.",
    "reason",
)
_REFUSED = counter(
    "fleetpulse_push_pages_refused_total", "Pages the API refused for good; set aside."
)
_REJECTED = counter(
    "fleetpulse_push_samples_rejected_total", "Samples the API left out of pages it took."
)
_LAST_SUCCESS = gauge(
    "fleetpulse_push_last_success_timestamp_seconds",
    "When the API last took a page, in unixtime; 0 if never.",
)
_LAST_STATUS = gauge(
    "fleetpulse_push_last_http_status", "HTTP status of the last attempt; 0 if no answer came."
)
_BACKOFF = gauge(
    "fleetpulse_push_backoff_seconds",
    "How long the sender waits after a failure; 0 if it does not.",
)
_PAGES = gauge("fleetpulse_push_spool_pages", "Pages that wait on disk.")
_BYTES = gauge("fleetpulse_push_spool_bytes", "Bytes of the pages that wait on disk.")
_OLDEST = gauge(
    "fleetpulse_push_spool_oldest_age_seconds", "How long the oldest page on disk has waited."
)


@dataclass(slots=True)
class PushStats:
    """What happened since the start."""

    sent: int = 0
    failed: int = 0
    not_kept: int = 0
    refused: int = 0
    rejected_samples: int = 0
    last_success: float = 0.0
    last_status: int = 0
    backoff: float = 0.0

    def families(self, spool: Spool | None) -> Iterator[Found]:
        yield _SENT, self.sent
        yield _FAILED, self.failed
        dropped = dict.fromkeys(REASONS, 0) if spool is None else dict(spool.dropped)
        dropped[NOT_KEPT] = self.not_kept
        yield _DROPPED, {(reason,): count for reason, count in dropped.items()}
        yield _REFUSED, self.refused
        yield _REJECTED, self.rejected_samples
        yield _LAST_SUCCESS, self.last_success
        yield _LAST_STATUS, self.last_status
        yield _BACKOFF, self.backoff
        yield _PAGES, 0 if spool is None else len(spool)
        yield _BYTES, 0 if spool is None else spool.size_bytes
        yield _OLDEST, 0.0 if spool is None else spool.oldest_age
