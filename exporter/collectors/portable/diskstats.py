"""Input and output of disks."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psutil

from exporter.collectors.base import NoDataError
from exporter.collectors.portable.wanted import Wanted, every
from exporter.families import Family, Found, counter


def _disk(name: str, help_text: str) -> Family:
    return counter(f"node_disk_{name}_total", help_text, "device")


_MILLISECOND = 0.001
# By the field of psutil, with what makes the family's unit of psutil's.
_COUNTERS: tuple[tuple[str, Family, float], ...] = (
    ("read_count", _disk("reads_completed", "Reads that came to their end."), 1),
    ("read_bytes", _disk("read_bytes", "Bytes read."), 1),
    ("read_time", _disk("read_time_seconds", "Seconds that reads took, in sum."), _MILLISECOND),
    ("write_count", _disk("writes_completed", "Writes that came to their end."), 1),
    ("write_bytes", _disk("written_bytes", "Bytes written."), 1),
    ("write_time", _disk("write_time_seconds", "Seconds that writes took, in sum."), _MILLISECOND),
)


def _read() -> Mapping[str, Any] | None:
    return psutil.disk_io_counters(perdisk=True)


class DiskstatsCollector:
    name = "diskstats"

    def __init__(
        self,
        wanted: Wanted = every,
        read: Callable[[], Mapping[str, Any] | None] = _read,
    ) -> None:
        self._wanted, self._read = wanted, read

    def collect(self) -> Iterator[Found]:
        disks = self._read()
        if not disks:  # Windows counts none before `diskperf -y`
            raise NoDataError("the system counts no disk")
        yield from told(disks, self._wanted)


def told(disks: Mapping[str, Any], wanted: Wanted) -> Iterator[Found]:
    kept = {name: disks[name] for name in disks if wanted(name)}
    for field, family, factor in _COUNTERS:
        yield (
            family,
            {
                (name,): getattr(disk, field) * factor
                for name, disk in kept.items()
                if hasattr(disk, field)
            },
        )
