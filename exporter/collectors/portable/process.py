"""The exporter's own process, under the names that all clients of Prometheus use."""

from collections.abc import Callable, Iterator
from typing import Any

import psutil

from exporter.families import Found, counter, gauge

CPU = counter("process_cpu_seconds_total", "Seconds of CPU that this process used.")
START = gauge("process_start_time_seconds", "When this process began, in seconds since 1970.")
RESIDENT = gauge("process_resident_memory_bytes", "Memory of this process that is resident.")
VIRTUAL = gauge("process_virtual_memory_bytes", "Address space of this process.")
OPEN_FDS = gauge("process_open_fds", "Files that this process has open; in Windows, handles.")
MAX_FDS = gauge("process_max_fds", "How many files this process may have open.")


def max_fds() -> int | None:
    """The limit of open files; None where the system has no such limit or sets none."""
    try:
        import resource
    except ImportError:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


class ProcessCollector:
    name = "process"

    def __init__(
        self,
        open_process: Callable[[], Any] = psutil.Process,
        limit: Callable[[], int | None] = max_fds,
    ) -> None:
        self._open, self._limit = open_process, limit

    def collect(self) -> Iterator[Found]:
        process = self._open()
        yield from told(process)
        limit = self._limit()
        if limit is not None:
            yield MAX_FDS, limit


def told(process: Any) -> Iterator[Found]:
    """process: a psutil.Process, or what looks like one."""
    times, memory = process.cpu_times(), process.memory_info()
    yield CPU, times.user + times.system
    yield RESIDENT, memory.rss
    yield VIRTUAL, memory.vms
    yield START, process.create_time()
    count = getattr(process, "num_fds", None) or getattr(process, "num_handles", None)
    if count is not None:
        yield OPEN_FDS, count()
