"""Temperatures and what cools them, from /sys/class/thermal.

Documentation/driver-api/thermal/sysfs-api.rst of the kernel.
"""

from collections.abc import Iterable, Iterator

from exporter.collectors.base import Host, text
from exporter.collectors.devices import Entries, Files, Kept, entries, read_what_can_be
from exporter.families import Found, gauge

_FOLDER = "class/thermal"
_ZONE, _COOLING = "thermal_zone", "cooling_device"

_TEMP = gauge("node_thermal_zone_temp", "Temperature of a zone in degrees Celsius", "zone", "type")
_CURRENT = gauge(
    "node_cooling_device_cur_state", "How hard a device cools at present", "name", "type"
)
_MOST = gauge("node_cooling_device_max_state", "How hard a device can cool", "name", "type")


class ThermalZoneCollector:
    """node_thermal_zone_temp and node_cooling_device_*. What cannot be read now is left out."""

    name = "thermal_zone"

    def __init__(self, host: Host) -> None:
        self._host = host
        self._plans = Kept(self._plan)

    def collect(self) -> Iterator[Found]:
        try:
            temps, current, most = self._plans.of(entries(self._host, _FOLDER))
        except FileNotFoundError:
            return
        millidegrees = read_what_can_be(self._host, temps)
        yield _TEMP, {key: value / 1000 for key, value in millidegrees.items()}
        yield _CURRENT, read_what_can_be(self._host, current)
        yield _MOST, read_what_can_be(self._host, most)

    def _plan(self, names: Entries) -> tuple[Files, Files, Files]:
        zones, cooling = self._typed(names, _ZONE), self._typed(names, _COOLING)
        return _in(zones, "temp"), _in(cooling, "cur_state"), _in(cooling, "max_state")

    def _typed(self, names: Iterable[str], kind: str) -> Files:
        """Number and type of each device of a kind → its folder."""
        found: Files = {}
        for name, number in numbered(names, kind):
            raw = self._host.sys_or_none(f"{_FOLDER}/{name}/type")
            if raw is not None:
                found[number, text(raw.strip())] = f"{_FOLDER}/{name}"
        return found


def numbered(names: Iterable[str], kind: str) -> Iterator[tuple[str, str]]:
    """Names of devices of a kind, each with what stands behind the kind."""
    for name in names:
        number = name.removeprefix(kind)
        if number != name and number[:1].isdigit():
            yield name, number


def _in(folders: Files, file: str) -> Files:
    return {key: f"{folder}/{file}" for key, folder in folders.items()}
