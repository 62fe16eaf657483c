"""Counters of the network protocols, from /proc/net/netstat, snmp and snmp6."""

import re
from collections.abc import Iterator
from functools import lru_cache

from exporter.collectors.base import Host
from exporter.collectors.columns import Columns, Pairs
from exporter.families import Family, Found, untyped

_SNMP6 = re.compile(r"([^6]*6)(.+)")
_MOST_TABLES = 64  # a kernel has about ten


class NetstatCollector:
    """node_netstat_*, untyped: the kernel mixes counters and states.

    fields: which of some 400 are told, by names such as TcpExt_ListenDrops.
    """

    name = "netstat"

    def __init__(self, host: Host, fields: re.Pattern[str]) -> None:
        self._host, self._fields = host, fields
        self._tables: dict[bytes, Columns] = {}  # by heading
        self._snmp6 = Pairs(self._of_snmp6)

    def collect(self) -> Iterator[Found]:
        for file in ("net/netstat", "net/snmp"):
            yield from self.told(self._host.proc(file))
        # There is no such file where IPv6 is off.
        yield from self._snmp6.told(self._host.proc_or_none("net/snmp6") or b"")

    def told(self, raw: bytes) -> Iterator[Found]:
        """Of pairs of lines, `Tcp: InSegs OutSegs` and `Tcp: 3 4`.

        ValueError where a line stands alone or two do not belong together.
        """
        lines = raw.splitlines()
        for head, line in zip(lines[::2], lines[1::2], strict=True):
            columns = self._tables.get(head)
            if columns is None:
                columns = self._learn(head)
            protocol, *figures = line.split() or [b""]
            if not head.startswith(protocol) or not protocol.endswith(b":"):
                raise ValueError(f"/proc/net: two lines that do not belong together: {line!r}")
            yield from columns.told(figures)

    def _learn(self, head: bytes) -> Columns:
        if len(self._tables) >= _MOST_TABLES:
            self._tables.clear()
        protocol, *names = head.split() or [b""]
        prefix = protocol.decode().removesuffix(":")
        columns = self._tables[head] = Columns(names, lambda name: self._family(f"{prefix}_{name}"))
        return columns

    def _of_snmp6(self, name: str) -> Family | None:
        """`Ip6InOctets` is node_netstat_Ip6_InOctets."""
        match = _SNMP6.fullmatch(name)
        return self._family(f"{match[1]}_{match[2]}") if match else None

    def _family(self, name: str) -> Family | None:
        return _family(name) if self._fields.search(name) else None


@lru_cache(maxsize=2048)
def _family(name: str) -> Family:
    protocol, _, field = name.partition("_")
    return untyped(f"node_netstat_{name}", f"{field} of {protocol}, as the kernel counts it.")
