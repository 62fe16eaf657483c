"""Traffic of network devices, from /proc/net/dev: psutil knows only half of its columns."""

import re
from collections.abc import Iterator, Mapping, Sequence

from exporter.collectors.base import SHORT_LINES, Host, integer, text
from exporter.families import Found, Rows, counter
from exporter.filters import Filter

_RECEIVED = {
    "bytes": "Bytes received.",
    "packets": "Packets received.",
    "errs": "Packets received that were faulty.",
    "drop": "Packets received that were dropped.",
    "fifo": "Packets lost because the receive queue was full.",
    "frame": "Packets received with a faulty frame.",
    "compressed": "Packets received that were compressed.",
    "multicast": "Multicast packets received.",
}
_SENT = {
    "bytes": "Bytes sent.",
    "packets": "Packets sent.",
    "errs": "Packets that could not be sent for an error.",
    "drop": "Packets to be sent that were dropped.",
    "fifo": "Packets lost because the send queue was full.",
    "colls": "Collisions while sending.",
    "carrier": "Packets not sent for want of a carrier.",
    "compressed": "Packets sent that were compressed.",
}
# In the order of the file's columns.
_COLUMNS = [
    *(counter(f"node_network_receive_{name}_total", what, "device")
      for name, what in _RECEIVED.items()),
    *(counter(f"node_network_transmit_{name}_total", what, "device")
      for name, what in _SENT.items()),
]  # fmt: skip
_NOHANDLER = counter(
    "node_network_receive_nohandler_total", "Packets received that no protocol took.", "device"
)

Stats = Mapping[str, Sequence[int]]


class NetdevCollector:
    """node_network_receive_*_total and node_network_transmit_*_total."""

    name = "netdev"

    def __init__(
        self, host: Host, exclude: re.Pattern[str] | None, include: re.Pattern[str] | None = None
    ) -> None:
        self._host, self._wanted = host, Filter(include, exclude)

    def collect(self) -> Iterator[Found]:
        stats = parse(self._host.proc("net/dev", SHORT_LINES))
        kept = {name: row for name, row in stats.items() if self._wanted(name)}
        yield from figures(kept)
        yield _NOHANDLER, dict(self._unhandled(kept))

    def _unhandled(self, devices: Stats) -> Iterator[tuple[tuple[str], int]]:
        """Not in the file that has all the rest."""
        self._host.sys_devices("class/net")  # so that none answers in the name of another
        for device in devices:
            raw = self._host.sys_or_none(f"class/net/{device}/statistics/rx_nohandler")
            if raw is not None:
                yield (device,), integer(raw)


def parse(raw: bytes) -> Stats:
    """The sixteen figures of each device, in their order."""
    stats = dict[str, Sequence[int]]()
    for line in raw.splitlines()[2:]:
        # A name may hold a colon (an alias); the numbers never do.
        device, _, numbers = line.rpartition(b":")
        row = list(map(int, numbers.split()))
        if len(row) != len(_COLUMNS):
            raise ValueError(f"/proc/net/dev: {len(row)} figures, not {len(_COLUMNS)}: {line!r}")
        stats[text(device).strip()] = row
    return stats


def figures(stats: Stats) -> Iterator[Found]:
    keyed = [((device,), row) for device, row in stats.items()]
    for column, family in enumerate(_COLUMNS):
        rows: Rows = {key: row[column] for key, row in keyed}
        yield family, rows
