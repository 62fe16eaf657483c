"""Load averages, from /proc/loadavg."""

from collections.abc import Iterator

from exporter.collectors.base import SHORT_LINES, Host
from exporter.families import Found, gauge

_LOADS = [
    gauge(f"node_load{minutes}", f"Processes that run or wait, on average over {minutes} min.")
    for minutes in (1, 5, 15)
]


class LoadavgCollector:
    """node_load1, node_load5 and node_load15."""

    name = "loadavg"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[Found]:
        yield from zip(_LOADS, parse(self._host.proc("loadavg", SHORT_LINES)), strict=True)


def parse(raw: bytes) -> tuple[float, float, float]:
    """`0.21 0.42 2.00 1/123 4567` → the three loads."""
    one, five, fifteen = map(float, raw.split(None, 3)[:3])
    return one, five, fifteen
