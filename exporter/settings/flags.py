"""node_exporter's flags on our command line: parsed as kingpin does, put over what the file says.

`--flag=value` and `--flag value` are the same; a switch takes no value, and `--no-` turns it off.
All faults are told at once.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from exporter.settings import flagtable
from exporter.settings.flagtable import DEPRECATED, REFUSED_SWITCHES, REFUSED_VALUES, SETTINGS, Flag
from exporter.settings.names import COLLECTOR_NAMES, collector_name
from fleetpulse.errors import ConfigError
from fleetpulse.overrides import changed, complaints, read_value

T = TypeVar("T")

_ABSENT_OPTIONS = flagtable.ABSENT_SWITCHES | flagtable.ABSENT_VALUES
_MORE_THAN_A_MOUNT = 1.0  # seconds that a collector has for all that is not waiting
_COLLECTOR = re.compile(r"collector\.([a-z_0-9]+)")
_KNOWN_COLLECTORS = {*COLLECTOR_NAMES, "powersupply", *flagtable.ABSENT}
_SWITCHES = (
    {flag.name for flag in SETTINGS.values() if flag.kind in ("switch", "off")}
    | flagtable.ABSENT_SWITCHES
    | flagtable.NO_MATTER_SWITCHES
    | set(REFUSED_SWITCHES)
)
_VALUES = (
    {flag.name for flag in SETTINGS.values() if flag.kind in ("value", "list")}
    | set(DEPRECATED)
    | flagtable.ABSENT_VALUES
    | flagtable.NO_MATTER_VALUES
    | set(REFUSED_VALUES)
)
_REPEATABLE = {
    *(flag.name for flag in SETTINGS.values() if flag.kind == "list"),
    *flagtable.ABSENT_VALUES,
}


@dataclass(frozen=True, slots=True)
class Given:
    """A flag as it stands on the command line; value is True or False for a switch."""

    name: str
    value: str | bool


@dataclass(frozen=True, slots=True)
class Flags:
    """What a command line sets. warnings are for the log."""

    settings: Mapping[str, tuple[Flag, object]] = field(default_factory=dict)
    collectors: Mapping[str, bool] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def over(self, root: T) -> T:
        """root with these settings over its own; ConfigError where they do not fit together."""
        for flag, value in self.settings.values():
            if flag.instead_of and flag.instead_of not in self.settings:
                root = changed(root, flag.instead_of.split("."), None)
            root = changed(root, flag.key.split("."), value)
        root = self._with_time_for_mounts(self._choose(root))
        faults = [self._fault(where, message) for where, message in complaints(root)]
        if faults:
            raise ConfigError(faults)
        return root

    def _choose(self, root: T) -> T:
        """A collector that a flag names is on or off, whatever the file says of it."""
        chosen = root.exporter.collectors  # type: ignore[attr-defined]
        for key, wanted in (("enable", True), ("disable", False)):
            kept = [name for name in getattr(chosen, key) if name not in self.collectors]
            named = [name for name, on in self.collectors.items() if on is wanted]
            root = changed(root, ("exporter", "collectors", key), (*kept, *named))
        return root

    def _with_time_for_mounts(self, root: T) -> T:
        """node_exporter has no limit for a collector: a longer one for mounts lengthens ours."""
        if "exporter.filesystem.mount_timeout" not in self.settings:
            return root
        config = root.exporter  # type: ignore[attr-defined]
        least = config.filesystem.mount_timeout + _MORE_THAN_A_MOUNT
        most = max(config.collector_timeout, least)
        return changed(root, ("exporter", "collector_timeout"), most)

    def _fault(self, where: str, message: str) -> str:
        section = where.rpartition(".")[0]
        flags = [
            f"--{flag.name}" for key, (flag, _) in self.settings.items() if key.startswith(section)
        ]
        return f"{', '.join(flags)}: {where}: {message}"


def parse(arguments: Sequence[str], root: type) -> Flags:
    """What the arguments set in a configuration of the class root. ConfigError tells all faults."""
    faults: list[str] = []
    given = list(_once(_given(arguments, faults), faults))
    settings: dict[str, tuple[Flag, object]] = {}
    for flag, raw in _by_setting(given):
        try:
            settings[flag.key] = (flag, _value(flag, raw, root))
        except ValueError as err:
            faults.append(f"--{flag.name}: {err}")
    if faults:
        raise ConfigError(faults)
    return Flags(settings, dict(_collectors(given)), tuple(_warnings(given)))


def _given(arguments: Sequence[str], faults: list[str]) -> Iterator[Given]:
    """The flags that can be taken; what is wrong with the others is put on the list."""
    left = list(arguments)
    while left:
        written = left.pop(0)
        name, equals, value = written.removeprefix("--").partition("=")
        if not written.startswith("--") or not name:
            faults.append(_no_flag(written))
        elif name in _VALUES:
            if not equals and not left:
                faults.append(f"--{name}: a value is missing; write --{name}=VALUE")
                continue
            yield from _accepted(Given(name, value if equals else left.pop(0)), faults)
        elif (switch := _switch(name)) is None:
            faults.append(_unknown(name))
        elif equals:
            faults.append(f"--{name}: takes no value; write --{switch.name} or --no-{switch.name}")
        else:
            yield from _accepted(switch, faults)


def _no_flag(written: str) -> str:
    if written.startswith("-") and _is_known(written.lstrip("-").partition("=")[0]):
        return f"{written}: a flag begins with two dashes: -{written}"
    return f"{written}: no argument goes here; flags are written as --name=value"


def _is_known(name: str) -> bool:
    return name in _VALUES or _switch(name) is not None


def _switch(name: str) -> Given | None:
    """The switch of that name, on or, with no- before it, off; None where there is none."""
    plain = name.removeprefix("no-")
    collector = _COLLECTOR.fullmatch(plain)
    if plain in _SWITCHES or (collector and collector[1] in _KNOWN_COLLECTORS):
        return Given(plain, plain == name)
    return None


def _unknown(name: str) -> str:
    known = [*_VALUES, *_SWITCHES, *(f"collector.{one}" for one in _KNOWN_COLLECTORS)]
    if name.startswith("no-"):
        known = [f"no-{one}" for one in known]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean --{close[0]}?" if close else "--help lists all"
    return f"--{name}: no such flag; {hint}"


def _accepted(given: Given, faults: list[str]) -> Iterator[Given]:
    """The flag, unless what it asks for cannot be had."""
    collector = _COLLECTOR.fullmatch(given.name)
    if given.value is True and collector and collector[1] in flagtable.ABSENT:
        faults.append(
            f"--{given.name}: there is no collector {collector[1]} here; leave the flag out, or "
            f"let a script write what it told to a folder of --collector.textfile.directory"
        )
    elif given.name in REFUSED_VALUES:
        faults.append(f"--{given.name}: {REFUSED_VALUES[given.name]}")
    elif given.value is True and given.name in REFUSED_SWITCHES:
        faults.append(f"--{given.name}: {REFUSED_SWITCHES[given.name]}")
    else:
        yield given


def _once(given: Iterable[Given], faults: list[str]) -> Iterator[Given]:
    """Flags given twice, be it under an older name, are faults, as kingpin has it."""
    seen: dict[str, str] = {}
    for one in given:
        setting = DEPRECATED.get(one.name, one.name)
        other = None if setting in _REPEATABLE else seen.get(setting)
        seen[setting] = one.name
        if other is None:
            yield one
        elif other == one.name:
            faults.append(f"--{one.name}: is there twice; keep one of them")
        else:
            faults.append(f"--{one.name}: the same as --{other}; keep one of them")


def _by_setting(given: Iterable[Given]) -> Iterator[tuple[Flag, object]]:
    """Each setting once, with what it is set to, as a file would have it."""
    lists: dict[str, list[object]] = {}
    for one in given:
        flag = SETTINGS.get(DEPRECATED.get(one.name, one.name))
        if flag is not None and flag.kind == "list":
            lists.setdefault(flag.name, []).extend([one.value] if one.value else [])
        elif flag is not None:
            yield flag, not one.value if flag.kind == "off" else one.value
    yield from ((SETTINGS[name], values) for name, values in lists.items())


def _value(flag: Flag, raw: object, root: type) -> object:
    if flag.hint == "DURATION":
        raw = _go_duration(str(raw))
    if flag.hint == "FILE" and raw == "":  # node_exporter's way to say: none
        raw = None
    return read_value(root, flag.key.split("."), raw)


def _go_duration(written: str) -> str:
    """Go has fractions, as in 1.5s, where Prometheus has none."""
    parts = re.findall(r"(\d+(?:\.\d*)?)(h|ms|m|s)", written)
    if "".join(amount + unit for amount, unit in parts) != written:
        return written  # whoever reads it says what is wrong
    seconds = sum(float(amount) * _UNITS[unit] for amount, unit in parts)
    return f"{round(seconds * 1000)}ms"


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def _collectors(given: Iterable[Given]) -> Iterator[tuple[str, bool]]:
    for one in given:
        collector = _COLLECTOR.fullmatch(one.name)
        if collector and collector[1] not in flagtable.ABSENT:
            yield collector_name(collector[1]), bool(one.value)


def _warnings(given: Iterable[Given]) -> Iterator[str]:
    for name, value in {one.name: one.value for one in given}.items():
        if name in DEPRECATED:
            yield f"--{name} is an old name; write --{DEPRECATED[name]}"
        elif name in _ABSENT_OPTIONS and value is not False:
            yield f"--{name} sets nothing: there is no collector {name.split('.')[1]} here"
