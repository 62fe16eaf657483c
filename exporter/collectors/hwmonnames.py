"""How the files of a sensor are told: names and units, as node_exporter has them.

Documentation/hwmon/sysfs-interface.rst of the kernel says what the files are.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

_PREFIX = "node_hwmon_"
# temp1_crit_alarm is the element crit_alarm of temp1; pwm1 has an element without a name as well.
_FILE = re.compile(r"([^0-9]+)([0-9]{0,9})(?:_(.+))?")
_FOREIGN = re.compile(r"[^a-z0-9:_]")

# Those of a whole chip have one value and a name of their own.
_OF_CHIPS = {
    "beep_enable": ("beep_enabled", 1),
    "update_interval": ("update_interval_seconds", 1000),
    "vrm": ("voltage_regulator_version", 1),
}
# What is put behind the name, and by what the value is divided.
_UNITS = {
    "in": ("_volts", 1000),
    "cpu": ("_volts", 1000),
    "temp": ("_celsius", 1000),
    "curr": ("_amps", 1000),
    "power": ("_watt", 1_000_000),
    "energy": ("_joule_total", 1_000_000),
    # The kernel counts thousandths of a percent, so this is a tenth of the ratio; but so the peer
    # tells it, and so people's panels expect it.
    "humidity": ("", 1_000_000),
    "fan": ("", 1),
    "pwm": ("", 1),
    "intrusion": ("", 1),
    "freq": ("", 1),
}
_UNITS_OF_ELEMENTS = {
    ("temp", "type"): ("", 1),
    ("power", "accuracy"): ("", 1_000_000),
    **{("power", f"average_interval{which}"): ("_seconds", 1000) for which in ("", "_min", "_max")},
    **{("fan", element): ("_rpm", 1) for element in ("input", "min", "max", "target")},
    ("freq", "input"): ("_freq_mhz", 1_000_000),
}
_WITHOUT_UNIT = {"alarm": "", "fault": "", "beep": "_enabled"}


@dataclass(frozen=True, slots=True)
class Part:
    """What a file is of its sensor: temp1_input is the input of temp1, whose type is temp."""

    type: str
    sensor: str
    element: str


@dataclass(frozen=True, slots=True)
class Metric:
    """What an element is told as. The file's number divided by divisor is in the name's unit."""

    name: str
    divisor: int = 1


def part(file: str) -> Part | None:
    """None for what is no sensor's."""
    found = _FILE.fullmatch(file)
    if found is None or found[1] not in _UNITS.keys() | _OF_CHIPS.keys():
        return None
    return Part(found[1], f"{found[1]}{int(found[2] or 0)}", found[3] or "")


def metric(kind: str, element: str, elements: Collection[str]) -> Metric | None:
    """None for what is no number. elements: all that the sensor has."""
    if kind in _OF_CHIPS:
        name, divisor = _OF_CHIPS[kind]
        return None if element else Metric(f"{_PREFIX}{name}", divisor)
    if element == "label" or ((kind, element) == ("freq", "input") and "label" not in elements):
        return None
    name = f"{_PREFIX}{kind}"
    # The input is the value itself, unless the sensor has a file that is.
    if element and (element != "input" or "" in elements):
        name = f"{name}_{clean(element)}"
    if element in _WITHOUT_UNIT:
        return Metric(f"{name}{_WITHOUT_UNIT[element]}")
    unit, divisor = _UNITS_OF_ELEMENTS.get((kind, element)) or _UNITS[kind]
    return Metric(f"{name}{unit}", divisor)


def clean(name: str) -> str:
    """In the letters of a metric's name."""
    return _FOREIGN.sub("_", name.lower()).strip("_")


def chip(device: str | None, name: str, folder: str) -> str:
    """What a chip is called: hwmon's own numbers change from boot to boot.

    device: the path of the device that it belongs to; name: what its driver calls it; folder: its
    own one, when all else fails.
    """
    if device is not None:
        bus, _, last = device.rpartition("/")
        parts = clean(bus.rpartition("/")[2]), clean(last)
        if parts[1]:
            return "_".join(filter(None, parts))
    return clean(name) or clean(folder)


def distinct(
    chips: Mapping[str, tuple[str, str]], sensors: Mapping[str, Collection[str]]
) -> dict[str, str]:
    """Folder → name of the chip. chips: folder → name and driver's name; sensors: of each folder.

    Chips of one device have one name. As long as they have no sensor of the same name, so they are
    told; else all of them get names of their own, as node_exporter gives them from 1.12 on, of
    which earlier ones lose all but one.
    """
    counts, named = Counter(chips.values()), dict[str, list[str]]()
    for folder, (name, _) in chips.items():
        named.setdefault(name, []).append(folder)
    found = {folder: name for folder, (name, _) in chips.items()}
    for name, folders in named.items():
        if _overlap([sensors[folder] for folder in folders]):
            for folder in folders:
                driver = clean(chips[folder][1]) if counts[chips[folder]] == 1 else ""
                found[folder] = f"{name}_{driver or clean(folder)}"
    return found


def _overlap(groups: Collection[Collection[str]]) -> bool:
    return sum(map(len, groups)) > len(set().union(*groups))
