"""Traffic of network interfaces."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psutil

from exporter.collectors.portable.wanted import Wanted, every
from exporter.families import Family, Found, counter


def _net(name: str, help_text: str) -> Family:
    return counter(f"node_network_{name}_total", help_text, "device")


_COUNTERS = (
    ("bytes_recv", _net("receive_bytes", "Bytes received.")),
    ("packets_recv", _net("receive_packets", "Packets received.")),
    ("errin", _net("receive_errs", "Packets that were received in error.")),
    ("dropin", _net("receive_drop", "Packets received that were dropped.")),
    ("bytes_sent", _net("transmit_bytes", "Bytes sent.")),
    ("packets_sent", _net("transmit_packets", "Packets sent.")),
    ("errout", _net("transmit_errs", "Packets that could not be sent for an error.")),
    ("dropout", _net("transmit_drop", "Packets to be sent that were dropped.")),
)


def _read() -> Mapping[str, Any]:
    return psutil.net_io_counters(pernic=True)


class NetdevCollector:
    name = "netdev"

    def __init__(
        self,
        wanted: Wanted = every,
        read: Callable[[], Mapping[str, Any]] = _read,
    ) -> None:
        self._wanted, self._read = wanted, read

    def collect(self) -> Iterator[Found]:
        yield from told(self._read(), self._wanted)


def told(nics: Mapping[str, Any], wanted: Wanted) -> Iterator[Found]:
    kept = {name: nics[name] for name in nics if wanted(name)}
    for field, family in _COUNTERS:
        yield family, {(name,): getattr(nic, field) for name, nic in kept.items()}
