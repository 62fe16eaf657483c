"""Paging and the out-of-memory killer, from /proc/vmstat."""

import re
from collections.abc import Iterator

from exporter.collectors.base import Host
from fleetpulse.model import MetricFamily, untyped

# Of some 170 fields the ones that node_exporter tells by default.
_FIELDS = re.compile(rb"^((?:oom_kill|pgpg|pswp|pg\S*fault)\S*) (\d+)$", re.MULTILINE)


class VmstatCollector:
    """node_vmstat_*, untyped: the kernel mixes counters and states."""

    name = "vmstat"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[MetricFamily]:
        yield from parse(self._host.proc("vmstat"))


def parse(raw: bytes) -> Iterator[MetricFamily]:
    for name, value in _FIELDS.findall(raw):
        field = name.decode()
        help_text = f"/proc/vmstat information field {field}."
        yield untyped(f"node_vmstat_{field}", help_text, int(value))
