"""Units of systemd, asked for over D-Bus. Off by default, as in node_exporter.

D-Bus and not systemctl: a program would be started for each page, and again for what its first
answer does not tell; here a connection stays open and a page takes two exchanges.

https://www.freedesktop.org/software/systemd/man/org.freedesktop.systemd1.html
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from exporter.families import Family, Found, counter, gauge
from exporter.sources import dbus
from exporter.sources.bus import Bus, BusError, Call

SERVICE = "org.freedesktop.systemd1"
_MANAGER_PATH = "/org/freedesktop/systemd1"
_MANAGER = f"{SERVICE}.Manager"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_LIST = Call(_MANAGER_PATH, _MANAGER, "ListUnits")

INCLUDE, EXCLUDE = ".+", r".+\.(automount|device|mount|scope|slice)"
STATES = ("active", "activating", "deactivating", "inactive", "failed")
_KNOWN_FOR = 60.0  # seconds; the type of a service changes only with its file and a reload
_UNLIMITED = 2**64 - 1
_VERSION_NUMBER = re.compile(r"[0-9]{3,}(?:\.[0-9]+)?")

VERSION = gauge("node_systemd_version", "Version of systemd as a number.", "version")
RUNNING = gauge("node_systemd_system_running", "Whether the system runs with no unit failed (1).")
UNITS = gauge("node_systemd_units", "How many units are in a state.", "state")
STATE = gauge("node_systemd_unit_state", "Whether the unit is in the state (1) or not (0).",
              "name", "state", "type")  # fmt: skip
START = gauge("node_systemd_unit_start_time_seconds",
              "Since when the unit is active, in seconds since 1970; 0 where it is not.",
              "name")  # fmt: skip
RESTARTS = counter("node_systemd_service_restart_total",
                   "How often systemd itself started the service anew.", "name")  # fmt: skip
TASKS = gauge("node_systemd_unit_tasks_current", "Tasks that the unit has.", "name")
TASKS_MAX = gauge("node_systemd_unit_tasks_max", "Tasks that the unit may have.", "name")
LAST_TRIGGER = gauge("node_systemd_timer_last_trigger_seconds",
                     "When the timer last went off, in seconds since 1970.", "name")  # fmt: skip
ACCEPTED = counter("node_systemd_socket_accepted_connections_total",
                   "Connections that the socket accepted.", "name")  # fmt: skip
CONNECTIONS = gauge("node_systemd_socket_current_connections",
                    "Connections that the socket has now.", "name")  # fmt: skip
# A gauge in node_exporter, whatever its name says.
REFUSED = gauge("node_systemd_socket_refused_connections_total",
                "Connections that the socket refused.", "name")  # fmt: skip


class Asks(Protocol):
    def ask(self, calls: Sequence[Call], timeout: float) -> list[dbus.Message]:
        """An answer to each call, in their order. OSError or ValueError where there is none."""


@dataclass(frozen=True, slots=True)
class Unit:
    name: str
    load_state: str
    active_state: str
    path: str

    @property
    def kind(self) -> str:
        return self.name.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Property:
    """What is asked of units of a kind, for which family. part: of systemd's interface."""

    family: Family
    kind: str
    part: str
    name: str
    unit: float = 1


_ALWAYS = (
    Property(LAST_TRIGGER, "timer", "Timer", "LastTriggerUSec", 1e-6),
    Property(ACCEPTED, "socket", "Socket", "NAccepted"),
    Property(CONNECTIONS, "socket", "Socket", "NConnections"),
    Property(REFUSED, "socket", "Socket", "NRefused"),
)
_TASK_METRICS = (
    Property(TASKS, "service", "Service", "TasksCurrent"),
    Property(TASKS_MAX, "service", "Service", "TasksMax"),
)
_RESTARTS_METRICS = (Property(RESTARTS, "service", "Service", "NRestarts"),)


