"""What single collectors can be told: one record each, defaults as node_exporter has them.

Patterns are looked for anywhere in a name. Of an include and an exclude of the same thing one may
be given: an include takes the place of the exclude's default.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from exporter.settings.patterns import never_or, pattern, pattern_or_none, whole_name
from fleetpulse.records import key, optional, path, record, several
from fleetpulse.values import duration, switch, text, whole

Pattern = re.Pattern[str]

_MOUNT_POINTS = (
    r"^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)"
)
_FS_TYPES = (
    r"^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660"
    r"|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs"
    r"|tracefs)$"
)
# Partitions, loop and RAM disks.
_DISKS = r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$"
_NETSTAT = (
    r"^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)"
    r"|Icmp6?_(InMsgs|OutMsgs)|TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts)"
    r"|Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)"
    r"|Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$"
)
_UNITS_OUT = r".+\.(automount|device|mount|scope|slice|target)"


class Filtered:
    """Base of records with includes and excludes: of each pair one is in force at most."""

    __slots__ = ()
    pairs: ClassVar[tuple[tuple[str, str], ...]] = (("device_include", "device_exclude"),)

    def __post_init__(self) -> None:
        for include, exclude in self.pairs:
            default = type(self).__dataclass_fields__[exclude].default  # type: ignore[attr-defined]
            if getattr(self, include) is not None and getattr(self, exclude) == default:
                object.__setattr__(self, exclude, None)

    def check(self) -> Iterator[tuple[str, str]]:
        for include, exclude in self.pairs:
            if getattr(self, include) is not None and getattr(self, exclude) is not None:
                yield include, f"does not go together with {exclude}; keep one of them"


@dataclass(frozen=True, slots=True)
class ArpConfig(Filtered):
    device_include: Pattern | None = key(pattern_or_none, None)
    device_exclude: Pattern | None = key(pattern_or_none, None)


@dataclass(frozen=True, slots=True)
class CpuConfig:
    # node_cpu_guest_seconds_total.
    guest: bool = key(switch, True)
    # node_cpu_info, and the flags and bugs in it that are told.
    info: bool = key(switch, False)
    info_flags_include: Pattern | None = key(pattern_or_none, None)
    info_bugs_include: Pattern | None = key(pattern_or_none, None)


@dataclass(frozen=True, slots=True)
class DiskstatsConfig(Filtered):
    device_include: Pattern | None = key(pattern_or_none, None)
    device_exclude: Pattern | None = key(pattern_or_none, pattern(_DISKS))


@dataclass(frozen=True, slots=True)
class FilesystemConfig(Filtered):
    pairs = (
        ("mount_points_include", "mount_points_exclude"),
        ("fs_types_include", "fs_types_exclude"),
    )
    # Mounts by place and by type.
    mount_points_include: Pattern | None = key(pattern_or_none, None)
    mount_points_exclude: Pattern | None = key(pattern_or_none, pattern(_MOUNT_POINTS))
    fs_types_include: Pattern | None = key(pattern_or_none, None)
    fs_types_exclude: Pattern | None = key(pattern_or_none, pattern(_FS_TYPES))
    # A mount that is silent for longer has node_filesystem_device_error 1.
    mount_timeout: float = key(duration, 2.0, more_than="0s")


@dataclass(frozen=True, slots=True)
class HwmonConfig(Filtered):
    pairs = (("chip_include", "chip_exclude"), ("sensor_include", "sensor_exclude"))
    chip_include: Pattern | None = key(pattern_or_none, None)
    chip_exclude: Pattern | None = key(pattern_or_none, None)
    # `chip;sensor`, as in `coretemp;temp1`.
    sensor_include: Pattern | None = key(pattern_or_none, None)
    sensor_exclude: Pattern | None = key(pattern_or_none, None)


@dataclass(frozen=True, slots=True)
class NetclassConfig:
    ignored_devices: Pattern = key(never_or, pattern("^$"))
    # Leaves out the speed of devices that do not know theirs.
    ignore_invalid_speed: bool = key(switch, False)


@dataclass(frozen=True, slots=True)
class NetdevConfig(Filtered):
    device_include: Pattern | None = key(pattern_or_none, None)
    # As Debian's package has it: the loopback device is left out.
    device_exclude: Pattern | None = key(pattern_or_none, pattern("^lo$"))


@dataclass(frozen=True, slots=True)
class NetstatConfig:
    # Which fields of /proc/net/netstat, snmp and snmp6 are told.
    fields: Pattern = key(pattern, pattern(_NETSTAT))


@dataclass(frozen=True, slots=True)
class PowersupplyConfig:
    ignored_supplies: Pattern = key(never_or, pattern("^$"))


@dataclass(frozen=True, slots=True)
class RaplConfig:
    # Zones as a label instead of as a part of the metric's name.
    enable_zone_label: bool = key(switch, False)


@dataclass(frozen=True, slots=True)
class ScriptCommand:
    """A program that prints metrics in the text format."""

    # Stands in the metrics about it.
    name: str = key(text)
    # The program and its arguments, one by one: there is no shell.
    command: tuple[str, ...] = key(several(text))
    # It is killed when it takes longer.
    timeout: float = key(duration, 5.0, more_than="0s")
    # How often it runs; without one, for each page.
    interval: float | None = key(optional(duration), None)

    def check(self) -> Iterator[tuple[str, str]]:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", self.name):
            yield "name", "write letters, digits, _, . and -, at most 64"
        if not self.command or not self.command[0]:
            yield "command", "write the program and its arguments, as in [/usr/bin/who, -q]"
        if self.interval is not None and self.interval < 1:
            yield "interval", "must be at least 1s"


@dataclass(frozen=True, slots=True)
class ScriptConfig:
    commands: tuple[ScriptCommand, ...] = key(several(record(ScriptCommand)), ())

    def check(self) -> Iterator[tuple[str, str]]:
        names = [command.name for command in self.commands]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield "commands", f"two have the name {name}; give each its own"


@dataclass(frozen=True, slots=True)
class StatConfig:
    # node_softirqs_total, by vector.
    softirq: bool = key(switch, False)


@dataclass(frozen=True, slots=True)
class SystemdConfig:
    # A unit is told whose whole name matches include and does not match exclude.
    unit_include: Pattern = key(whole_name, whole_name(".+"))
    unit_exclude: Pattern = key(whole_name, whole_name(_UNITS_OUT))
    task_metrics: bool = key(switch, False)
    restarts_metrics: bool = key(switch, False)
    start_time_metrics: bool = key(switch, False)
    # Speaks to systemd itself instead of over D-Bus; root only.
    private: bool = key(switch, False)


@dataclass(frozen=True, slots=True)
class TextfileConfig:
    # Folders whose *.prom files are told; patterns such as /var/lib/*/prom too. Without any,
    # /var/lib/prometheus/node-exporter if it is there, as Debian's node_exporter has it.
    directories: tuple[Path, ...] = key(several(path, or_one=True), ())


@dataclass(frozen=True, slots=True)
class TopConfig:
    # How many processes are told, of those that use most CPU and of those that use most memory.
    count: int = key(whole, 10, least=1, most=100)


@dataclass(frozen=True, slots=True)
class VmstatConfig:
    # Which fields of /proc/vmstat are told.
    fields: Pattern = key(pattern, pattern(r"^(oom_kill|pgpg|pswp|pg.*fault).*"))
