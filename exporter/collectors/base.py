"""What all collectors share: their shape, and how they read the host."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fleetpulse.model import MetricFamily

_CHUNK = 16 << 10


class NoDataError(Exception):
    """This host has nothing of the kind: no success, but nothing to tell a person of."""


class Collector(Protocol):
    """One subsystem of the host."""

    @property
    def name(self) -> str:
        """As in `collect[]=` and in the label of node_scrape_collector_success."""

    def collect(self) -> Iterable[MetricFamily]:
        """Reads the host. Raises whatever goes wrong; called by one thread at a time."""


@dataclass(frozen=True, slots=True)
class Host:
    """Where a host's /proc, /sys and file tree are; not at / inside a container."""

    procfs: Path = Path("/proc")
    sysfs: Path = Path("/sys")
    rootfs: Path = Path("/")

    def proc(self, path: str) -> bytes:
        """A file below /proc, whole. OSError where there is none."""
        return read(f"{self.procfs}/{path}")

    def sys(self, path: str) -> bytes:
        return read(f"{self.sysfs}/{path}")

    def root(self, path: str) -> str:
        """A path of the host as this process reaches it."""
        return path if self.rootfs == Path("/") else f"{self.rootfs}{path}"


def read(path: str) -> bytes:
    # By system calls, since there are a hundred small files in a page: half of open()'s CPU.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = os.read(descriptor, _CHUNK)
        if not content:
            return content
        while more := os.read(descriptor, _CHUNK):  # the kernel may give a page at a time
            content += more
        return content
    finally:
        os.close(descriptor)


def read_optional(path: str) -> bytes | None:
    """None where the kernel has no such file or will not tell; as of a link that is down."""
    try:
        return read(path)
    except OSError:
        return None


def text(raw: bytes) -> str:
    """Names in /proc are bytes; a page must be UTF-8."""
    return raw.decode(errors="replace")


def integer(raw: bytes) -> int:
    """A number as the kernel writes it: decimal, or hexadecimal after 0x."""
    return int(raw, 0 if raw[:2] == b"0x" else 10)


def children(path: str) -> list[str]:
    return sorted(os.listdir(path))
