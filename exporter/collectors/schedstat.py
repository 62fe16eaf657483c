"""What each CPU's scheduler did, from /proc/schedstat (kernels built with CONFIG_SCHEDSTATS)."""

import re
from collections.abc import Iterator

from exporter.collectors.base import Host, NoDataError, text
from exporter.families import Found, counter

_RUNNING = counter("node_schedstat_running_seconds_total", "Time that tasks ran on the CPU.", "cpu")
_WAITING = counter(
    "node_schedstat_waiting_seconds_total",
    "Time that tasks which could have run waited for the CPU.",
    "cpu",
)
_TIMESLICES = counter(
    "node_schedstat_timeslices_total", "Times that a task was given the CPU.", "cpu"
)
_NANO = 1e9

# Nine figures since version 14 of the file; the last three have kept their places.
_CPU = re.compile(rb"^cpu(\d+)(?: \d+){6} (\d+) (\d+) (\d+)\b", re.MULTILINE)


class SchedstatCollector:
    """node_schedstat_*_total."""

    name = "schedstat"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[Found]:
        raw = self._host.proc_or_none("schedstat")
        if raw is None:
            raise NoDataError("this kernel keeps no statistics of its scheduler")
        yield from parse(raw)


def parse(raw: bytes) -> Iterator[Found]:
    """Times are in nanoseconds there. ValueError where no CPU is told."""
    running = dict[tuple[str, ...], float]()
    waiting = dict[tuple[str, ...], float]()
    timeslices = dict[tuple[str, ...], float]()
    for number, ran, waited, slices in _CPU.findall(raw):
        key = (text(number),)
        running[key], waiting[key] = int(ran) / _NANO, int(waited) / _NANO
        timeslices[key] = int(slices)
    if not running:
        raise ValueError("/proc/schedstat: no CPU in it")
    yield _RUNNING, running
    yield _WAITING, waiting
    yield _TIMESLICES, timeslices
