"""Kernel activity and boot time, from /proc/stat; psutil tells neither forks nor processes."""

from collections.abc import Iterator

from exporter.collectors.base import Host
from exporter.families import Found, Rows, counter, gauge

# By the line's first word. Of `intr` and `softirq` the first number is the total.
_FAMILIES = {
    b"ctxt": counter("node_context_switches_total", "Times that a CPU changed to another process."),
    b"intr": counter("node_intr_total", "Interrupts that were served."),
    b"processes": counter("node_forks_total", "Processes and threads that were started."),
    b"btime": gauge("node_boot_time_seconds", "When the host was booted, in Unix time."),
    b"procs_blocked": gauge("node_procs_blocked", "Processes that wait for I/O."),
    b"procs_running": gauge("node_procs_running", "Processes that run or could run."),
}
_SOFTIRQS = counter(
    "node_softirqs_total", "Software interrupts that were served, by their kind.", "vector"
)
# In the order of the figures behind `softirq`, its total left out.
_VECTORS = ("hi", "timer", "net_tx", "net_rx", "block", "block_iopoll", "tasklet", "sched",
            "hrtimer", "rcu")  # fmt: skip


class StatCollector:
    """node_boot_time_seconds, node_context_switches_total, node_intr_total, node_procs_*."""

    name = "stat"

    def __init__(self, host: Host, softirq: bool = False) -> None:
        self._host, self._softirq = host, softirq

    def collect(self) -> Iterator[Found]:
        yield from parse(self._host.proc("stat"), self._softirq)


def parse(raw: bytes, softirq: bool = False) -> Iterator[Found]:
    for line in raw.splitlines():
        word, _, rest = line.partition(b" ")
        if word in _FAMILIES:
            yield _FAMILIES[word], int(rest.split(None, 1)[0])
        elif softirq and word == b"softirq":
            rows: Rows = {
                (vector,): int(number)
                for vector, number in zip(_VECTORS, rest.split()[1:], strict=False)
            }
            yield _SOFTIRQS, rows
