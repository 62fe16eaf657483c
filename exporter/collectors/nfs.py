"""What this host's NFS client did, from /proc/net/rpc/nfs."""

from collections.abc import Iterator, Mapping, Sequence

from exporter.collectors.base import Host, NoDataError
from exporter.families import Found, counter

_PACKETS = counter(
    "node_nfs_packets_total", "Packets by the protocol that carried them.", "protocol"
)
_CONNECTIONS = counter("node_nfs_connections_total", "TCP connections that were made.")
_RPCS = counter("node_nfs_rpcs_total", "Calls that were made.")
_RETRANSMISSIONS = counter("node_nfs_rpc_retransmissions_total", "Calls that had to be sent again.")
_REFRESHES = counter(
    "node_nfs_rpc_authentication_refreshes_total", "Times that credentials were renewed."
)
_REQUESTS = counter(
    "node_nfs_requests_total", "Calls by version of NFS and procedure.", "method", "proto"
)


def words(text: str) -> list[str]:
    return text.split()


# Procedures in the order of the protocols: RFC 1094 and RFC 1813.
V2 = words(
    "Null GetAttr SetAttr Root Lookup ReadLink Read WrCache Write Create Remove Rename Link"
    " SymLink MkDir RmDir ReadDir FsStat"
)
V3 = words(
    "Null GetAttr SetAttr Lookup Access ReadLink Read Write Create MkDir SymLink MkNod Remove"
    " RmDir Rename Link ReadDir ReadDirPlus FsStat FsInfo PathConf Commit"
)
# As the kernel's client counts them (include/linux/nfs4.h), spelt as node_exporter does.
_V4 = words(
    "Null Read Write Commit Open OpenConfirm OpenNoattr OpenDowngrade Close Setattr FsInfo Renew"
    " SetClientID SetClientIDConfirm Lock Lockt Locku Access Getattr Lookup LookupRoot Remove"
    " Rename Link Symlink Create Pathconf StatFs ReadLink ReadDir ServerCaps DelegReturn GetACL"
    " SetACL FsLocations ReleaseLockowner Secinfo FsidPresent ExchangeID CreateSession"
    " DestroySession Sequence GetLeaseTime ReclaimComplete LayoutGet GetDeviceInfo LayoutCommit"
    " LayoutReturn SecinfoNoName TestStateID FreeStateID GetDeviceList BindConnToSession"
    " DestroyClientID Seek Allocate DeAllocate LayoutStats Clone"
)
_KEYS = {
    line: [(method, proto) for method in methods]
    for line, proto, methods in ((b"proc2", "2", V2), (b"proc3", "3", V3), (b"proc4", "4", _V4))
}

Lines = Mapping[bytes, Sequence[int]]


class NfsCollector:
    """node_nfs_*."""

    name = "nfs"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[Found]:
        raw = self._host.proc_or_none("net/rpc/nfs")
        if raw is None:
            raise NoDataError("no NFS client in this kernel")
        yield from figures(lines_of(raw))


def lines_of(raw: bytes) -> Lines:
    """`LABEL NUMBER…` a line; ValueError for one that is not. Fractions are left for others."""
    lines = dict[bytes, Sequence[int]]()
    for line in raw.splitlines():
        label, *words = line.split() or [b""]
        if not words:
            raise ValueError(f"net/rpc: no figures: {line!r}")
        lines[label] = [int(word) for word in words if b"." not in word]
    return lines


def figures(lines: Lines) -> Iterator[Found]:
    _, udp, tcp, connections = exactly(lines, b"net", 4)
    yield _PACKETS, {("udp",): udp, ("tcp",): tcp}
    yield _CONNECTIONS, connections
    calls, again, refreshed = exactly(lines, b"rpc", 3)
    yield _RPCS, calls
    yield _RETRANSMISSIONS, again
    yield _REFRESHES, refreshed
    requests = dict[tuple[str, ...], float]()
    for line, keys in _KEYS.items():
        counted = procedures(lines, line)
        padded = counted + [0] * (len(keys) - len(counted))
        requests.update(zip(keys, padded, strict=False))
    yield _REQUESTS, requests


def exactly(lines: Lines, label: bytes, number: int) -> Sequence[int]:
    """The figures of a line, all 0 where the line is missing."""
    found = lines.get(label, [0] * number)
    if len(found) != number:
        raise ValueError(f"net/rpc: {len(found)} figures in {label!r}, not {number}")
    return found


def procedures(lines: Lines, label: bytes) -> list[int]:
    """A line that begins with how many figures follow."""
    announced, *counted = lines.get(label, [0])
    if announced != len(counted):
        raise ValueError(f"net/rpc: {len(counted)} figures in {label!r}, not {announced}")
    return counted
