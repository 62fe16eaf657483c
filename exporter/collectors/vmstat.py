"""Paging and the out-of-memory killer, from /proc/vmstat."""

import re
from collections.abc import Iterable

from exporter.collectors.base import Host
from exporter.collectors.columns import Pairs
from exporter.families import Family, Found, untyped


class VmstatCollector:
    """node_vmstat_*, untyped: the kernel mixes counters and states.

    fields: which of some 170 are told, by their names.
    """

    name = "vmstat"

    def __init__(self, host: Host, fields: re.Pattern[str]) -> None:
        self._host, self._fields = host, fields
        self._pairs = Pairs(self._family)

    def collect(self) -> Iterable[Found]:
        return self._pairs.told(self._host.proc("vmstat"))

    def _family(self, name: str) -> Family | None:
        if not self._fields.search(name):
            return None
        return untyped(f"node_vmstat_{name}", f"{name} of /proc/vmstat.")
