"""Neighbours on the local network, from /proc/net/arp."""

import re
from collections import Counter
from collections.abc import Iterator

from exporter.collectors.base import SHORT_LINES, Host, text
from exporter.families import Found, Rows, gauge
from exporter.filters import Filter

_ENTRIES = gauge("node_arp_entries", "Entries of the ARP table, for each device.", "device")


class ArpCollector:
    """node_arp_entries."""

    name = "arp"

    def __init__(
        self,
        host: Host,
        include: re.Pattern[str] | None = None,
        exclude: re.Pattern[str] | None = None,
    ) -> None:
        self._host, self._wanted = host, Filter(include, exclude)

    def collect(self) -> Iterator[Found]:
        entries = parse(self._host.proc("net/arp", SHORT_LINES))
        rows: Rows = {(name,): count for name, count in entries.items() if self._wanted(name)}
        yield _ENTRIES, rows


def parse(raw: bytes) -> dict[str, int]:
    """A heading, then a line an entry; the device is its last column. Entries by device."""
    devices = [line.split()[-1] for line in raw.splitlines()[1:] if line.strip()]
    return dict(sorted(Counter(map(text, devices)).items()))