class SystemdCollector:
    """node_systemd_*. unit_include and unit_exclude are matched with the whole name.

    task_metrics, restarts_metrics and start_time_metrics cost a question a unit and page.
    """

    name = "systemd"

    def __init__(
        self,
        unit_include: str = INCLUDE,
        unit_exclude: str = EXCLUDE,
        *,
        task_metrics: bool = False,
        restarts_metrics: bool = False,
        start_time_metrics: bool = False,
        timeout: float = 4.0,
        bus: Asks | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._include, self._exclude = re.compile(unit_include), re.compile(unit_exclude)
        self._properties = [
            *_ALWAYS,
            *(_TASK_METRICS if task_metrics else ()),
            *(_RESTARTS_METRICS if restarts_metrics else ()),
        ]
        self._start_times = start_time_metrics
        self._timeout, self._clock = timeout, clock
        self._bus = Bus(SERVICE) if bus is None else bus
        self._types = dict[str, str]()
        self._types_known_at = clock()
        self._list = (b"", list[Unit]())  # the last answer, and what it says

    def collect(self) -> Iterator[Found]:
        deadline = self._clock() + self._timeout
        calls = [manager_call("Version"), manager_call("SystemState"), _LIST]
        version, state, listed = self._bus.ask(calls, self._timeout)
        units = self._units(listed)
        wanted = [unit for unit in units if self._is_wanted(unit)]
        answers = self._details(wanted, deadline)
        yield from manager(variant(version), variant(state))
        yield UNITS, summary(units)
        yield STATE, states(wanted, self._types)
        yield from answers

    def _units(self, listed: dbus.Message) -> list[Unit]:
        # Most pages find the units as they were: to know that is cheaper than to read them.
        if listed.kind == dbus.ERROR or listed.body != self._list[0]:
            self._list = (listed.body, list(units_of(listed)))
        return self._list[1]

    def _is_wanted(self, unit: Unit) -> bool:
        return (
            unit.load_state == "loaded"
            and self._include.fullmatch(unit.name) is not None
            and self._exclude.fullmatch(unit.name) is None
        )

    def _details(self, units: Sequence[Unit], deadline: float) -> list[Found]:
        """Asks all at once what the list of units does not tell."""
        asked = [(one, unit) for one in self._properties for unit in units if unit.kind == one.kind]
        active = [unit for unit in units if self._start_times and unit.active_state == "active"]
        typed = self._untyped(units)
        calls = [unit_call(unit, one.part, one.name) for one, unit in asked]
        calls += [unit_call(unit, "Unit", "ActiveEnterTimestamp") for unit in active]
        calls += [unit_call(unit, unit.kind.capitalize(), "Type") for unit in typed]
        answers = iter(self._bus.ask(calls, deadline - self._clock())) if calls else iter(())
        values = [variant(answer) for answer in answers]
        split = len(asked) + len(active)
        self._types.update(types_of(typed, values[split:]))
        found = list(details(self._properties, asked, values))
        if self._start_times:
            found.append((START, start_times(units, active, values[len(asked) : split])))
        return found

    def _untyped(self, units: Sequence[Unit]) -> list[Unit]:
        """Services and mounts whose type is not known, or not of late."""
        if self._clock() - self._types_known_at >= _KNOWN_FOR:
            self._types.clear()
            self._types_known_at = self._clock()
        return [
            unit
            for unit in units
            if unit.kind in ("service", "mount") and unit.name not in self._types
        ]


def manager_call(name: str) -> Call:
    return Call(_MANAGER_PATH, _PROPERTIES, "Get", (_MANAGER, name))


def unit_call(unit: Unit, part: str, name: str) -> Call:
    return Call(unit.path, _PROPERTIES, "Get", (f"{SERVICE}.{part}", name))


def variant(answer: dbus.Message) -> Any:
    """A property's value; None where there is none: the unit left, or systemd is too old."""
    if answer.kind == dbus.ERROR or answer.signature != "v":
        return None
    return answer.values()[0]


def units_of(answer: dbus.Message) -> Iterator[Unit]:
    """BusError where systemd refuses, ValueError where it answers something else."""
    if answer.kind == dbus.ERROR:
        raise BusError(f"systemd will not list its units: {answer.error}")
    if answer.signature != "a(ssssssouso)":
        raise ValueError(f"systemd's list of units: unknown form {answer.signature!r}")
    for row in answer.values()[0]:
        yield Unit(row[0], row[2], row[3], row[6])


def manager(version: Any, state: Any) -> Iterator[Found]:
    """`252.38-1~deb12u1`, `running` → families."""
    number = _VERSION_NUMBER.search(version) if isinstance(version, str) else None
    yield VERSION, {(version,): float(number[0])} if number else {("",): 0}
    if isinstance(state, str):
        yield RUNNING, int(state == "running")


def summary(units: Iterable[Unit]) -> dict[tuple[str, ...], float]:
    counts: dict[tuple[str, ...], float] = {(state,): 0 for state in STATES}
    for unit in units:
        key = (unit.active_state,)
        counts[key] = counts.get(key, 0) + 1
    return counts


def states(units: Iterable[Unit], types: Mapping[str, str]) -> dict[tuple[str, ...], float]:
    rows = dict[tuple[str, ...], float]()
    for unit in units:
        for key in _keys(unit.name, types.get(unit.name, "")):
            rows[key] = int(key[1] == unit.active_state)
    return rows


@lru_cache(maxsize=4096)
def _keys(name: str, kind: str) -> tuple[tuple[str, ...], ...]:
    return tuple((name, state, kind) for state in STATES)


def types_of(units: Sequence[Unit], values: Sequence[Any]) -> dict[str, str]:
    pairs = zip(units, values, strict=True)
    return {unit.name: value for unit, value in pairs if isinstance(value, str)}


def details(
    properties: Iterable[Property], asked: Sequence[tuple[Property, Unit]], values: Sequence[Any]
) -> Iterator[Found]:
    """values: of what was asked, then others."""
    rows: dict[Family, dict[tuple[str, ...], float]] = {one.family: {} for one in properties}
    for (one, unit), value in zip(asked, values, strict=False):
        if isinstance(value, int) and value != _UNLIMITED:
            rows[one.family][unit.name,] = value if one.unit == 1 else value * one.unit
    yield from rows.items()


def start_times(
    units: Iterable[Unit], active: Sequence[Unit], values: Sequence[Any]
) -> dict[tuple[str, ...], float]:
    known = dict(zip((unit.name for unit in active), values, strict=True))
    times: dict[tuple[str, ...], float] = {}
    for unit in units:
        micros = known.get(unit.name, 0)
        if isinstance(micros, int):
            times[unit.name,] = micros / 1e6
    return times
