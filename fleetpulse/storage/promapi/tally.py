"""Counts what became of samples on their way to the store, and keeps what it refused."""

import logging
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from fleetpulse.storage.spool import REASONS, Spool

log = logging.getLogger(__name__)

_MAX_ASIDE = 10 << 20  # bytes of refused samples that are kept
_LOGGED_EVERY = 100  # of refused samples, past the first ten
_PREFIX = "fleetpulse_storage_victoriametrics_"


class PromApiTally:
    """drain.Tally. told: a refused item in a line that a person can read."""

    def __init__(
        self, registry: CollectorRegistry, spool: Spool, told: Callable[[bytes], str]
    ) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"{_PREFIX}{name}", text, labels, registry=registry)

        self._sent = counter("samples_sent_total", "Samples that the store has taken.")
        self._rejected = counter(
            "samples_rejected_total", "Samples set aside because the store refused them."
        )
        self._left_out = counter(
            "samples_left_out_total", "Samples that the protocol has no form for."
        )
        self._nan = counter(
            "samples_nan_total",
            "NaN samples sent that are no staleness markers: VictoriaMetrics does not keep them.",
        )
        self._failures = counter("send_failures_total", "Requests to the store that failed.")
        self._dropped = counter(
            "spool_dropped_batches_total", "Batches dropped, oldest first, by reason.", "reason"
        )
        for reason in REASONS:
            self._dropped.labels(reason)
        for name, text, look in (
            ("spool_batches", "Batches on disk.", lambda: len(spool)),
            ("spool_bytes", "Bytes that wait on disk.", lambda: spool.size_bytes),
            ("spool_oldest_seconds", "Age of the oldest batch.", lambda: spool.oldest_age),
        ):
            Gauge(f"{_PREFIX}{name}", text, registry=registry).set_function(look)
        self._told, self._seen_rejected = told, 0
        self._aside = spool.path.with_name(spool.path.name + ".rejected")
        self._spool, self._known = spool, dict(spool.dropped)

    def sent(self, lines: int) -> None:
        self._sent.inc(lines)

    def failed(self) -> None:
        self._failures.inc()

    def encoded(self, left_out: int, nan: int) -> None:
        self._left_out.inc(left_out)
        self._nan.inc(nan)

    def dropped(self, batches: int) -> None:
        """After a put(): how many it has dropped for want of room."""
        if batches:
            log.error("the spool is full: dropped the %d oldest batches", batches)
            for reason, total in self._spool.dropped.items():
                self._dropped.labels(reason).inc(total - self._known[reason])
                self._known[reason] = total

    def rejected(self, line: bytes, reason: str) -> None:
        """Keeps the sample beside the spool, for whoever looks into it."""
        self._rejected.inc()
        text = self._told(line)
        try:
            with self._aside.open("a", encoding="utf-8") as stream:
                if stream.tell() < _MAX_ASIDE:
                    stream.write(f"{text}\t{reason}\n")
        except OSError as err:
            log.error("%s: %s", self._aside, err.strerror)
        self._seen_rejected += 1
        if self._seen_rejected <= 10 or self._seen_rejected % _LOGGED_EVERY == 0:
            log.error("set aside %s: %s", text[:300], reason)
