"""Load averages, as psutil tells them."""

from collections.abc import Callable, Iterator

import psutil

from exporter.collectors.base import Host
from fleetpulse.model import MetricFamily, gauge


class LoadavgCollector:
    """node_load1, node_load5 and node_load15."""

    name = "loadavg"

    def __init__(
        self,
        _host: Host,
        read_load: Callable[[], tuple[float, float, float]] = psutil.getloadavg,
    ) -> None:
        self._read_load = read_load

    def collect(self) -> Iterator[MetricFamily]:
        for minutes, load in zip((1, 5, 15), self._read_load(), strict=True):
            # The kernel counts in hundredths; the C library makes 0.4199… of 0.42.
            yield gauge(f"node_load{minutes}", f"{minutes}m load average.", round(load, 2))
