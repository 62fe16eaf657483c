"""Block devices, from /proc/diskstats: psutil leaves out discards, flushes and what is queued.

Fields: Documentation/admin-guide/iostats.rst of the kernel.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.collectors.base import Host, read_optional, text
from fleetpulse.model import MetricFamily, counter, gauge

_SECTOR = 512  # bytes, whatever the device's own sectors are
_MILLI = 0.001

# Metric, what a unit of the field is worth, help; in the order of the file's columns.
_COLUMNS: Sequence[tuple[str, float, str]] = (
    ("reads_completed_total", 1, "The total number of reads completed successfully."),
    ("reads_merged_total", 1, "The total number of reads merged."),
    ("read_bytes_total", _SECTOR, "The total number of bytes read successfully."),
    ("read_time_seconds_total", _MILLI, "The total number of seconds spent by all reads."),
    ("writes_completed_total", 1, "The total number of writes completed successfully."),
    ("writes_merged_total", 1, "The number of writes merged."),
    ("written_bytes_total", _SECTOR, "The total number of bytes written successfully."),
    ("write_time_seconds_total", _MILLI, "The total number of seconds spent by all writes."),
    ("io_now", 1, "The number of I/Os currently in progress."),
    ("io_time_seconds_total", _MILLI, "Total seconds spent doing I/Os."),
    ("io_time_weighted_seconds_total", _MILLI, "The weighted number of seconds spent doing I/Os."),
    ("discards_completed_total", 1, "The total number of discards completed successfully."),
    ("discards_merged_total", 1, "The total number of discards merged."),
    ("discarded_sectors_total", 1, "The total number of sectors discarded successfully."),
    ("discard_time_seconds_total", _MILLI, "The total number of seconds spent by all discards."),
    ("flush_requests_total", 1, "The total number of flush requests completed successfully."),
    ("flush_requests_time_seconds_total", _MILLI, "The seconds spent by all flush requests."),
)
# Labels of node_disk_info and the udev properties that fill them, the first that there is.
_UDEV = {
    "path": ("ID_PATH",),
    "wwn": ("ID_WWN",),
    "model": ("ID_MODEL",),
    "serial": ("SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT"),
    "revision": ("ID_REVISION",),
}


@dataclass(frozen=True, slots=True)
class Disk:
    """A line of /proc/diskstats; values has as many columns as this kernel tells."""

    device: str
    major: str
    minor: str
    values: tuple[int, ...]


class DiskstatsCollector:
    """node_disk_*."""

    name = "diskstats"

    def __init__(self, host: Host, exclude: re.Pattern[str]) -> None:
        self._host, self._exclude = host, exclude

    def collect(self) -> Iterator[MetricFamily]:
        disks = [
            disk
            for disk in parse(self._host.proc("diskstats"))
            if not self._exclude.search(disk.device)
        ]
        yield from families(disks)
        yield info(disks, {disk.device: self._udev(disk) for disk in disks})

    def _udev(self, disk: Disk) -> bytes:
        path = self._host.root(f"/run/udev/data/b{disk.major}:{disk.minor}")
        return read_optional(path) or b""


def parse(raw: bytes) -> list[Disk]:
    disks = list[Disk]()
    for line in raw.splitlines():
        major, minor, device, *values = line.split()
        if len(values) < 11:  # kernels before 2.6.25 told less of partitions
            continue
        numbers = tuple(map(int, values[: len(_COLUMNS)]))
        disks.append(Disk(text(device), text(major), text(minor), numbers))
    return disks


def families(disks: Sequence[Disk]) -> Iterator[MetricFamily]:
    for column, (name, unit, help_text) in enumerate(_COLUMNS):
        make = counter if name.endswith("_total") else gauge
        family = make(f"node_disk_{name}", help_text)
        for disk in disks:
            if column < len(disk.values):
                family.add(disk.values[column] * unit, device=disk.device)
        yield family


def info(disks: Sequence[Disk], udev: Mapping[str, bytes]) -> MetricFamily:
    """node_disk_info; udev holds what /run/udev/data has of each device."""
    family = gauge("node_disk_info", "Info of /sys/block/<block_device>.")
    for disk in disks:
        found = properties(udev[disk.device])
        labels = {
            label: next((found[key] for key in keys if key in found), "")
            for label, keys in _UDEV.items()
        }
        family.add(1, device=disk.device, major=disk.major, minor=disk.minor, **labels)
    return family


def properties(raw: bytes) -> dict[str, str]:
    """udev's database: `E:ID_MODEL=QEMU` → {"ID_MODEL": "QEMU"}."""
    lines = (text(line[2:]) for line in raw.splitlines() if line.startswith(b"E:"))
    return {name: value for name, _, value in (line.partition("=") for line in lines)}
