"""Time that work stood still for want of CPU, memory or I/O, from /proc/pressure.

Documentation/accounting/psi.rst of the kernel.
"""

import errno
import re
from collections.abc import Iterator

from exporter.collectors.base import Host, NoDataError
from fleetpulse.model import MetricFamily, counter

_TOTAL = re.compile(rb"^(some|full) .*\btotal=(\d+)", re.MULTILINE)
# Of each file the lines that say something: no CPU pressure stalls a whole host.
_METRICS = {
    ("cpu", "some"): ("cpu_waiting", "that processes have waited for CPU time"),
    ("io", "some"): ("io_waiting", "that processes have waited due to IO congestion"),
    ("io", "full"): ("io_stalled", "no process could make progress due to IO congestion"),
    ("memory", "some"): ("memory_waiting", "that processes have waited for memory"),
    ("memory", "full"): (
        "memory_stalled",
        "no process could make progress due to memory congestion",
    ),
}


class PressureCollector:
    """node_pressure_*_seconds_total."""

    name = "pressure"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[MetricFamily]:
        for resource in ("cpu", "io", "memory"):
            yield from parse(resource, self._read(resource))

    def _read(self, resource: str) -> bytes:
        try:
            return self._host.proc(f"pressure/{resource}")
        except OSError as err:
            if err.errno in (errno.ENOENT, errno.EOPNOTSUPP):
                raise NoDataError(
                    "this kernel keeps no pressure figures (psi=1 turns it on)"
                ) from err
            raise


def parse(resource: str, raw: bytes) -> Iterator[MetricFamily]:
    """The totals, in microseconds, of one resource's file."""
    for kind, total in _TOTAL.findall(raw):
        found = _METRICS.get((resource, kind.decode()))
        if found is not None:
            name, what = found
            help_text = f"Total time in seconds {what}"
            yield counter(f"node_pressure_{name}_seconds_total", help_text, int(total) / 1_000_000)
