"""Packets handled by each CPU, from /proc/net/softnet_stat."""

from collections.abc import Iterator

from exporter.collectors.base import Host
from fleetpulse.model import MetricFamily, counter

_COLUMNS = (
    ("processed", "Number of processed packets"),
    ("dropped", "Number of dropped packets"),
    ("times_squeezed", "Number of times processing packets ran out of quota"),
)
_CPU_COLUMN = 12  # since Linux 5.10; before that the line's number has to do


class SoftnetCollector:
    """node_softnet_*_total."""

    name = "softnet"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[MetricFamily]:
        yield from parse(self._host.proc("net/softnet_stat"))


def parse(raw: bytes) -> Iterator[MetricFamily]:
    """A line a CPU, in hexadecimal."""
    rows = [[int(word, 16) for word in line.split()] for line in raw.splitlines()]
    for column, (name, help_text) in enumerate(_COLUMNS):
        family = counter(f"node_softnet_{name}_total", help_text)
        for number, row in enumerate(rows):
            cpu = row[_CPU_COLUMN] if len(row) > _CPU_COLUMN else number
            family.add(row[column], cpu=str(cpu))
        yield family
