"""The firewall's table of connections; a full one drops new ones silently."""

from collections.abc import Iterator

from exporter.collectors.base import Host, NoDataError, read_optional
from fleetpulse.model import MetricFamily, gauge


class ConntrackCollector:
    """node_nf_conntrack_entries and node_nf_conntrack_entries_limit."""

    name = "conntrack"

    def __init__(self, host: Host) -> None:
        self._folder = f"{host.procfs}/sys/net/netfilter"

    def collect(self) -> Iterator[MetricFamily]:
        entries = read_optional(f"{self._folder}/nf_conntrack_count")
        limit = read_optional(f"{self._folder}/nf_conntrack_max")
        if entries is None or limit is None:
            raise NoDataError("connections are not tracked here")
        yield gauge(
            "node_nf_conntrack_entries",
            "Number of currently allocated flow entries for connection tracking.",
            int(entries),
        )
        yield gauge(
            "node_nf_conntrack_entries_limit",
            "Maximum size of connection tracking table.",
            int(limit),
        )
