"""Energy that processors and memory took, from /sys/class/powercap.

Documentation/power/powercap/powercap.rst of the kernel.
"""

import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from exporter.collectors.base import Host, NoDataError, text
from exporter.collectors.devices import Entries, Files, Kept, entries, read_numbers
from exporter.families import Family, Found, counter

_FOLDER = "class/powercap"
# The kernel numbers some zones in their names: package-0, but not dram.
_NUMBERED = re.compile(r"([^-]*)-([0-9]+)")
_FOREIGN = re.compile(r"_*[^0-9A-Za-z_]+_*")

# A processor's meter is narrow and begins again at 0 every few minutes or hours; when it is read
# next, it may stand far above half of where it was. Guarded, since that is no slip.
_ZONES = counter(
    "node_rapl_joules_total",
    "Energy taken by a zone of the machine, in joules",
    *("index", "path", "rapl_zone"),
    guarded=True,
)


class RaplCollector:
    """node_rapl_<zone>_joules_total or, with zone_label, node_rapl_joules_total{rapl_zone}."""

    name = "rapl"

    def __init__(self, host: Host, zone_label: bool = False) -> None:
        self._host, self._zone_label = host, zone_label
        self._plans = Kept(self._plan)

    def collect(self) -> Iterator[Found]:
        try:
            plan = self._plans.of(entries(self._host, _FOLDER))
        except FileNotFoundError as err:
            raise NoDataError("the kernel measures no energy here (no powercap)") from err
        for family, files in plan.items():
            yield family, self._joules(files)

    def _joules(self, files: Files) -> dict[tuple[str, ...], float]:
        try:
            microjoules = read_numbers(self._host, files)
        except PermissionError as err:
            message = "energy_uj below /sys/class/powercap is readable by root alone"
            raise NoDataError(message) from err
        return {key: value / 1_000_000 for key, value in microjoules.items()}

    def _plan(self, names: Entries) -> dict[Family, Files]:
        """Folders without a name are kinds of zones; some zones have no meter."""
        files: dict[Family, Files] = {}
        for entry, zone, index in zones(self._named(names)):
            path = f"{self._host.sysfs}/{_FOLDER}/{entry}"
            family = _family(_FOREIGN.sub("_", zone))
            key: tuple[str, ...] = (str(index), path)
            if self._zone_label:
                family, key = _ZONES, (*key, zone)
            files.setdefault(family, {})[key] = f"{_FOLDER}/{entry}/energy_uj"
        return files

    def _named(self, names: Iterable[str]) -> Iterator[tuple[str, str]]:
        for entry in names:
            raw = self._host.sys_or_none(f"{_FOLDER}/{entry}/name")
            metered = os.path.exists(f"{self._host.sysfs}/{_FOLDER}/{entry}/energy_uj")
            if raw is not None and metered:
                yield entry, text(raw.strip())


def zones(named: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str, int]]:
    """Folder and name of each → folder, zone and its index among those of the same name."""
    seen = dict[str, int]()
    for entry, name in named:
        numbered = _NUMBERED.fullmatch(name)
        if numbered is None:
            zone, index = name, seen.get(name, 0)
        else:
            zone, index = numbered[1], int(numbered[2])
        seen[zone] = index + 1
        yield entry, zone, index


@lru_cache(maxsize=64)
def _family(zone: str) -> Family:
    name = f"node_rapl_{zone}_joules_total"
    return counter(name, f"Energy taken by {zone}, in joules", "index", "path", guarded=True)
