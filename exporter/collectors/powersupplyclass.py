"""Batteries and mains adapters, from /sys/class/power_supply.

Documentation/ABI/testing/sysfs-class-power of the kernel.
"""

import re
from collections.abc import Iterator
from functools import lru_cache

from exporter.collectors.base import Host, NoDataError, text
from exporter.collectors.devices import Entries, Files, Kept, entries, read_what_can_be
from exporter.families import Family, Found, gauge

_FOLDER = "class/power_supply"
# No supply: what node_exporter ignores unless told otherwise.
_NONE = re.compile("^$")

# File → name of the metric, where that is not the file's own.
_PLAIN = {
    **{name: name for name in ("authentic", "calibrate", "capacity", "online", "present")},
    **{name: name for name in ("capacity_alert_max", "capacity_alert_min")},
    "cycle_count": "cyclecount",
    "time_to_empty_now": "time_to_empty_seconds",
    "time_to_full_now": "time_to_full_seconds",
}
# In millionths: volts, amperes, watts, and the hours of these.
_MICRO = {
    "current_now": "current_ampere",
    "energy_now": "energy_watthour",
    "voltage_now": "voltage_volt",
    "charge_now": "charge_ampere",
    "power_now": "power_watt",
    **{
        name: name
        for name in (
            *("current_boot", "current_max", "precharge_current", "input_current_limit"),
            *("energy_empty", "energy_empty_design", "energy_full", "energy_full_design"),
            *("voltage_boot", "voltage_max", "voltage_max_design", "voltage_min"),
            *("voltage_min_design", "voltage_ocv", "charge_control_limit"),
            *("charge_control_limit_max", "charge_counter", "charge_empty", "charge_empty_design"),
            *("charge_full", "charge_full_design", "charge_term_current"),
            *("constant_charge_current", "constant_charge_current_max"),
            *("constant_charge_voltage", "constant_charge_voltage_max"),
        )
    },
}
# In tenths of a degree.
_TENTHS = {
    name: f"{name}_celsius"
    for name in (
        *("temp", "temp_alert_max", "temp_alert_min", "temp_ambient", "temp_ambient_max"),
        *("temp_ambient_min", "temp_max", "temp_min"),
    )
}
_NUMBERS = {
    file: (name, divisor)
    for names, divisor in ((_PLAIN, 1), (_MICRO, 1_000_000), (_TENTHS, 10))
    for file, name in names.items()
}
_WORDS = (
    *("capacity_level", "charge_type", "health", "manufacturer", "model_name", "serial_number"),
    *("status", "technology", "type", "usb_type", "scope"),
)

Words = dict[str, dict[str, str]]


class PowersupplyclassCollector:
    """node_power_supply_*. What cannot be read now is left out: a battery may be out."""

    name = "powersupplyclass"

    def __init__(self, host: Host, ignored: re.Pattern[str] = _NONE) -> None:
        self._host, self._ignored = host, ignored
        self._plans = Kept(self._plan)

    def collect(self) -> Iterator[Found]:
        try:
            numbers, words = self._plans.of(entries(self._host, _FOLDER))
        except FileNotFoundError as err:
            raise NoDataError("the kernel knows no power supplies") from err
        for (family, divisor), files in numbers.items():
            found = read_what_can_be(self._host, files)
            yield family, {key: scaled(value, divisor) for key, value in found.items()}
        yield from info({supply: self._read(files) for supply, files in words.items()})

    def _read(self, files: dict[str, str]) -> dict[str, str]:
        found = ((word, self._host.sys_or_none(path)) for word, path in files.items())
        return {word: text(raw.strip()) for word, raw in found if raw and raw.strip()}

    def _plan(self, supplies: Entries) -> tuple[dict[tuple[Family, int], Files], Words]:
        """Which numbers and which words are told of which supply, and in which files."""
        numbers: dict[tuple[Family, int], Files] = {}
        words: Words = {}
        for supply in supplies:
            if self._ignored.search(supply):
                continue
            path = f"{_FOLDER}/{supply}"
            there = set(self._host.list_sys(path))
            words[supply] = {word: f"{path}/{word}" for word in _WORDS if word in there}
            for file in sorted(there & _NUMBERS.keys()):
                name, divisor = _NUMBERS[file]
                numbers.setdefault((_family(name), divisor), {})[supply,] = f"{path}/{file}"
        return numbers, words


def scaled(value: float, divisor: int) -> float:
    return value if divisor == 1 else value / divisor


def info(words: Words) -> Iterator[Found]:
    """A series a supply; it has an empty label where another one has a word."""
    if words:
        told = [word for word in _WORDS if any(word in of_it for of_it in words.values())]
        keys = [
            (supply, *(of_it.get(word, "") for word in told)) for supply, of_it in words.items()
        ]
        yield _info(tuple(told)), dict.fromkeys(keys, 1)


@lru_cache(maxsize=64)
def _family(name: str) -> Family:
    what = name.replace("_", " ")
    return gauge(f"node_power_supply_{name}", f"What a power supply tells: {what}", "power_supply")


@lru_cache(maxsize=16)
def _info(words: tuple[str, ...]) -> Family:
    help_text = "Always 1; its labels say what the power supply is and how it is"
    return gauge("node_power_supply_info", help_text, "power_supply", *words)
