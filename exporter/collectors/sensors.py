"""Temperatures, fans and the battery, as psutil tells them. On Linux, hwmon has more."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from exporter.collectors.base import NoDataError
from exporter.families import Found, gauge

_PLACE = ("chip", "sensor")
CURRENT = gauge("fleetpulse_sensor_temperature_celsius", "Temperature now.", *_PLACE)
HIGH = gauge("fleetpulse_sensor_temperature_high_celsius", "Temperature that is too high.", *_PLACE)
CRITICAL = gauge(
    "fleetpulse_sensor_temperature_critical_celsius", "Temperature that does harm.", *_PLACE
)
FAN = gauge("fleetpulse_sensor_fan_rpm", "Turns of the fan in a minute.", *_PLACE, least=0)
CHARGE = gauge(
    "fleetpulse_battery_charge_ratio", "How full the battery is, 0 to 1.", least=0, most=1
)
LEFT = gauge("fleetpulse_battery_left_seconds", "For how long the battery will last.", least=0)
PLUGGED = gauge("fleetpulse_battery_power_plugged", "Whether power comes from outside (1).")

Read = Callable[[str], Any]
_TEMPERATURES = (("current", CURRENT), ("high", HIGH), ("critical", CRITICAL))


def psutil_reading(name: str) -> Any:
    """What psutil's function of this name gives; None where this system has no such function."""
    import psutil  # late: where this collector is off, a host does without psutil

    function = getattr(psutil, name, None)
    return None if function is None else function()


class SensorsCollector:
    """fleetpulse_sensor_* and fleetpulse_battery_*."""

    name = "sensors"

    def __init__(self, read: Read = psutil_reading) -> None:
        self._read = read

    def collect(self) -> Iterator[Found]:
        temperatures = self._read("sensors_temperatures") or {}
        fans = self._read("sensors_fans") or {}
        battery = self._read("sensors_battery")
        if not temperatures and not fans and battery is None:
            raise NoDataError("no sensor, no fan and no battery is known here")
        for field, family in _TEMPERATURES:
            yield family, readings(temperatures, field)
        yield FAN, readings(fans, "current")
        if battery is not None:
            yield from charge(battery)


def readings(chips: Mapping[str, Sequence[Any]], field: str) -> dict[tuple[str, ...], float]:
    """Values by (chip, sensor). Sensors without a label are numbered, as are equal labels."""
    rows = dict[tuple[str, ...], float]()
    for chip, sensors in chips.items():
        used = set[str]()
        for number, sensor in enumerate(sensors, 1):
            label = _unused(sensor.label or f"sensor{number}", used)
            value = getattr(sensor, field)
            if value is not None and math.isfinite(value):
                rows[chip, label] = value
    return rows


def _unused(label: str, used: set[str]) -> str:
    """Two processors in a host are one chip to psutil, with each label twice."""
    found, number = label, 1
    while found in used:
        number += 1
        found = f"{label} #{number}"
    used.add(found)
    return found


def charge(battery: Any) -> Iterator[Found]:
    yield CHARGE, battery.percent / 100
    # psutil's negative numbers stand for unlimited and unknown.
    if battery.secsleft is not None and battery.secsleft >= 0:
        yield LEFT, battery.secsleft
    if battery.power_plugged is not None:
        yield PLUGGED, int(battery.power_plugged)
