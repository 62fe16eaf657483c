"""Load averages. Windows has none: psutil reckons them there from the queue of the processors."""

from collections.abc import Callable, Iterator

import psutil

from exporter.families import Found, gauge

LOADS = tuple(
    gauge(f"node_load{minutes}", f"How many wanted to run, on average over {minutes} min.", least=0)
    for minutes in (1, 5, 15)
)


class LoadavgCollector:
    name = "loadavg"

    def __init__(self, read: Callable[[], tuple[float, float, float]] = psutil.getloadavg) -> None:
        self._read = read

    def collect(self) -> Iterator[Found]:
        for family, load in zip(LOADS, self._read(), strict=True):
            yield family, round(load, 2)
