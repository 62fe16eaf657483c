"""The collectors' names, and which of them run. They themselves are in collectors/table.py."""

from dataclasses import dataclass

from fleetpulse.records import key, several
from fleetpulse.values import switch

COLLECTOR_NAMES = (
    "arp", "bonding", "conntrack", "cpu", "cpufreq", "diskstats", "dmi", "edac", "entropy",
    "filefd", "filesystem", "hwmon", "interrupts", "loadavg", "mdadm", "meminfo", "netclass",
    "netdev", "netstat", "nfs", "nfsd", "nvme", "os", "powersupplyclass", "pressure", "processes",
    "rapl", "schedstat", "script", "selinux", "sensors", "sockstat", "softnet", "stat", "systemd",
    "tcpstat", "textfile", "thermal_zone", "time", "timex", "top", "udp_queues", "uname", "vmstat",
    "xfs", "zfs",
)  # fmt: skip

# These run only when asked for: they cost more, or need what not every host has.
OFF = frozenset(
    {"interrupts", "processes", "script", "sensors", "systemd", "tcpstat", "top"}
)  # fmt: skip

_OTHER_SPELLINGS = {"powersupply": "powersupplyclass"}


def collector_name(value: object) -> str:
    """A name of COLLECTOR_NAMES; ValueError lists them."""
    name = _OTHER_SPELLINGS.get(str(value), value)
    if name not in COLLECTOR_NAMES:
        raise ValueError(f"no collector {value!r}; there are {', '.join(COLLECTOR_NAMES)}")
    return str(name)


@dataclass(frozen=True, slots=True)
class CollectorsConfig:
    """Which collectors run."""

    # Whether those run that are on by default.
    defaults: bool = key(switch, True)
    # These too.
    enable: tuple[str, ...] = key(several(collector_name), ())
    # Not these, whatever else is said.
    disable: tuple[str, ...] = key(several(collector_name), ())

    def names(self) -> list[str]:
        """Those that run, in the order of COLLECTOR_NAMES."""
        return [name for name in COLLECTOR_NAMES if self._runs(name)]

    def _runs(self, name: str) -> bool:
        if name in self.disable:
            return False
        return name in self.enable or (self.defaults and name not in OFF)
