"""Network devices that are tied together, from /sys/class/net.

Documentation/networking/bonding.rst of the kernel.
"""

from collections.abc import Iterator

from exporter.collectors.base import Host, NoDataError, text
from exporter.families import Found, gauge

_SLAVES = gauge("node_bonding_slaves", "Network devices that a bond consists of", "master", least=0)
_ACTIVE = gauge(
    "node_bonding_active", "Those of a bond's devices whose link is up", "master", whole=_SLAVES
)
# What the kernel writes where the names do not all go into one page.
_CUT_OFF = "++more++"
_NET = "class/net"


class BondingCollector:
    """node_bonding_slaves and node_bonding_active."""

    name = "bonding"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[Found]:
        self._host.sys_devices(_NET)
        masters = self._host.sys_or_none(f"{_NET}/bonding_masters")
        if masters is None:
            raise NoDataError("the kernel's bonding module is not loaded")
        states = {(master,): self._states(master) for master in names(masters)}
        yield _SLAVES, {key: len(found) for key, found in states.items()}
        yield _ACTIVE, {key: sum(map(is_up, found)) for key, found in states.items()}

    def _states(self, master: str) -> list[bytes]:
        """What each slave's link is said to be; nothing of one that left just now."""
        self._host.sys_devices(f"{_NET}/{master}")  # a slave's name may be another's by now
        slaves = self._host.sys_or_none(f"{_NET}/{master}/bonding/slaves")
        return [self._state(master, slave) for slave in names(slaves or b"")]

    def _state(self, master: str, slave: str) -> bytes:
        # Kernels before 3.18 know the slave under another name.
        for link in (f"lower_{slave}", f"slave_{slave}"):
            state = self._host.sys_or_none(f"{_NET}/{master}/{link}/bonding_slave/mii_status")
            if state is not None:
                return state
        return b""


def names(raw: bytes) -> list[str]:
    return [name for name in text(raw).split() if name != _CUT_OFF]


def is_up(state: bytes) -> bool:
    """Neither down nor on its way up or down."""
    return state.strip() == b"up"
