"""Traffic of network devices, from /proc/net/dev: psutil knows only half of its columns."""

import re
from collections.abc import Iterator, Mapping

from exporter.collectors.base import Host, integer, read_optional, text
from fleetpulse.model import MetricFamily, counter

# In the order of the file's columns.
_RECEIVE = ("bytes", "packets", "errs", "drop", "fifo", "frame", "compressed", "multicast")
_TRANSMIT = ("bytes", "packets", "errs", "drop", "fifo", "colls", "carrier", "compressed")
_COLUMNS = (
    *(f"receive_{name}" for name in _RECEIVE),
    *(f"transmit_{name}" for name in _TRANSMIT),
)

Stats = Mapping[str, int]


class NetdevCollector:
    """node_network_receive_*_total and node_network_transmit_*_total."""

    name = "netdev"

    def __init__(self, host: Host, exclude: re.Pattern[str]) -> None:
        self._host, self._exclude = host, exclude

    def collect(self) -> Iterator[MetricFamily]:
        stats = parse(self._host.proc("net/dev"))
        kept = {name: row for name, row in stats.items() if not self._exclude.search(name)}
        yield from families({name: {**row, **self._unhandled(name)} for name, row in kept.items()})

    def _unhandled(self, device: str) -> Stats:
        """Packets that no protocol took; not in the file that has all the rest."""
        path = f"{self._host.sysfs}/class/net/{device}/statistics/rx_nohandler"
        raw = read_optional(path)
        return {} if raw is None else {"receive_nohandler": integer(raw)}


def parse(raw: bytes) -> dict[str, Stats]:
    stats = dict[str, Stats]()
    for line in raw.splitlines()[2:]:
        # A name may hold a colon (an alias); the numbers never do.
        device, _, numbers = line.rpartition(b":")
        values = map(int, numbers.split())
        stats[text(device).strip()] = dict(zip(_COLUMNS, values, strict=True))
    return stats


def families(stats: Mapping[str, Stats]) -> Iterator[MetricFamily]:
    for column in (*_COLUMNS, "receive_nohandler"):
        help_text = f"Network device statistic {column}."
        family = counter(f"node_network_{column}_total", help_text)
        for device, row in stats.items():
            if column in row:
                family.add(row[column], device=device)
        yield family
