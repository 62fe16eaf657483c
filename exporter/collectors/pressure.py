"""Time that work stood still for want of CPU, memory or I/O, from /proc/pressure.

Documentation/accounting/psi.rst of the kernel.
"""

import errno
import re
from collections.abc import Iterator

from exporter.collectors.base import SHORT_LINES, Host, NoDataError
from exporter.families import Found, counter

_TOTAL = re.compile(rb"^(some|full) .*\btotal=(\d+)", re.MULTILINE)
_MICRO = 1_000_000
# Of each file the lines that say something: no want of CPU stalls a whole host.
_FAMILIES = {
    (resource, kind): counter(f"node_pressure_{name}_seconds_total", f"Seconds in which {what}.")
    for resource, kind, name, what in (
        ("cpu", b"some", "cpu_waiting", "a process waited for a CPU"),
        ("io", b"some", "io_waiting", "a process waited for I/O"),
        ("io", b"full", "io_stalled", "all processes that could run waited for I/O"),
        ("memory", b"some", "memory_waiting", "a process waited for memory"),
        ("memory", b"full", "memory_stalled", "all processes that could run waited for memory"),
        ("irq", b"full", "irq_stalled", "interrupts held up all processes that could run"),
    )
}


class PressureCollector:
    """node_pressure_*_seconds_total."""

    name = "pressure"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[Found]:
        for resource in ("cpu", "io", "memory"):
            yield from parse(resource, self._read(resource))
        # Told by kernels since 6.1 that count the time spent in interrupts.
        yield from parse("irq", self._host.proc_or_none("pressure/irq", SHORT_LINES) or b"")

    def _read(self, resource: str) -> bytes:
        try:
            return self._host.proc(f"pressure/{resource}", SHORT_LINES)
        except OSError as err:
            if err.errno in (errno.ENOENT, errno.EOPNOTSUPP):
                why = "this kernel keeps no pressure figures (psi=1 turns it on)"
                raise NoDataError(why) from err
            raise


def parse(resource: str, raw: bytes) -> Iterator[Found]:
    """The totals, in microseconds, of one resource's file."""
    for kind, total in _TOTAL.findall(raw):
        family = _FAMILIES.get((resource, kind))
        if family is not None:
            yield family, int(total) / _MICRO
