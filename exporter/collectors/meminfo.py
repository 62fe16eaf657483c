"""Memory, all fields of /proc/meminfo; psutil knows only some of them."""

import re
from collections.abc import Iterator

from exporter.collectors.base import Host
from fleetpulse.model import MetricFamily, gauge

_FIELD = re.compile(rb"^([^:\s]+):\s+(\d+)( kB)?\s*$", re.MULTILINE)


class MeminfoCollector:
    """node_memory_*: in bytes, but for the counts of huge pages."""

    name = "meminfo"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[MetricFamily]:
        for field, value in parse(self._host.proc("meminfo")).items():
            yield gauge(f"node_memory_{field}", f"Memory information field {field}.", value)


def parse(raw: bytes) -> dict[str, int]:
    """`Active(anon):  12 kB` → {"Active_anon_bytes": 12288}. ValueError where nothing is read."""
    fields = dict[str, int]()
    for name, amount, kilobytes in _FIELD.findall(raw):
        field = name.decode().replace("(", "_").replace(")", "")
        if kilobytes:
            fields[f"{field}_bytes"] = int(amount) * 1024
        else:
            fields[field] = int(amount)
    if not fields:
        raise ValueError("/proc/meminfo: no field in it")
    return fields
