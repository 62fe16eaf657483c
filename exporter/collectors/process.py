"""The exporter's own process, under the names of Prometheus' client libraries."""

import os
import resource
from collections.abc import Callable, Iterator

from exporter.collectors.base import Host
from exporter.families import Found, counter, gauge

_CPU = counter("process_cpu_seconds_total", "Seconds of CPU time that the exporter took.")
_OPEN = gauge("process_open_fds", "Files that the exporter has open.")
_MAX_OPEN = gauge("process_max_fds", "Files that the exporter may have open.")
_VIRTUAL = gauge("process_virtual_memory_bytes", "Address space of the exporter.")
_MAX_VIRTUAL = gauge("process_virtual_memory_max_bytes", "Address space that it may have.")
_RESIDENT = gauge("process_resident_memory_bytes", "Memory that the exporter takes.")
_START = gauge("process_start_time_seconds", "When the exporter was started, in Unix time.")

_UNLIMITED = 2**64 - 1  # as the other client libraries tell it


class ProcessCollector:
    """process_*, from /proc/self: of this process, wherever the host's /proc is mounted."""

    name = "process"

    def __init__(
        self,
        host: Host | None = None,
        *,
        ticks: int = os.sysconf("SC_CLK_TCK"),
        page_size: int = os.sysconf("SC_PAGE_SIZE"),
        limit: Callable[[int], tuple[int, int]] = resource.getrlimit,
    ) -> None:
        self._host = host or Host()
        self._ticks, self._page_size, self._limit = ticks, page_size, limit
        self._booted: int | None = None

    def collect(self) -> Iterator[Found]:
        """What cannot be read is left out: a unit may hide all of /proc but the processes."""
        for tell in (self._use, self._files, self._start):
            try:
                yield from tell()
            except OSError:
                continue

    def _use(self) -> list[Found]:
        fields = self._fields()
        return [
            (_CPU, (int(fields[11]) + int(fields[12])) / self._ticks),
            (_VIRTUAL, int(fields[20])),
            (_MAX_VIRTUAL, self._most(resource.RLIMIT_AS)),
            (_RESIDENT, int(fields[21]) * self._page_size),
        ]

    def _files(self) -> list[Found]:
        opened = len(os.listdir(f"{self._host.procfs}/self/fd"))
        return [(_OPEN, opened), (_MAX_OPEN, self._most(resource.RLIMIT_NOFILE))]

    def _start(self) -> list[Found]:
        return [(_START, self._boot_time() + int(self._fields()[19]) / self._ticks)]

    def _fields(self) -> list[bytes]:
        return parse(self._host.proc("self/stat"))

    def _most(self, what: int) -> int:
        soft, _ = self._limit(what)
        return _UNLIMITED if soft == resource.RLIM_INFINITY else soft

    def _boot_time(self) -> int:
        """Read once: the kernel moves it about by a second, and a start time must not move."""
        if self._booted is None:
            _, _, rest = self._host.proc("stat").partition(b"\nbtime ")
            self._booted = int(rest.split(None, 1)[0])
        return self._booted


def parse(raw: bytes) -> list[bytes]:
    """The fields of /proc/PID/stat from the third, the state, on: a name may hold anything."""
    return raw.rpartition(b")")[2].split()
