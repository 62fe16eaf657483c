"""Kernel activity and boot time, from /proc/stat; psutil tells neither forks nor processes."""

from collections.abc import Iterator

from exporter.collectors.base import Host
from fleetpulse.model import MetricFamily, counter, gauge

# The line's first word: metric, help. Of `intr` the first number is the total.
_COUNTERS = {
    b"ctxt": ("node_context_switches_total", "Total number of context switches."),
    b"intr": ("node_intr_total", "Total number of interrupts serviced."),
    b"processes": ("node_forks_total", "Total number of forks."),
}
_GAUGES = {
    b"btime": ("node_boot_time_seconds", "Node boot time, in unixtime."),
    b"procs_blocked": (
        "node_procs_blocked",
        "Number of processes blocked waiting for I/O to complete.",
    ),
    b"procs_running": ("node_procs_running", "Number of processes in runnable state."),
}


class StatCollector:
    """node_boot_time_seconds, node_context_switches_total, node_intr_total, node_procs_*."""

    name = "stat"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[MetricFamily]:
        yield from parse(self._host.proc("stat"))


def parse(raw: bytes) -> Iterator[MetricFamily]:
    for line in raw.splitlines():
        word, _, rest = line.partition(b" ")
        if word in _COUNTERS:
            yield counter(*_COUNTERS[word], int(rest.split(None, 1)[0]))
        elif word in _GAUGES:
            yield gauge(*_GAUGES[word], int(rest))
