"""The host's clock: its time, its zone, and what it is counted by."""

import time
from collections.abc import Callable, Iterator, Mapping

from exporter.collectors.base import Host, children, read, text
from fleetpulse.model import MetricFamily, gauge


class TimeCollector:
    """node_time_seconds, node_time_zone_offset_seconds, node_time_clocksource_*_info."""

    name = "time"

    def __init__(
        self,
        host: Host,
        now: Callable[[], float] = time.time,
        zone: Callable[[float], time.struct_time] = time.localtime,
    ) -> None:
        self._folder = f"{host.sysfs}/devices/system/clocksource"
        self._now, self._zone = now, zone

    def collect(self) -> Iterator[MetricFamily]:
        now = self._now()
        local = self._zone(now)
        yield gauge("node_time_seconds", "System time in seconds since epoch (1970).", now)
        offset = gauge("node_time_zone_offset_seconds", "System time zone offset in seconds.")
        yield offset.add(local.tm_gmtoff, time_zone=local.tm_zone)
        yield from clocksources({name: self._sources(name) for name in self._folders()})

    def _folders(self) -> list[str]:
        try:
            return [name for name in children(self._folder) if name.startswith("clocksource")]
        except FileNotFoundError:  # a container may hide it; the time is worth telling all the same
            return []

    def _sources(self, folder: str) -> tuple[bytes, bytes]:
        path = f"{self._folder}/{folder}"
        return read(f"{path}/available_clocksource"), read(f"{path}/current_clocksource")


def clocksources(folders: Mapping[str, tuple[bytes, bytes]]) -> Iterator[MetricFamily]:
    """From the two files, available and current, of each folder `clocksource<N>`."""
    where = "clocksources read from '/sys/devices/system/clocksource'."
    available = gauge("node_time_clocksource_available_info", f"Available {where}")
    current = gauge("node_time_clocksource_current_info", f"Current {where}")
    for folder, (possible, chosen) in folders.items():
        device = folder.removeprefix("clocksource")
        for source in text(possible).split():
            available.add(1, device=device, clocksource=source)
        current.add(1, device=device, clocksource=text(chosen).strip())
    yield from (available, current)
