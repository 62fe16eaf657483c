"""Counts what became of samples on their way to a remote store."""

import threading

from prometheus_client import CollectorRegistry, Counter, Gauge

from fleetpulse.storage.deadletters import DeadLetters
from fleetpulse.storage.sending import Fault
from fleetpulse.storage.spool import REASONS, Spool

_PREFIX = "fleetpulse_storage_"
_FAULTS: tuple[Fault, ...] = ("moment", "settings", "size")


class RemoteTally:
    """drain.Tally. store: the kind, which is a label of every metric. Safe from any thread."""

    def __init__(
        self, registry: CollectorRegistry, spool: Spool, store: str, letters: DeadLetters
    ) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(_PREFIX + name, text, ("store", *labels), registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(_PREFIX + name, text, ("store",), registry=registry)

        self._store, self._spool, self._letters = store, spool, letters
        self._queued = counter(
            "samples_queued_total", "Samples that were put into the spool."
        ).labels(store)
        self._sent = counter("samples_sent_total", "Samples that the store has taken.").labels(
            store
        )
        self._rejected = counter(
            "samples_rejected_total", "Samples set aside because the store refused them."
        ).labels(store)
        self._left_out = counter(
            "samples_left_out_total", "Samples that the store has no form for."
        ).labels(store)
        self._failures = counter(
            "send_failures_total",
            "Requests to the store that failed: for the moment, or until settings are mended.",
            "fault",
        )
        self._dropped = counter(
            "spool_dropped_batches_total", "Batches dropped, oldest first, by reason.", "reason"
        )
        self._dropped_samples = counter(
            "spool_dropped_samples_total", "Samples in those batches, by reason.", "reason"
        )
        for fault in _FAULTS:
            self._failures.labels(store, fault)
        for reason in REASONS:
            self._dropped.labels(store, reason)
            self._dropped_samples.labels(store, reason)
        self._blocked = gauge(
            "blocked", "1 while the store refuses us because of settings, here or there."
        ).labels(store)
        for name, text, look in (
            ("spool_batches", "Batches that wait on disk.", lambda: len(spool)),
            ("spool_samples", "Samples that wait on disk.", lambda: spool.units),
            ("spool_bytes", "Bytes that wait on disk.", lambda: spool.size_bytes),
            (
                "spool_limit_bytes",
                "Bytes past which the oldest batches are dropped.",
                lambda: spool.max_bytes or 0,
            ),
            ("spool_oldest_seconds", "Age of the oldest batch.", lambda: spool.oldest_age),
        ):
            gauge(name, text).labels(store).set_function(look)
        self._lock = threading.Lock()  # guards the next
        self._known, self._known_samples = dict(spool.dropped), dict(spool.dropped_units)

    def sent(self, lines: int) -> None:
        self._sent.inc(lines)
        self.note_dropped()

    def failed(self, fault: Fault) -> None:
        self._failures.labels(self._store, fault).inc()
        self.note_dropped()

    def rejected(self, line: bytes, reason: str) -> None:
        self._rejected.inc()
        self._letters.keep(line, reason)

    def blocked(self, blocked: bool) -> None:
        self._blocked.set(float(blocked))

    def queued(self, samples: int) -> None:
        self._queued.inc(samples)

    def left_out(self, samples: int) -> None:
        self._left_out.inc(samples)

    def note_dropped(self) -> int:
        """Counts what the spool has dropped since the last time, and tells how many."""
        new = 0
        with self._lock:
            for reason, total in self._spool.dropped.items():
                more = total - self._known[reason]
                self._known[reason] = total
                self._dropped.labels(self._store, reason).inc(more)
                new += more
            for reason, total in self._spool.dropped_units.items():
                more = total - self._known_samples[reason]
                self._known_samples[reason] = total
                self._dropped_samples.labels(self._store, reason).inc(more)
        return new
