"""The kernel's pool of randomness, from /proc/sys/kernel/random."""

from collections.abc import Iterator

from exporter.collectors.base import Host
from fleetpulse.model import MetricFamily, gauge


class EntropyCollector:
    """node_entropy_available_bits and node_entropy_pool_size_bits."""

    name = "entropy"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[MetricFamily]:
        available = int(self._host.proc("sys/kernel/random/entropy_avail"))
        size = int(self._host.proc("sys/kernel/random/poolsize"))
        yield gauge("node_entropy_available_bits", "Bits of available entropy.", available)
        yield gauge("node_entropy_pool_size_bits", "Bits of entropy pool.", size)
