"""Space and inodes of mounted file systems: the mounts from /proc, the rest from statvfs(2).

psutil sees the mounts of its own process, which systemd may have made read-only or hidden for
it alone, and tells no inodes; so, as node_exporter does, the first process' mounts are read.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from exporter.collectors.base import Host, read_optional, text
from exporter.deadline import Outcome, Runner
from fleetpulse.model import MetricFamily, gauge

_ESCAPE = re.compile(r"\\([0-7]{3})")
_GAUGES: Sequence[tuple[str, str, Callable[[Any], int]]] = (
    ("size_bytes", "Filesystem size in bytes.", lambda fs: fs.f_blocks * fs.f_frsize),
    ("free_bytes", "Filesystem free space in bytes.", lambda fs: fs.f_bfree * fs.f_frsize),
    (
        "avail_bytes",
        "Filesystem space available to non-root users in bytes.",
        lambda fs: fs.f_bavail * fs.f_frsize,
    ),
    ("files", "Filesystem total file nodes.", lambda fs: fs.f_files),
    ("files_free", "Filesystem total free file nodes.", lambda fs: fs.f_ffree),
)


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of /proc/mounts."""

    device: str
    mountpoint: str
    fstype: str
    readonly: bool

    @property
    def labels(self) -> dict[str, str]:
        return {"device": self.device, "mountpoint": self.mountpoint, "fstype": self.fstype}


class FilesystemCollector:
    """node_filesystem_*.

    A mount that does not answer in time (a network file system whose server is gone) has
    node_filesystem_device_error 1 and holds up no other; it is asked again once it came back.
    """

    name = "filesystem"

    def __init__(
        self,
        host: Host,
        mount_points_exclude: re.Pattern[str],
        fs_types_exclude: re.Pattern[str],
        mount_timeout: float,
        statvfs: Callable[[str], Any] = os.statvfs,
    ) -> None:
        self._host, self._statvfs = host, statvfs
        self._mount_points_exclude = mount_points_exclude
        self._fs_types_exclude = fs_types_exclude
        self._runner = Runner[Any]("statvfs", mount_timeout)

    def collect(self) -> Iterator[MetricFamily]:
        mounts = [mount for mount in parse(self._read()) if not self._is_excluded(mount)]
        jobs = {
            mount.mountpoint: partial(self._statvfs, self._host.root(mount.mountpoint))
            for mount in mounts
        }
        outcomes = self._runner.run(jobs)
        yield from families(mounts, [outcomes[mount.mountpoint] for mount in mounts])

    def _read(self) -> bytes:
        first = read_optional(f"{self._host.procfs}/1/mounts")  # /proc may hide it (hidepid)
        return self._host.proc("self/mounts") if first is None else first

    def _is_excluded(self, mount: Mount) -> bool:
        return bool(
            self._mount_points_exclude.search(mount.mountpoint)
            or self._fs_types_exclude.search(mount.fstype)
        )


def parse(raw: bytes) -> list[Mount]:
    """Mounts in their order. The same device mounted twice at one place is told once."""
    mounts = dict[tuple[str, ...], Mount]()
    for line in raw.splitlines():
        fields = line.split()
        if len(fields) < 4:
            raise ValueError(f"/proc/mounts: not a mount: {text(line)!r}")
        device, mountpoint, fstype, options = (_unescape(text(field)) for field in fields[:4])
        mount = Mount(device, mountpoint, fstype, "ro" in options.split(","))
        mounts.setdefault((device, mountpoint, fstype), mount)
    return list(mounts.values())


def _unescape(field: str) -> str:
    r"""`/mnt/a\040b` → `/mnt/a b`: fstab(5)'s way to write white space."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)


def families(mounts: Sequence[Mount], outcomes: Sequence[Outcome[Any]]) -> Iterator[MetricFamily]:
    """outcomes: of statvfs, for each mount."""
    error = gauge(
        "node_filesystem_device_error",
        "Whether an error occurred while getting statistics for the given device.",
    )
    readonly = gauge("node_filesystem_readonly", "Filesystem read-only status.")
    for mount, outcome in zip(mounts, outcomes, strict=True):
        error.add(outcome.error is not None, **mount.labels)
        readonly.add(mount.readonly, **mount.labels)
    yield from (error, readonly)
    for name, help_text, figure in _GAUGES:
        family = gauge(f"node_filesystem_{name}", help_text)
        for mount, outcome in zip(mounts, outcomes, strict=True):
            if outcome.value is not None:
                family.add(figure(outcome.value), **mount.labels)
        yield family
