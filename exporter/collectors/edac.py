"""Errors in memory that the memory controllers saw, from /sys/devices/system/edac/mc.

Documentation/admin-guide/ras.rst of the kernel.
"""

import re
from collections.abc import Iterator

from exporter.collectors.base import Host
from exporter.collectors.devices import Entries, Files, Kept, entries, read_numbers
from exporter.families import Family, Found, counter

_FOLDER = "devices/system/edac/mc"
_CONTROLLER, _ROW = re.compile(r"mc([0-9]+)"), re.compile(r"csrow([0-9]+)")
# The row of errors that the controller could tell nothing more of.
_UNKNOWN = "unknown"

_CORRECTED = "Memory errors that were corrected"
_LOST = "Memory errors that could not be corrected"
_ROWED = ("controller", "csrow")
_CE = counter("node_edac_correctable_errors_total", _CORRECTED, "controller")
_UE = counter("node_edac_uncorrectable_errors_total", _LOST, "controller")
_ROW_CE = counter("node_edac_csrow_correctable_errors_total", f"{_CORRECTED}, by row", *_ROWED)
_ROW_UE = counter("node_edac_csrow_uncorrectable_errors_total", f"{_LOST}, by row", *_ROWED)


class EdacCollector:
    """node_edac_*_total. A machine without such memory is no failure."""

    name = "edac"

    def __init__(self, host: Host) -> None:
        self._host = host
        self._plans = Kept(self._plan)

    def collect(self) -> Iterator[Found]:
        try:
            plan = self._plans.of(entries(self._host, _FOLDER))
        except FileNotFoundError:
            return
        for family, files in plan.items():
            yield family, read_numbers(self._host, files)

    def _plan(self, names: Entries) -> dict[Family, Files]:
        rows = {
            name: [row for row in self._host.list_sys(f"{_FOLDER}/{name}") if _ROW.fullmatch(row)]
            for name in names
            if _CONTROLLER.fullmatch(name)
        }
        return plan(rows)


def plan(rows: dict[str, list[str]]) -> dict[Family, Files]:
    """Folders of controllers, each with those of its rows → the files to read."""
    files: dict[Family, Files] = {_CE: {}, _UE: {}, _ROW_CE: {}, _ROW_UE: {}}
    for name, of_it in rows.items():
        controller, path = name.removeprefix("mc"), f"{_FOLDER}/{name}"
        for kind, total, by_row in (("ce", _CE, _ROW_CE), ("ue", _UE, _ROW_UE)):
            files[total][controller,] = f"{path}/{kind}_count"
            files[by_row][controller, _UNKNOWN] = f"{path}/{kind}_noinfo_count"
            for row in of_it:
                key = (controller, row.removeprefix("csrow"))
                files[by_row][key] = f"{path}/{row}/{kind}_count"
    return files
