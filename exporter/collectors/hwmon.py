"""Temperatures, fans, voltages and what else chips measure, from /sys/class/hwmon."""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from exporter.collectors.base import Host, NoDataError, text
from exporter.collectors.devices import Entries, Kept, entries
from exporter.collectors.hwmonnames import Part, chip, clean, distinct, metric, part
from exporter.families import Family, Found, Rows, counter, gauge

_FOLDER = "class/hwmon"
_CHIPS = gauge(
    "node_hwmon_chip_names", "Always 1; what a chip's driver calls it", "chip", "chip_name"
)
_LABELS = gauge(
    "node_hwmon_sensor_label", "Always 1; what a sensor measures", "chip", "sensor", "label"
)
_READABLE = 0o444
_EXACT = 2**53  # larger ones are no more exact as whole numbers

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What stays, and of each family the files with their divisors."""

    chips: dict[Key, float] = field(default_factory=dict)
    labels: dict[Key, float] = field(default_factory=dict)
    values: dict[Family, dict[Key, tuple[str, int]]] = field(default_factory=dict)


class HwmonCollector:
    """node_hwmon_*. A sensor that cannot be read now, or tells no number, is left out.

    include, exclude: of chips. sensor_include, sensor_exclude: of `<chip>;<sensor>`.
    """

    name = "hwmon"

    def __init__(
        self,
        host: Host,
        include: re.Pattern[str] | None = None,
        exclude: re.Pattern[str] | None = None,
        sensor_include: re.Pattern[str] | None = None,
        sensor_exclude: re.Pattern[str] | None = None,
    ) -> None:
        self._host = host
        self._chips, self._sensors = (include, exclude), (sensor_include, sensor_exclude)
        self._plans = Kept(self._plan)

    def collect(self) -> Iterator[Found]:
        try:
            seen = entries(self._host, _FOLDER)
        except FileNotFoundError as err:
            raise NoDataError("the kernel knows no chip that measures (no hwmon)") from err
        plan = self._plans.of(seen)
        yield _CHIPS, plan.chips
        yield _LABELS, plan.labels
        for family, files in plan.values.items():
            yield family, self._read(files)

    def _read(self, files: dict[Key, tuple[str, int]]) -> Rows:
        read = self._host.sys_or_none
        found = {key: value(read(path) or b"", divisor) for key, (path, divisor) in files.items()}
        return {key: number for key, number in found.items() if number is not None}

    def _plan(self, seen: Entries) -> Plan:
        plan = Plan()
        names = {folder: self._names(folder) for folder in seen}
        sensors = {folder: self._sensor_files(f"{_FOLDER}/{folder}") for folder in seen}
        for folder, name in distinct(names, sensors).items():
            if wanted(name, *self._chips):
                driver = clean(names[folder][1])
                if driver:
                    plan.chips[name, driver] = 1
                self._add(plan, name, sensors[folder])
        return plan

    def _names(self, folder: str) -> tuple[str, str]:
        """Of the chip, by the path of its device, and by its driver."""
        path = f"{self._host.sysfs}/{_FOLDER}/{folder}"
        name = text(self._host.sys_or_none(f"{_FOLDER}/{folder}/name") or b"").strip()
        device = f"{path}/device"
        real = os.path.realpath(device) if os.path.exists(device) else None
        return chip(real, name, os.path.basename(os.path.realpath(path))), name

    def _add(self, plan: Plan, name: str, sensors: dict[str, dict[Part, str]]) -> None:
        for sensor, files in sensors.items():
            if wanted(f"{name};{sensor}", *self._sensors):
                self._add_sensor(plan, name, sensor, files)

    def _sensor_files(self, folder: str) -> dict[str, dict[Part, str]]:
        """Sensor → its parts and their files; old drivers have them in the device's folder."""
        found: dict[str, dict[Part, str]] = {}
        for path in (folder, f"{folder}/device"):
            for file in self._host.list_sys(path):
                of_it = part(file)
                if of_it is not None and _can_be_read(f"{self._host.sysfs}/{path}/{file}"):
                    found.setdefault(of_it.sensor, {})[of_it] = f"{path}/{file}"
        return found

    def _add_sensor(self, plan: Plan, name: str, sensor: str, files: dict[Part, str]) -> None:
        elements = {of_it.element for of_it in files}
        label = self._label(files)
        if label is not None:
            plan.labels[name, sensor, label] = 1
        for of_it, path in files.items():
            told = metric(of_it.type, of_it.element, elements)
            if told is not None:
                is_clock = (of_it.type, of_it.element) == ("freq", "input")
                key = (name, clean(label or "") if is_clock else sensor)
                plan.values.setdefault(_family(told.name), {})[key] = path, told.divisor

    def _label(self, files: dict[Part, str]) -> str | None:
        for of_it, path in files.items():
            if of_it.element == "label":
                raw = self._host.sys_or_none(path)
                return None if raw is None else text(raw.strip(b"\n"))
        return None


def wanted(name: str, include: re.Pattern[str] | None, exclude: re.Pattern[str] | None) -> bool:
    if exclude is not None and exclude.search(name):
        return False
    return include is None or include.search(name) is not None


def value(raw: bytes, divisor: int) -> float | None:
    """None for what is no number: some drivers tell a percentage, or several values."""
    try:
        found = float(raw)
    except ValueError:
        return None
    if divisor == 1:
        return int(found) if found.is_integer() and abs(found) < _EXACT else found
    return found / divisor


def _can_be_read(path: str) -> bool:
    """To root, what may only be written seems readable; and each device has a folder `power`."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISREG(mode) and bool(mode & _READABLE) and os.access(path, os.R_OK)


@lru_cache(maxsize=1024)
def _family(name: str) -> Family:
    words = name.removeprefix("node_hwmon_").replace("_", " ")
    help_text = f"What the driver of a chip tells of a sensor: {words}"
    if name.endswith("_joule_total"):
        # Narrow meters begin again at 0: guarded, since that is no slip.
        return counter(name, help_text, "chip", "sensor", guarded=True)
    return gauge(name, help_text, "chip", "sensor")
