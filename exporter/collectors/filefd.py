"""Open files of the whole host, from /proc/sys/fs/file-nr."""

from collections.abc import Iterator

from exporter.collectors.base import Host
from fleetpulse.model import MetricFamily, gauge


class FilefdCollector:
    """node_filefd_allocated and node_filefd_maximum."""

    name = "filefd"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[MetricFamily]:
        yield from parse(self._host.proc("sys/fs/file-nr"))


def parse(raw: bytes) -> Iterator[MetricFamily]:
    """`704  0  2466170`: allocated, of these unused, maximum."""
    allocated, _, maximum = map(int, raw.split())
    yield gauge("node_filefd_allocated", "File descriptor statistics: allocated.", allocated)
    yield gauge("node_filefd_maximum", "File descriptor statistics: maximum.", maximum)
