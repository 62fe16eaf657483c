"""Time that each CPU spent in each mode, as psutil reads it from /proc/stat."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import psutil

from exporter.collectors.base import Host, read_optional
from fleetpulse.model import MetricFamily, counter

_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
_GUEST_MODES = {"user": "guest", "nice": "guest_nice"}
# An idle time that falls by as many seconds tells of a CPU taken out and put in again.
_REPLUGGED = 3.0

Times = Mapping[str, float]
_read_times = partial(psutil.cpu_times, percpu=True)


class CpuCollector:
    """node_cpu_seconds_total and node_cpu_guest_seconds_total.

    The kernel lets idle and iowait slip back a little at times; as in node_exporter the highest
    value seen stands, since to PromQL a counter that falls has been reset.
    """

    name = "cpu"

    def __init__(
        self,
        host: Host,
        read_times: Callable[[], Sequence[Any]] = _read_times,
    ) -> None:
        self._host, self._read_times = host, read_times
        self._last: dict[str, Times] = {}

    def collect(self) -> Iterator[MetricFamily]:
        online = read_optional(f"{self._host.sysfs}/devices/system/cpu/online") or b""
        rows = [row._asdict() for row in self._read_times()]
        numbers = cpu_numbers(online, len(rows))
        self._last = {
            number: never_back(self._last.get(number, {}), row)
            for number, row in zip(numbers, rows, strict=True)
        }
        return families(self._last)


def cpu_numbers(online: bytes, count: int) -> list[str]:
    """Numbers of count CPUs; online is as in /sys: `0-2,5`. psutil does not tell them."""
    numbers = list[str]()
    for part in online.split(b",") if online.strip() else []:
        first, _, last = part.partition(b"-")
        numbers += map(str, range(int(first), int(last or first) + 1))
    # A container may see fewer in /proc than in /sys; there they are numbered anew.
    return numbers if len(numbers) == count else [str(number) for number in range(count)]


def never_back(old: Times, new: Times) -> Times:
    """new, with the old value where a mode's time fell; all new after a re-plugging."""
    if old.get("idle", 0.0) - new["idle"] >= _REPLUGGED:
        return new
    return {mode: max(seconds, old.get(mode, 0.0)) for mode, seconds in new.items()}


def families(cpus: Mapping[str, Times]) -> Iterator[MetricFamily]:
    total = counter("node_cpu_seconds_total", "Seconds the CPUs spent in each mode.")
    guest = counter(
        "node_cpu_guest_seconds_total", "Seconds the CPUs spent in guests (VMs) for each mode."
    )
    for cpu, times in cpus.items():
        # An old kernel lacks the later modes; they are left out rather than called 0.
        for mode in _MODES:
            if mode in times:
                total.add(times[mode], cpu=cpu, mode=mode)
        for mode, field in _GUEST_MODES.items():
            if field in times:
                guest.add(times[field], cpu=cpu, mode=mode)
    yield from (total, guest)
