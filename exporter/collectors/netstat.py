"""Counters of the network protocols, from /proc/net/netstat, snmp and snmp6."""

import re
from collections.abc import Iterator
from functools import lru_cache

from exporter.collectors.base import Host
from exporter.collectors.columns import Columns
from exporter.families import Family, Found, untyped

_SNMP6 = re.compile(r"([^6]*6)(.+)")


class NetstatCollector:
    """node_netstat_*, untyped: the kernel mixes counters and states.

    fields: which of some 400 are told, by names such as TcpExt_ListenDrops.
    """

    name = "netstat"

    def __init__(self, host: Host, fields: re.Pattern[str]) -> None:
        self._host, self._fields = host, fields
        self._protocols: dict[bytes, Columns] = {}
        self._snmp6 = Columns(self._of_snmp6)

    def collect(self) -> Iterator[Found]:
        for file in ("net/netstat", "net/snmp"):
            yield from self.told(self._host.proc(file))
        # There is no such file where IPv6 is off.
        words = (self._host.proc_or_none("net/snmp6") or b"").split()
        yield from self._snmp6.told(words[::2], words[1::2])

    def told(self, raw: bytes) -> Iterator[Found]:
        """Of the content of /proc/net/netstat or snmp."""
        for (protocol, *names), figures in pairs(raw):
            yield from self._columns(protocol).told(names, figures)

    def _columns(self, protocol: bytes) -> Columns:
        found = self._protocols.get(protocol)
        if found is None:
            prefix = protocol.decode().removesuffix(":")
            found = self._protocols[protocol] = Columns(
                lambda name: self._family(f"{prefix}_{name}")
            )
        return found

    def _of_snmp6(self, name: str) -> Family | None:
        """`Ip6InOctets` is node_netstat_Ip6_InOctets."""
        match = _SNMP6.fullmatch(name)
        return self._family(f"{match[1]}_{match[2]}") if match else None

    def _family(self, name: str) -> Family | None:
        return _family(name) if self._fields.search(name) else None


def pairs(raw: bytes) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Of each two lines, `Tcp: InSegs OutSegs` and `Tcp: 3 4`, the words; without the second Tcp:.

    ValueError where a line stands alone or two do not belong together.
    """
    lines = raw.splitlines()
    for head, line in zip(lines[::2], lines[1::2], strict=True):
        names, figures = head.split(), line.split()
        if not names or names[:1] != figures[:1]:
            raise ValueError(f"/proc/net: two lines that do not belong together: {line!r}")
        yield names, figures[1:]


@lru_cache(maxsize=2048)
def _family(name: str) -> Family:
    protocol, _, field = name.partition("_")
    return untyped(f"node_netstat_{name}", f"{field} of {protocol}, as the kernel counts it.")
