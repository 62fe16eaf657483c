"""How fast CPUs run and may run, from /sys/devices/system/cpu/cpu*/cpufreq.

Documentation/admin-guide/pm/cpufreq.rst of the kernel.
"""

import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from exporter.collectors.base import Host, read_optional, text
from exporter.collectors.devices import Files, Kept, number
from exporter.families import Family, Found, gauge

_FOLDER = "devices/system/cpu"
_CPU = re.compile(r"cpu([0-9]+)")
# What a driver says that cannot ask its hardware now.
_UNKNOWN = b"<unknown>"
# Kernels from 4.15 to 5.16 let whoever asks for the speed of a CPU at rest wait for 10 ms or more.
# Where all CPUs together take longer than this many seconds, they are asked at the same time.
_SLOW = 0.05
_AT_ONCE = 64


def _hertz(name: str, help_text: str) -> Family:
    return gauge(f"node_cpu_{name}_hertz", f"{help_text}, in hertz", "cpu", least=0)


# File → what it is told as.
_FREQUENCIES = {
    "cpuinfo_cur_freq": _hertz("frequency", "How fast the CPU runs, as its hardware says"),
    "cpuinfo_min_freq": _hertz("frequency_min", "The slowest that the CPU can run"),
    "cpuinfo_max_freq": _hertz("frequency_max", "The fastest that the CPU can run"),
    "scaling_cur_freq": _hertz("scaling_frequency", "How fast the CPU was last set to run"),
    "scaling_min_freq": _hertz("scaling_frequency_min", "The slowest that the CPU is allowed"),
    "scaling_max_freq": _hertz("scaling_frequency_max", "The fastest that the CPU is allowed"),
}
_GOVERNOR = gauge(
    "node_cpu_scaling_governor",
    "1 for what decides on the speed of the CPU, 0 for what could",
    *("cpu", "governor"),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Files that can be read; of each CPU the one that names its governor and those it could be.

    slow: the families whose files are better read at the same time.
    """

    frequencies: dict[Family, Files] = field(default_factory=dict)
    governors: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    slow: set[Family] = field(default_factory=set)


class CpufreqCollector:
    """node_cpu_frequency_*, node_cpu_scaling_*; nothing where the speed is not ours to see."""

    name = "cpufreq"

    def __init__(self, host: Host, clock: Callable[[], float] = time.monotonic) -> None:
        self._host, self._clock = host, clock
        self._plans = Kept(self._plan)

    def collect(self) -> Iterator[Found]:
        # What a CPU has, comes and goes as it is switched on and off.
        plan = self._plans.of(self._host.sys_or_none(f"{_FOLDER}/online"))
        for family, files in plan.frequencies.items():
            yield family, frequencies(files, self._contents(plan.slow, family, files.values()))
        if plan.governors:
            yield _GOVERNOR, self._governors(plan.governors)

    def _contents(
        self, slow: set[Family], family: Family, paths: Collection[str]
    ) -> list[bytes | None]:
        """What the files hold; None for one that cannot be read now."""
        if family in slow:
            return _at_once([f"{self._host.sysfs}/{path}" for path in paths])
        before = self._clock()
        found = [self._host.sys_or_none(path) for path in paths]
        if self._clock() - before > _SLOW:
            slow.add(family)
        return found

    def _governors(
        self, governors: Mapping[str, tuple[str, list[str]]]
    ) -> dict[tuple[str, ...], float]:
        now = {cpu: self._host.sys_or_none(path) for cpu, (path, _) in governors.items()}
        return {
            (cpu, governor): int(governor.encode() == raw.strip())
            for cpu, raw in now.items()
            if raw is not None
            for governor in governors[cpu][1]
        }

    def _plan(self, _online: bytes | None) -> Plan:
        plan = Plan()
        for cpu in cpus(self._host.list_sys(_FOLDER)):
            folder = f"{_FOLDER}/cpu{cpu}/cpufreq"
            for file in filter(lambda name: self._readable(f"{folder}/{name}"), _FREQUENCIES):
                files = plan.frequencies.setdefault(_FREQUENCIES[file], {})
                files[cpu,] = f"{folder}/{file}"
            able = self._host.sys_or_none(f"{folder}/scaling_available_governors")
            if able is not None:
                plan.governors[cpu] = (f"{folder}/scaling_governor", text(able).split())
        return plan

    def _readable(self, path: str) -> bool:
        """The hardware's own answer is for root alone, and not every driver has it."""
        return os.access(f"{self._host.sysfs}/{path}", os.R_OK)


def cpus(names: Iterable[str]) -> list[str]:
    """The numbers of CPUs among a folder's names, in their order."""
    found = (_CPU.fullmatch(name) for name in names)
    return sorted((match[1] for match in found if match), key=int)


def frequencies(files: Files, contents: Iterable[bytes | None]) -> dict[tuple[str, ...], float]:
    """contents: of the files, in their order. Without those that tell nothing."""
    told = zip(files.items(), contents, strict=True)
    found = {key: in_hertz(path, raw or _UNKNOWN) for (key, path), raw in told}
    return {key: value for key, value in found.items() if value is not None}


def in_hertz(path: str, raw: bytes) -> int | None:
    """From kHz; None where the driver does not know."""
    return None if raw.strip() == _UNKNOWN else number(path, raw) * 1000


def _at_once(paths: Collection[str]) -> list[bytes | None]:
    # Only imported where it is needed: most hosts need no threads for this.
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(len(paths), _AT_ONCE)) as pool:
        return list(pool.map(read_optional, paths))
