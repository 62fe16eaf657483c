"""The kernel's pool of randomness, from /proc/sys/kernel/random."""

from collections.abc import Iterator

from exporter.collectors.base import SHORT_LINES, Host
from exporter.families import Found, gauge

_AVAILABLE = gauge("node_entropy_available_bits", "Randomness that the kernel has, in bits.")
_SIZE = gauge("node_entropy_pool_size_bits", "Size of the kernel's pool of randomness, in bits.")


class EntropyCollector:
    """node_entropy_available_bits and node_entropy_pool_size_bits."""

    name = "entropy"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[Found]:
        yield _AVAILABLE, int(self._host.proc("sys/kernel/random/entropy_avail", SHORT_LINES))
        yield _SIZE, int(self._host.proc("sys/kernel/random/poolsize", SHORT_LINES))
