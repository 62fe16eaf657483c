"""What the API keeps of pushes besides their samples: which came already, and how many."""

import threading
from collections import OrderedDict
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter

from fleetpulse.model import Metadata


class PushMemory:
    """What is remembered of each server's pushes. In memory, bounded, safe from any thread.

    A batch that comes again after a restart of the API is stored again: the same series at the
    same times, which is the same samples.
    """

    def __init__(self, batches: int) -> None:
        self._lock = threading.Lock()
        self._most = batches
        self._batches: dict[str, OrderedDict[str, int]] = {}
        self._turns: dict[str, threading.Lock] = {}
        self._addresses: dict[str, str] = {}
        self._metadata: dict[str, Mapping[str, Metadata]] = {}

    def turn(self, server: str) -> threading.Lock:
        """Held while a push of the server is stored, so that a hasty repeat finds the first."""
        with self._lock:
            return self._turns.setdefault(server, threading.Lock())

    def seen(self, server: str, batch_id: str) -> int | None:
        """How many samples of the batch were stored, if it was."""
        with self._lock:
            return self._batches.get(server, OrderedDict[str, int]()).get(batch_id)

    def remember(self, server: str, batch_id: str, samples: int) -> None:
        if not batch_id:
            return
        with self._lock:
            batches = self._batches.setdefault(server, OrderedDict())
            batches[batch_id] = samples
            if len(batches) > self._most:
                batches.popitem(last=False)

    def address(self, server: str) -> str:
        """Where the server's last push came from, or an empty text."""
        with self._lock:
            return self._addresses.get(server, "")

    def came_from(self, server: str, address: str) -> None:
        with self._lock:
            self._addresses[server] = address

    def is_news(self, server: str, metadata: Mapping[str, Metadata]) -> bool:
        """Whether metadata says anything that the server's last page did not."""
        with self._lock:
            return bool(metadata) and self._metadata.get(server) != metadata

    def described(self, server: str, metadata: Mapping[str, Metadata]) -> None:
        with self._lock:
            self._metadata[server] = metadata


class PushCounters:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.samples = Counter(
            "fleetpulse_api_push_samples_total",
            "Pushed samples by what became of them.",
            ["result"],
            registry=registry,
        )
        self.batches = Counter(
            "fleetpulse_api_push_batches_total",
            "Pushed batches by what became of them.",
            ["result"],
            registry=registry,
        )
        for result in ("accepted", "rejected", "duplicate"):
            self.samples.labels(result)
        for result in ("stored", "duplicate"):
            self.batches.labels(result)
