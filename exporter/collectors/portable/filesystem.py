"""Space on mounted file systems."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import psutil

from exporter.collectors.portable.wanted import Wanted, every
from exporter.deadline import Outcome, Runner
from exporter.families import Family, Found, gauge

_LABELS = ("device", "fstype", "mountpoint")


def _filesystem(name: str, help_text: str, whole: Family | None = None) -> Family:
    return gauge(f"node_filesystem_{name}", help_text, *_LABELS, whole=whole)


SIZE = _filesystem("size_bytes", "Size of the file system.")
FREE = _filesystem("free_bytes", "Space that is free.", SIZE)
AVAIL = _filesystem("avail_bytes", "Space that is free for those without privileges.", SIZE)
READONLY = _filesystem("readonly", "Whether the file system is mounted read-only (1).")
ERROR = _filesystem("device_error", "Whether the file system would not tell its figures (1).")

Key = tuple[str, ...]


class FilesystemCollector:
    """A mount that does not answer in time has node_filesystem_device_error 1, holds up no other,
    and is asked again once it came back."""

    name = "filesystem"

    def __init__(
        self,
        wanted_mount_point: Wanted = every,
        wanted_fs_type: Wanted = every,
        mount_timeout: float = 2.0,
        mounts: Callable[[], Sequence[Any]] = psutil.disk_partitions,
        usage: Callable[[str], Any] = psutil.disk_usage,
    ) -> None:
        self._wanted_mount_point, self._wanted_fs_type = wanted_mount_point, wanted_fs_type
        self._mounts, self._usage = mounts, usage
        self._runner = Runner[Any]("usage", mount_timeout)

    def collect(self) -> Iterator[Found]:
        mounts = {key_of(mount): mount for mount in self._mounts() if self._wanted(mount)}
        jobs = {mount.mountpoint: partial(self._usage, mount.mountpoint)
                for mount in mounts.values()}  # fmt: skip
        outcomes = self._runner.run(jobs)
        yield READONLY, {key: int(is_readonly(mount)) for key, mount in mounts.items()}
        yield from told({key: outcomes[mount.mountpoint] for key, mount in mounts.items()})

    def _wanted(self, mount: Any) -> bool:
        """A drive of Windows without a disk in it has no file system."""
        if not mount.fstype:
            return False
        return self._wanted_mount_point(mount.mountpoint) and self._wanted_fs_type(mount.fstype)


def key_of(mount: Any) -> Key:
    return mount.device, mount.fstype, mount.mountpoint


def is_readonly(mount: Any) -> bool:
    return "ro" in mount.opts.split(",")


def told(outcomes: Mapping[Key, Outcome[Any]]) -> Iterator[Found]:
    """outcomes: of psutil.disk_usage, by the labels of the mount."""
    yield ERROR, {key: int(one.value is None) for key, one in outcomes.items()}
    figures = {key: one.value for key, one in outcomes.items() if one.value is not None}
    yield SIZE, {key: usage.total for key, usage in figures.items()}
    # psutil calls free what is free for those without privileges.
    yield FREE, {key: usage.total - usage.used for key, usage in figures.items()}
    yield AVAIL, {key: usage.free for key, usage in figures.items()}
