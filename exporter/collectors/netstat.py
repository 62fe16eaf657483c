"""Counters of the network protocols, from /proc/net/netstat, snmp and snmp6."""

import re
from collections.abc import Iterator
from functools import lru_cache

from exporter.collectors.base import Host, read_optional
from fleetpulse.model import MetricFamily, untyped

# Of some 300 fields the ones that node_exporter tells by default.
_FIELDS = re.compile(
    r"(?:.*_(?:InErrors|InErrs)|Ip_Forwarding|Ip(?:6|Ext)_(?:InOctets|OutOctets)"
    r"|Icmp6?_(?:InMsgs|OutMsgs)|TcpExt_(?:Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts)"
    r"|Tcp_(?:ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)"
    r"|Udp6?_(?:InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))"
)
_SNMP6 = re.compile(rb"^([^6\s]*6)(\S+)\s+(\d+)", re.MULTILINE)


class NetstatCollector:
    """node_netstat_*, untyped: the kernel mixes counters and states."""

    name = "netstat"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[MetricFamily]:
        fields = parse(self._host.proc("net/netstat")) | parse(self._host.proc("net/snmp"))
        # There is no such file where IPv6 is off.
        fields |= parse_snmp6(read_optional(f"{self._host.procfs}/net/snmp6") or b"")
        for name, value in fields.items():
            if _is_told(name):
                help_text = f"Statistic {name.replace('_', '', 1)}."
                yield untyped(f"node_netstat_{name}", help_text, value)


@lru_cache(maxsize=2048)  # the same some 400 names each time
def _is_told(name: str) -> bool:
    return _FIELDS.fullmatch(name) is not None


def parse(raw: bytes) -> dict[str, int]:
    """Pairs of lines, `Tcp: InSegs OutSegs` and `Tcp: 3 4` → {"Tcp_InSegs": 3, …}."""
    fields = dict[str, int]()
    lines = raw.splitlines()
    for header, numbers in zip(lines[::2], lines[1::2], strict=True):
        protocol, _, names = header.decode().partition(":")
        values = numbers.decode().partition(":")[2].split()
        for name, value in zip(names.split(), values, strict=True):
            fields[f"{protocol}_{name}"] = int(value)
    return fields


def parse_snmp6(raw: bytes) -> dict[str, int]:
    """`Ip6InOctets  5` → {"Ip6_InOctets": 5}."""
    return {
        f"{protocol.decode()}_{name.decode()}": int(value)
        for protocol, name, value in _SNMP6.findall(raw)
    }
