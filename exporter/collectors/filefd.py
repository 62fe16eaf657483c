"""Open files of the whole host, from /proc/sys/fs/file-nr."""

from collections.abc import Iterator

from exporter.collectors.base import SHORT_LINES, Host
from exporter.families import Found, gauge

_ALLOCATED = gauge("node_filefd_allocated", "File handles in use, in the whole host.")
_MAXIMUM = gauge("node_filefd_maximum", "File handles that the kernel gives out at the most.")


class FilefdCollector:
    """node_filefd_allocated and node_filefd_maximum."""

    name = "filefd"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[Found]:
        allocated, maximum = parse(self._host.proc("sys/fs/file-nr", SHORT_LINES))
        yield _ALLOCATED, allocated
        yield _MAXIMUM, maximum


def parse(raw: bytes) -> tuple[int, int]:
    """`704  0  2466170`: allocated, of these unused, maximum. The first and the last."""
    allocated, _, maximum = map(int, raw.split())
    return allocated, maximum
