"""The firewall's table of connections; a full one drops new ones silently."""

from collections.abc import Iterator, Mapping

from exporter.collectors.base import SHORT_LINES, Host, NoDataError
from exporter.families import Found, gauge

_ENTRIES = gauge("node_nf_conntrack_entries", "Connections in the connection tracking table.")
_LIMIT = gauge(
    "node_nf_conntrack_entries_limit", "Connections that the connection tracking table can hold."
)
# Gauges, although they count: that is how node_exporter has them.
_STATS = {
    column: gauge(f"node_nf_conntrack_stat_{column}", f"Connection tracking, all CPUs: {what}.")
    for column, what in {
        "found": "look-ups that found an entry",
        "invalid": "packets that cannot be tracked",
        "ignore": "packets that were not looked up",
        "insert": "entries put into the table",
        "insert_failed": "entries that could not be put into the table",
        "drop": "packets dropped because tracking failed",
        "early_drop": "entries dropped to make room in a full table",
        "search_restart": "look-ups begun anew because the table was resized meanwhile",
    }.items()
}


class ConntrackCollector:
    """node_nf_conntrack_*."""

    name = "conntrack"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[Found]:
        entries = self._host.proc_or_none("sys/net/netfilter/nf_conntrack_count", SHORT_LINES)
        limit = self._host.proc_or_none("sys/net/netfilter/nf_conntrack_max", SHORT_LINES)
        if entries is None or limit is None:
            raise NoDataError("connections are not tracked here")
        yield _ENTRIES, int(entries)
        yield _LIMIT, int(limit)
        for column, value in parse(self._host.proc("net/stat/nf_conntrack", SHORT_LINES)).items():
            if column in _STATS:
                yield _STATS[column], value


def parse(raw: bytes) -> Mapping[str, int]:
    """A heading, then a line a CPU in hexadecimal. The sum of each column, by its name."""
    heading, *lines = raw.splitlines() or [b""]
    columns = heading.decode().split()
    if "found" not in columns:
        raise ValueError("net/stat/nf_conntrack: no heading that we know")
    sums = [0] * len(columns)
    for line in lines:
        for place, word in zip(range(len(columns)), line.split(), strict=True):
            sums[place] += int(word, 16)
    return dict(zip(columns, sums, strict=True))
