"""Block devices, from /proc/diskstats: psutil leaves out discards, flushes and what is queued.

Fields: Documentation/admin-guide/iostats.rst of the kernel.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from exporter.collectors.base import SHORT_LINES, Host, read_optional, text
from exporter.families import Family, Found, Rows, counter, gauge
from exporter.filters import Filter

_SECTOR = 512  # bytes, whatever the device's own sectors are
_MILLI = 1000


def _family(name: str, help_text: str) -> Family:
    make = counter if name.endswith("_total") else gauge
    return make(f"node_disk_{name}", help_text, "device")


# Each with what its unit is multiplied and divided by; in the order of the file's columns.
_COLUMNS: Sequence[tuple[Family, int, int]] = (
    (_family("reads_completed_total", "Reads that were completed."), 1, 1),
    (_family("reads_merged_total", "Reads that were merged with a neighbour."), 1, 1),
    (_family("read_bytes_total", "Bytes read."), _SECTOR, 1),
    (_family("read_time_seconds_total", "Seconds that reads took, added up."), 1, _MILLI),
    (_family("writes_completed_total", "Writes that were completed."), 1, 1),
    (_family("writes_merged_total", "Writes that were merged with a neighbour."), 1, 1),
    (_family("written_bytes_total", "Bytes written."), _SECTOR, 1),
    (_family("write_time_seconds_total", "Seconds that writes took, added up."), 1, _MILLI),
    (_family("io_now", "Operations under way."), 1, 1),
    (_family("io_time_seconds_total", "Seconds with an operation under way."), 1, _MILLI),
    (
        _family("io_time_weighted_seconds_total", "Seconds of operations under way, added up."),
        1,
        _MILLI,
    ),
    (_family("discards_completed_total", "Discards that were completed."), 1, 1),
    (_family("discards_merged_total", "Discards that were merged with a neighbour."), 1, 1),
    (_family("discarded_sectors_total", "Sectors discarded."), 1, 1),
    (_family("discard_time_seconds_total", "Seconds that discards took, added up."), 1, _MILLI),
    (_family("flush_requests_total", "Flushes that were completed."), 1, 1),
    (
        _family("flush_requests_time_seconds_total", "Seconds that flushes took, added up."),
        1,
        _MILLI,
    ),
)
# Labels of node_disk_info and the udev properties that fill them, the first that there is.
_UDEV = {
    "path": ("ID_PATH",),
    "wwn": ("ID_WWN",),
    "model": ("ID_MODEL",),
    "serial": ("SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT"),
    "revision": ("ID_REVISION",),
}
_INFO = gauge(
    "node_disk_info", "What udev knows of the device; always 1.", "device", "major", "minor", *_UDEV
)
# udev's properties with a metric of their own.
_FROM_UDEV = {
    "ID_ATA_WRITE_CACHE": gauge(
        "node_disk_ata_write_cache", "Whether the ATA disk has a write cache.", "device"
    ),
    "ID_ATA_WRITE_CACHE_ENABLED": gauge(
        "node_disk_ata_write_cache_enabled", "Whether the ATA disk's write cache is on.", "device"
    ),
    "ID_ATA_ROTATION_RATE_RPM": gauge(
        "node_disk_ata_rotation_rate_rpm",
        "Speed of the ATA disk's platters in turns a minute; 0 for an SSD.",
        "device",
    ),
}
_FILESYSTEM = gauge(
    "node_disk_filesystem_info",
    "The file system on the device, as udev knows it; always 1.",
    "device",
    "type",
    "usage",
    "uuid",
    "version",
)
_MAPPER = gauge(
    "node_disk_device_mapper_info",
    "The device mapper's device, as udev knows it; always 1.",
    "device",
    "name",
    "uuid",
    "vg_name",
    "lv_name",
    "lv_layer",
)


@dataclass(frozen=True, slots=True)
class Disk:
    """A line of /proc/diskstats; values has as many columns as this kernel tells."""

    device: str
    number: str  # major:minor
    values: Sequence[int]


class DiskstatsCollector:
    """node_disk_*."""

    name = "diskstats"

    def __init__(
        self, host: Host, exclude: re.Pattern[str] | None, include: re.Pattern[str] | None = None
    ) -> None:
        self._host, self._wanted = host, Filter(include, exclude)
        self._known: tuple[object, list[Found]] = (None, [])

    def collect(self) -> Iterator[Found]:
        disks = parse(self._host.proc("diskstats", SHORT_LINES), self._wanted)
        yield from figures(disks)
        yield from self._about(disks)

    def _about(self, disks: Sequence[Disk]) -> list[Found]:
        """What udev knows is read each time, and made anew when it changed."""
        names = [(disk.device, disk.number) for disk in disks]
        raw = [self._udev(disk) for disk in disks] if os.path.isdir(self._host.udev_data) else []
        if self._known[0] != (names, raw):
            self._known = (names, raw), list(about(disks, raw or [b""] * len(disks)))
        return self._known[1]

    def _udev(self, disk: Disk) -> bytes:
        return read_optional(f"{self._host.udev_data}/b{disk.number}") or b""


def parse(raw: bytes, wanted: Callable[[str], bool] = lambda _device: True) -> list[Disk]:
    disks = list[Disk]()
    for line in raw.splitlines():
        major, minor, device, *values = line.split()
        name = text(device)
        # Kernels before 2.6.25 told less of partitions.
        if len(values) >= 11 and wanted(name):
            numbers = list(map(int, values[: len(_COLUMNS)]))
            disks.append(Disk(name, f"{text(major)}:{text(minor)}", numbers))
    return disks


def figures(disks: Sequence[Disk]) -> Iterator[Found]:
    most = max((len(disk.values) for disk in disks), default=0)
    keyed = [((disk.device,), disk.values) for disk in disks]
    for column, (family, times, by) in enumerate(_COLUMNS[:most]):
        told = [(key, values[column]) for key, values in keyed if column < len(values)]
        # Only what is a fraction becomes one: whole numbers are written faster, and exact.
        rows: Rows = {key: value / by if by > 1 else value * times for key, value in told}
        yield family, rows


def about(disks: Sequence[Disk], udev: Sequence[bytes]) -> Iterator[Found]:
    """udev: what its data base has of each device, empty where there is none."""
    known = [(disk, properties(raw)) for disk, raw in zip(disks, udev, strict=True)]
    yield _INFO, {_info(disk, found): 1 for disk, found in known}
    yield _FILESYSTEM, {_labels(disk, found, _FILESYSTEM_KEYS): 1 for disk, found in known
                        if found.get("ID_FS_USAGE")}  # fmt: skip
    yield _MAPPER, {_labels(disk, found, _MAPPER_KEYS): 1 for disk, found in known
                    if found.get("DM_NAME")}  # fmt: skip
    for name, family in _FROM_UDEV.items():
        rows: Rows = {
            (disk.device,): int(found[name])
            for disk, found in known
            if found.get("ID_ATA") == "1" and found.get(name, "").isdigit()
        }
        yield family, rows


_FILESYSTEM_KEYS = ("ID_FS_TYPE", "ID_FS_USAGE", "ID_FS_UUID", "ID_FS_VERSION")
_MAPPER_KEYS = ("DM_NAME", "DM_UUID", "DM_VG_NAME", "DM_LV_NAME", "DM_LV_LAYER")


def _info(disk: Disk, found: dict[str, str]) -> tuple[str, ...]:
    major, _, minor = disk.number.partition(":")
    labels = (next((found[key] for key in keys if key in found), "") for keys in _UDEV.values())
    return (disk.device, major, minor, *labels)


def _labels(disk: Disk, found: dict[str, str], keys: Sequence[str]) -> tuple[str, ...]:
    return (disk.device, *(found.get(key, "") for key in keys))


def properties(raw: bytes) -> dict[str, str]:
    """udev's database: `E:ID_MODEL=QEMU` → {"ID_MODEL": "QEMU"}."""
    lines = (text(line[2:]) for line in raw.splitlines() if line.startswith(b"E:"))
    return {name: value for name, _, value in (line.partition("=") for line in lines)}
