"""What waits in the queues of UDP sockets, from /proc/net/udp and udp6."""

from collections.abc import Iterator

from exporter.collectors.base import SHORT_LINES, Host, NoDataError
from exporter.collectors.socktable import parse, queued
from exporter.families import Found, gauge

_QUEUES = gauge(
    "node_udp_queues",
    "Bytes that wait to be sent (tx) and to be read (rx), all UDP sockets together.",
    "ip",
    "queue",
)
_FILES = {"v4": "net/udp", "v6": "net/udp6"}


class UdpQueuesCollector:
    """node_udp_queues."""

    name = "udp_queues"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[Found]:
        rows = dict[tuple[str, ...], float]()
        for version, path in _FILES.items():
            raw = self._host.proc_or_none(path, SHORT_LINES)
            if raw is not None:
                rows[version, "tx"], rows[version, "rx"] = queued(parse(raw))
        if not rows:
            raise NoDataError("no table of UDP sockets")
        yield _QUEUES, rows
