"""States of TCP sockets, asked of the kernel by netlink; from /proc/net/tcp where it won't."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from exporter.collectors import socktable
from exporter.collectors.base import Host
from exporter.families import Found, Rows, gauge
from exporter.sources.sockdiag import INET, INET6, Socket, tcp_sockets

_STATES = gauge(
    "node_tcp_connection_states",
    "TCP sockets by state; and the bytes that wait in all of them to be read and to be sent.",
    "state",
)
# By the kernel's number (include/net/tcp_states.h); 12 is a socket that is yet to be made.
_NAMES = {
    1: "established",
    2: "syn_sent",
    3: "syn_recv",
    4: "fin_wait1",
    5: "fin_wait2",
    6: "time_wait",
    7: "close",
    8: "close_wait",
    9: "last_ack",
    10: "listen",
    11: "closing",
    12: "syn_recv",
}
_FILES = {INET: "net/tcp", INET6: "net/tcp6"}

Diag = Callable[[int], Iterable[Socket]]


class TcpstatCollector:
    """node_tcp_connection_states. sockets gives those of an address family, or OSError."""

    name = "tcpstat"

    def __init__(self, host: Host, sockets: Diag = tcp_sockets) -> None:
        self._host, self._sockets = host, sockets

    def collect(self) -> Iterator[Found]:
        try:
            found = list(self._sockets(INET))
            if self._host.proc_or_none(_FILES[INET6]) is not None:
                found += self._sockets(INET6)
        except OSError:
            # Not in this kernel, or kept from us; the files take longer but are always there.
            found = list(parse(self._host.proc(_FILES[INET])))
            found += parse(self._host.proc_or_none(_FILES[INET6]) or b"")
        yield _STATES, tally(found)


def parse(raw: bytes) -> Iterator[Socket]:
    """A table of /proc/net; none in an empty one."""
    for state, sent, received in socktable.parse(raw) if raw else ():
        yield int(state, 16), int(received, 16), int(sent, 16)


def tally(sockets: list[Socket]) -> Rows:
    """Only states that occur, and no queues where there is no socket."""
    if not sockets:
        return {}
    counts = Counter(_NAMES.get(state, "unknown") for state, _, _ in sockets)
    rows: dict[tuple[str, ...], float] = {
        (state,): number for state, number in sorted(counts.items())
    }
    rows[("rx_queued_bytes",)] = sum(received for _, received, _ in sockets)
    rows[("tx_queued_bytes",)] = sum(sent for _, _, sent in sockets)
    return rows
