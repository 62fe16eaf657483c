"""What this host's NFS server did, from /proc/net/rpc/nfsd."""

from collections.abc import Iterator

from exporter.collectors.base import Host, NoDataError
from exporter.collectors.nfs import V2, V3, Lines, exactly, lines_of, procedures, words
from exporter.families import Found, Rows, counter, gauge

_HITS = counter(
    "node_nfsd_reply_cache_hits_total", "Calls answered again because the client lost the answer."
)
_MISSES = counter(
    "node_nfsd_reply_cache_misses_total", "Calls whose answer is kept for when it gets lost."
)
_NOCACHE = counter(
    "node_nfsd_reply_cache_nocache_total", "Calls that can be repeated without harm: none kept."
)
_STALE = counter("node_nfsd_file_handles_stale_total", "File handles that were no longer valid.")
_READ = counter("node_nfsd_disk_bytes_read_total", "Bytes that clients read.")
_WRITTEN = counter("node_nfsd_disk_bytes_written_total", "Bytes that clients wrote.")
_THREADS = gauge("node_nfsd_server_threads", "Threads that serve NFS.")
_AHEAD = gauge("node_nfsd_read_ahead_cache_size_blocks", "Size of the read-ahead cache in blocks.")
_NOT_AHEAD = counter(
    "node_nfsd_read_ahead_cache_not_found_total", "Reads that the read-ahead cache did not hold."
)
_PACKETS = counter("node_nfsd_packets_total", "Packets by the protocol that carried them.", "proto")
_CONNECTIONS = counter("node_nfsd_connections_total", "TCP connections that were accepted.")
_ERRORS = counter("node_nfsd_rpc_errors_total", "Calls refused, by what was wrong.", "error")
_RPCS = counter("node_nfsd_server_rpcs_total", "Calls that were received.")
_REQUESTS = counter(
    "node_nfsd_requests_total", "Calls by version of NFS and procedure.", "method", "proto"
)

# Operations by their number in RFC 7530, from Access (3) on, spelt as node_exporter does.
_FIRST_OPERATION = 3
_V4 = words(
    "Access Close Commit Create DelegPurge DelegReturn GetAttr GetFH Link Lock Lockt Locku Lookup"
    " LookupRoot Nverify Open OpenAttr OpenConfirm OpenDgrd PutFH PutPubFH PutRootFH Read ReadDir"
    " ReadLink Remove Rename Renew RestoreFH SaveFH SecInfo SetAttr SetClientID"
    " SetClientIDConfirm Verify Write RelLockOwner"
)
_UNTOLD = {"Null", "PutPubFH", "PutRootFH"}
_DELEGATED = b"wdeleg_getattr"  # a line of its own since Linux 6.7


class NfsdCollector:
    """node_nfsd_*."""

    name = "nfsd"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[Found]:
        raw = self._host.proc_or_none("net/rpc/nfsd")
        if raw is None:
            raise NoDataError("no NFS server in this kernel")
        yield from figures(lines_of(raw))


def figures(lines: Lines) -> Iterator[Found]:
    hits, misses, nocache = exactly(lines, b"rc", 3)
    yield _HITS, hits
    yield _MISSES, misses
    yield _NOCACHE, nocache
    yield _STALE, lines.get(b"fh", [0])[0]
    read, written = exactly(lines, b"io", 2)
    yield _READ, read
    yield _WRITTEN, written
    yield _THREADS, lines.get(b"th", [0])[0]
    size, *_, missed = exactly(lines, b"ra", 12)
    yield _AHEAD, size
    yield _NOT_AHEAD, missed
    _, udp, tcp, connections = exactly(lines, b"net", 4)
    yield _PACKETS, {("tcp",): tcp, ("udp",): udp}
    yield _CONNECTIONS, connections
    calls, _, malformed, unauthorised, other = exactly(lines, b"rpc", 5)
    yield _ERRORS, {("fmt",): malformed, ("auth",): unauthorised, ("cInt",): other}
    yield _RPCS, calls
    yield _REQUESTS, requests(lines)


def requests(lines: Lines) -> Rows:
    rows = dict[tuple[str, ...], float]()
    operations = procedures(lines, b"proc4ops")[_FIRST_OPERATION:]
    for proto, methods, counted in (
        ("2", V2, procedures(lines, b"proc2")),
        ("3", V3, procedures(lines, b"proc3")),
        ("4", _V4, operations),
    ):
        padded = counted + [0] * (len(methods) - len(counted))
        for method, number in zip(methods, padded, strict=False):
            if method not in _UNTOLD:
                rows[method, proto] = number
    if _DELEGATED in lines:
        rows["WdelegGetattr", "4"] = exactly(lines, _DELEGATED, 1)[0]
    return rows
