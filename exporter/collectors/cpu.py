"""Time that each CPU spent in each mode, from /proc/stat, and how often it was slowed down."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from exporter.collectors.base import Host, text
from exporter.families import Found, Rows, counter

# In the order of the columns of /proc/stat.
_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_GUEST_MODES = ("user", "nice")
_IDLE = _MODES.index("idle")
# An idle time that falls by as many seconds tells of a CPU taken out and put in again.
_REPLUGGED = 3.0

# Guarded: never_back() knows better than the page when a CPU's times begin anew.
_SECONDS = counter(
    "node_cpu_seconds_total", "Seconds that the CPU spent in the mode.", "cpu", "mode", guarded=True
)
_GUEST_SECONDS = counter(
    "node_cpu_guest_seconds_total",
    "Seconds that the CPU spent in virtual machines, contained in the mode's total.",
    "cpu",
    "mode",
    guarded=True,
)
_CORE_THROTTLES = counter(
    "node_cpu_core_throttles_total", "Times that the core was slowed down for heat.",
    "package", "core",
)  # fmt: skip
_PACKAGE_THROTTLES = counter(
    "node_cpu_package_throttles_total", "Times that the package was slowed down for heat.",
    "package",
)  # fmt: skip

Ticks = Sequence[int]


class CpuCollector:
    """node_cpu_seconds_total, node_cpu_guest_seconds_total, node_cpu_*_throttles_total.

    info: what is made of /proc/cpuinfo, where that is wanted too.

    The kernel lets idle and iowait slip back a little at times; as in node_exporter the highest
    value seen stands, since to PromQL a counter that falls has been reset.
    """

    name = "cpu"

    def __init__(
        self,
        host: Host,
        guest: bool = True,
        info: Callable[[bytes], Iterable[Found]] | None = None,
        ticks: int = os.sysconf("SC_CLK_TCK"),
    ) -> None:
        self._host, self._guest, self._info, self._ticks = host, guest, info, ticks
        self._last: Mapping[str, Ticks] = {}
        self._throttled = _Throttled(host)

    def collect(self) -> Iterator[Found]:
        jump = int(_REPLUGGED * self._ticks)
        last = self._last
        self._last = {
            cpu: never_back(last[cpu], row, jump) if cpu in last else row
            for cpu, row in parse(self._host.proc("stat")).items()
        }
        yield _SECONDS, seconds(self._last, self._ticks)
        if self._guest:
            yield _GUEST_SECONDS, guest_seconds(self._last, self._ticks)
        yield from self._throttled.collect()
        if self._info is not None:
            yield from self._info(self._host.proc("cpuinfo"))


def parse(raw: bytes) -> dict[str, Ticks]:
    """`cpu0 10 11 …` → {"0": [10, 11, …]}, as many columns as this kernel has."""
    rows = dict[str, Ticks]()
    for line in raw.splitlines():
        if line.startswith(b"cpu"):
            name, *columns = line.split()
            if len(name) > 3:  # the first line is all CPUs' sum
                rows[text(name[3:])] = list(map(int, columns))
    if not rows:
        raise ValueError("/proc/stat: no CPU in it")
    return rows


def never_back(old: Ticks, new: Ticks, jump: int) -> Ticks:
    """new, with the old value where a mode's time fell; all new after a re-plugging."""
    if len(old) != len(new) or old[_IDLE] - new[_IDLE] >= jump:
        return new
    return list(map(max, old, new))


@lru_cache(maxsize=4096)
def _keys(cpu: str, modes: Sequence[str]) -> list[tuple[str, str]]:
    return [(cpu, mode) for mode in modes]


def seconds(cpus: Mapping[str, Ticks], ticks: int) -> Rows:
    # An old kernel lacks the later modes; they are left out rather than called 0.
    return {
        key: value / ticks
        for cpu, row in cpus.items()
        for key, value in zip(_keys(cpu, _MODES), row, strict=False)
    }


def guest_seconds(cpus: Mapping[str, Ticks], ticks: int) -> Rows:
    return {
        key: value / ticks
        for cpu, row in cpus.items()
        for key, value in zip(_keys(cpu, _GUEST_MODES), row[len(_MODES) :], strict=False)
    }


class _Throttled:
    """Each core's and package's count, by its first CPU; most virtual machines have none."""

    _FOLDER = "devices/system/cpu"

    def __init__(self, host: Host) -> None:
        self._host = host
        self._online: bytes | None = None
        self._cores: dict[tuple[str, str], str] = {}  # (package, core) → path
        self._packages: dict[tuple[str], str] = {}

    def collect(self) -> Iterator[Found]:
        online = self._host.sys_or_none(f"{self._FOLDER}/online")
        if online != self._online:
            self._online = online
            self._find()
        yield _CORE_THROTTLES, dict(self._counts(self._cores.items()))
        yield _PACKAGE_THROTTLES, dict(self._counts(self._packages.items()))

    def _find(self) -> None:
        self._cores, self._packages = {}, {}
        names = self._host.list_sys(self._FOLDER)
        for name in sorted((n for n in names if n[:3] == "cpu" and n[3:].isdigit()), key=len):
            folder = f"{self._FOLDER}/{name}"
            package = self._host.sys_or_none(f"{folder}/topology/physical_package_id")
            core = self._host.sys_or_none(f"{folder}/topology/core_id")
            if package is None or core is None:
                continue
            key = (text(package).strip(), text(core).strip())
            heat = f"{folder}/thermal_throttle"
            if self._host.sys_or_none(f"{heat}/core_throttle_count") is not None:
                self._cores.setdefault(key, f"{heat}/core_throttle_count")
            if self._host.sys_or_none(f"{heat}/package_throttle_count") is not None:
                self._packages.setdefault(key[:1], f"{heat}/package_throttle_count")

    def _counts(
        self, files: Iterable[tuple[tuple[str, ...], str]]
    ) -> Iterator[tuple[tuple[str, ...], float]]:
        for key, path in files:
            raw = self._host.sys_or_none(path)
            if raw is not None:
                yield key, int(raw)
