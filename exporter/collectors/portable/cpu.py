"""Seconds that each CPU spent in each mode."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psutil

from exporter.families import Found, Rows, counter

CPU = counter(
    "node_cpu_seconds_total", "Seconds that a CPU spent in a mode since boot.", "cpu", "mode"
)
_MODES = ("user", "nice", "system", "idle", "irq")


def _read() -> Sequence[Any]:
    return psutil.cpu_times(percpu=True)


class CpuCollector:
    name = "cpu"

    def __init__(self, read: Callable[[], Sequence[Any]] = _read) -> None:
        self._read = read

    def collect(self) -> Iterator[Found]:
        yield CPU, seconds(self._read())


def seconds(times: Sequence[Any]) -> Rows:
    """psutil's times of each CPU → seconds by (cpu, mode).

    Windows counts interrupts and deferred calls within the time of its kernel; here as in Linux
    they stand apart, so that the modes of a CPU add up to the time that went by.
    """
    rows = dict[tuple[str, ...], float]()
    for number, cpu in enumerate(times):
        modes = {mode: getattr(cpu, mode) for mode in _MODES if hasattr(cpu, mode)}
        if hasattr(cpu, "interrupt"):
            modes["irq"], modes["softirq"] = cpu.interrupt, cpu.dpc
            modes["system"] = max(0.0, cpu.system - cpu.interrupt - cpu.dpc)
        rows.update(((str(number), mode), value) for mode, value in modes.items())
    return rows
