"""The host's clock: its time, its zone, and what it is counted by."""

import time
from collections.abc import Callable, Iterator, Mapping

from exporter.collectors.base import Host, text
from exporter.families import Found, gauge

_FOLDER = "devices/system/clocksource"
_TIME = gauge("node_time_seconds", "The host's time, in Unix time.")
_ZONE = gauge(
    "node_time_zone_offset_seconds", "How far the host's time zone is ahead of UTC.", "time_zone"
)
_AVAILABLE = gauge(
    "node_time_clocksource_available_info",
    "Hardware that time could be counted by; always 1.",
    "device",
    "clocksource",
)
_CURRENT = gauge(
    "node_time_clocksource_current_info",
    "Hardware that time is counted by; always 1.",
    "device",
    "clocksource",
)


class TimeCollector:
    """node_time_seconds, node_time_zone_offset_seconds, node_time_clocksource_*_info."""

    name = "time"

    def __init__(
        self,
        host: Host,
        now: Callable[[], float] = time.time,
        zone: Callable[[float], time.struct_time] = time.localtime,
    ) -> None:
        self._host, self._now, self._zone = host, now, zone

    def collect(self) -> Iterator[Found]:
        now = self._now()
        local = self._zone(now)
        yield _TIME, now
        yield _ZONE, {(local.tm_zone,): local.tm_gmtoff}
        yield from clocksources({name: self._sources(name) for name in self._folders()})

    def _folders(self) -> list[str]:
        # A container may hide the folder; the time is worth telling all the same.
        return [name for name in self._host.list_sys(_FOLDER) if name.startswith("clocksource")]

    def _sources(self, folder: str) -> tuple[bytes, bytes]:
        path = f"{_FOLDER}/{folder}"
        return (
            self._host.sys(f"{path}/available_clocksource"),
            self._host.sys(f"{path}/current_clocksource"),
        )


def clocksources(folders: Mapping[str, tuple[bytes, bytes]]) -> Iterator[Found]:
    """From the two files, available and current, of each folder `clocksource<N>`."""
    devices = {folder.removeprefix("clocksource"): files for folder, files in folders.items()}
    yield (
        _AVAILABLE,
        {
            (device, source): 1
            for device, (possible, _) in devices.items()
            for source in text(possible).split()
        },
    )
    yield _CURRENT, {(device, text(chosen).strip()): 1 for device, (_, chosen) in devices.items()}
