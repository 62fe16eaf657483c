"""Sockets in use, from /proc/net/sockstat and sockstat6."""

import os
from collections.abc import Iterator

from exporter.collectors.base import Host, read_optional
from fleetpulse.model import MetricFamily, gauge


class SockstatCollector:
    """node_sockstat_*."""

    name = "sockstat"

    def __init__(self, host: Host, page_size: int = os.sysconf("SC_PAGE_SIZE")) -> None:
        self._host, self._page_size = host, page_size

    def collect(self) -> Iterator[MetricFamily]:
        for file in ("sockstat", "sockstat6"):  # either is missing where its protocol is off
            raw = read_optional(f"{self._host.procfs}/net/{file}") or b""
            yield from parse(raw, self._page_size)


def parse(raw: bytes, page_size: int) -> Iterator[MetricFamily]:
    """`TCP: inuse 2 mem 3` → node_sockstat_TCP_inuse, _mem (in pages) and _mem_bytes."""
    for line in raw.decode().splitlines():
        protocol, _, rest = line.partition(":")
        words = rest.split()
        for state, number in zip(words[::2], words[1::2], strict=True):
            yield _family(protocol, state, int(number))
            if state == "mem":
                yield _family(protocol, "mem_bytes", int(number) * page_size)


def _family(protocol: str, state: str, value: int) -> MetricFamily:
    if protocol == "sockets":
        help_text = "Number of IPv4 sockets in use."
    else:
        help_text = f"Number of {protocol} sockets in state {state}."
    return gauge(f"node_sockstat_{protocol}_{state}", help_text, value)
