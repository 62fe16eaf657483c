"""Sockets in use, from /proc/net/sockstat and sockstat6."""

import os
from collections.abc import Iterator
from functools import lru_cache

from exporter.collectors.base import SHORT_LINES, Host
from exporter.families import Family, Found, gauge


class SockstatCollector:
    """node_sockstat_*."""

    name = "sockstat"

    def __init__(self, host: Host, page_size: int = os.sysconf("SC_PAGE_SIZE")) -> None:
        self._host, self._page_size = host, page_size

    def collect(self) -> Iterator[Found]:
        for file in ("net/sockstat", "net/sockstat6"):  # one is missing where its protocol is off
            yield from parse(self._host.proc_or_none(file, SHORT_LINES) or b"", self._page_size)


def parse(raw: bytes, page_size: int) -> Iterator[Found]:
    """`TCP: inuse 2 mem 3` → node_sockstat_TCP_inuse, _mem (in pages) and _mem_bytes."""
    for line in raw.splitlines():
        protocol, *words = line.split()
        for state, number in zip(words[::2], words[1::2], strict=True):
            yield _family(protocol, state), int(number)
            if state == b"mem":
                yield _family(protocol, b"mem_bytes"), int(number) * page_size


@lru_cache(maxsize=256)
def _family(protocol: bytes, state: bytes) -> Family:
    which, what = protocol.decode().removesuffix(":"), state.decode()
    if which == "sockets":
        return gauge(f"node_sockstat_sockets_{what}", "Sockets in use, of all kinds.")
    return gauge(f"node_sockstat_{which}_{what}", f"{which} sockets: {what} of /proc/net/sockstat.")
