"""Neighbours on the local network, from /proc/net/arp."""

from collections import Counter
from collections.abc import Iterator

from exporter.collectors.base import Host, text
from fleetpulse.model import MetricFamily, gauge


class ArpCollector:
    """node_arp_entries."""

    name = "arp"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[MetricFamily]:
        yield parse(self._host.proc("net/arp"))


def parse(raw: bytes) -> MetricFamily:
    """A heading, then a line an entry; the device is its last column."""
    entries = Counter(text(line.split()[-1]) for line in raw.splitlines()[1:])
    family = gauge("node_arp_entries", "ARP entries by device")
    for device, count in sorted(entries.items()):
        family.add(count, device=device)
    return family
