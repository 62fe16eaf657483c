"""Which collectors there are on Linux. A new one gets a line here, and its name in names.py."""

from collections.abc import Callable, Mapping
from functools import partial

from exporter.collectors.arp import ArpCollector
from exporter.collectors.base import Collector, Host
from exporter.collectors.bonding import BondingCollector
from exporter.collectors.conntrack import ConntrackCollector
from exporter.collectors.cpu import CpuCollector
from exporter.collectors.cpufreq import CpufreqCollector
from exporter.collectors.diskstats import DiskstatsCollector
from exporter.collectors.dmi import DmiCollector
from exporter.collectors.edac import EdacCollector
from exporter.collectors.entropy import EntropyCollector
from exporter.collectors.filefd import FilefdCollector
from exporter.collectors.filesystem import FilesystemCollector
from exporter.collectors.hwmon import HwmonCollector
from exporter.collectors.loadavg import LoadavgCollector
from exporter.collectors.mdadm import MdadmCollector
from exporter.collectors.meminfo import MeminfoCollector
from exporter.collectors.netclass import NetclassCollector
from exporter.collectors.netdev import NetdevCollector
from exporter.collectors.netstat import NetstatCollector
from exporter.collectors.nfs import NfsCollector
from exporter.collectors.nfsd import NfsdCollector
from exporter.collectors.nvme import NvmeCollector
from exporter.collectors.osrelease import OsCollector
from exporter.collectors.powersupplyclass import PowersupplyclassCollector
from exporter.collectors.pressure import PressureCollector
from exporter.collectors.rapl import RaplCollector
from exporter.collectors.schedstat import SchedstatCollector
from exporter.collectors.selinux import SelinuxCollector
from exporter.collectors.sockstat import SockstatCollector
from exporter.collectors.softnet import SoftnetCollector
from exporter.collectors.stat import StatCollector
from exporter.collectors.textfile import TextfileCollector
from exporter.collectors.thermal_zone import ThermalZoneCollector
from exporter.collectors.time import TimeCollector
from exporter.collectors.timex import TimexCollector
from exporter.collectors.udp_queues import UdpQueuesCollector
from exporter.collectors.uname import UnameCollector
from exporter.collectors.vmstat import VmstatCollector
from exporter.collectors.xfs import XfsCollector
from exporter.collectors.zfs import ZfsCollector
from exporter.config import ExporterConfig

# Where Debian's node_exporter looks, and where the packages write that go with it.
_TEXTFILES = "/var/lib/prometheus/node-exporter"

Make = Callable[[Host, ExporterConfig], Collector]


def _arp(host: Host, config: ExporterConfig) -> Collector:
    return ArpCollector(host, config.arp.device_include, config.arp.device_exclude)


def _cpu(host: Host, config: ExporterConfig) -> Collector:
    cpu = config.cpu
    if not (cpu.info or cpu.info_flags_include or cpu.info_bugs_include):
        return CpuCollector(host, cpu.guest)
    from exporter.collectors import cpuinfo

    told = partial(cpuinfo.found, flags=cpu.info_flags_include, bugs=cpu.info_bugs_include)
    return CpuCollector(host, cpu.guest, told)


def _filesystem(host: Host, config: ExporterConfig) -> Collector:
    told = config.filesystem
    return FilesystemCollector(
        host,
        told.mount_points_exclude,
        told.fs_types_exclude,
        told.mount_timeout,
        mount_points_include=told.mount_points_include,
        fs_types_include=told.fs_types_include,
    )


def _hwmon(host: Host, config: ExporterConfig) -> Collector:
    told = config.hwmon
    return HwmonCollector(
        host, told.chip_include, told.chip_exclude, told.sensor_include, told.sensor_exclude
    )


# What is off by default is imported when it is on: a process on every host should stay small.


def _interrupts(host: Host, _config: ExporterConfig) -> Collector:
    from exporter.collectors.interrupts import InterruptsCollector

    return InterruptsCollector(host)


def _processes(host: Host, _config: ExporterConfig) -> Collector:
    from exporter.collectors.processes import ProcessesCollector

    return ProcessesCollector(host)


def _tcpstat(host: Host, _config: ExporterConfig) -> Collector:
    from exporter.collectors.tcpstat import TcpstatCollector

    return TcpstatCollector(host)


def _script(_host: Host, config: ExporterConfig) -> Collector:
    from exporter.collectors.script import Script, ScriptCollector

    return ScriptCollector(
        [
            Script(one.name, one.command, one.timeout, one.interval or 0.0)
            for one in config.script.commands
        ]
    )


def _sensors(_host: Host, _config: ExporterConfig) -> Collector:
    from exporter.collectors.sensors import SensorsCollector

    return SensorsCollector()


def _systemd(_host: Host, config: ExporterConfig) -> Collector:
    from exporter.collectors.systemd import SERVICE, SystemdCollector
    from exporter.sources.bus import SYSTEMD, Bus

    told = config.systemd
    return SystemdCollector(
        told.unit_include.pattern,
        told.unit_exclude.pattern,
        task_metrics=told.task_metrics,
        restarts_metrics=told.restarts_metrics,
        start_time_metrics=told.start_time_metrics,
        bus=Bus(SERVICE, [SYSTEMD]) if told.private else None,
    )


def _top(host: Host, config: ExporterConfig) -> Collector:
    from exporter.collectors.proclist import ProcList
    from exporter.collectors.top import TopCollector

    return TopCollector(ProcList(host), config.top.count)


COLLECTORS: Mapping[str, Make] = {
    "arp": _arp,
    "bonding": lambda host, _: BondingCollector(host),
    "conntrack": lambda host, _: ConntrackCollector(host),
    "cpu": _cpu,
    "cpufreq": lambda host, _: CpufreqCollector(host),
    "diskstats": lambda host, config: DiskstatsCollector(
        host, config.diskstats.device_exclude, config.diskstats.device_include
    ),
    "dmi": lambda host, _: DmiCollector(host),
    "edac": lambda host, _: EdacCollector(host),
    "entropy": lambda host, _: EntropyCollector(host),
    "filefd": lambda host, _: FilefdCollector(host),
    "filesystem": _filesystem,
    "hwmon": _hwmon,
    "interrupts": _interrupts,
    "loadavg": lambda host, _: LoadavgCollector(host),
    "mdadm": lambda host, _: MdadmCollector(host),
    "meminfo": lambda host, _: MeminfoCollector(host),
    "netclass": lambda host, config: NetclassCollector(
        host, config.netclass.ignored_devices, config.netclass.ignore_invalid_speed
    ),
    "netdev": lambda host, config: NetdevCollector(
        host, config.netdev.device_exclude, config.netdev.device_include
    ),
    "netstat": lambda host, config: NetstatCollector(host, config.netstat.fields),
    "nfs": lambda host, _: NfsCollector(host),
    "nfsd": lambda host, _: NfsdCollector(host),
    "nvme": lambda host, _: NvmeCollector(host),
    "os": lambda host, _: OsCollector(host),
    "powersupplyclass": lambda host, config: PowersupplyclassCollector(
        host, config.powersupply.ignored_supplies
    ),
    "pressure": lambda host, _: PressureCollector(host),
    "processes": _processes,
    "rapl": lambda host, config: RaplCollector(host, config.rapl.enable_zone_label),
    "schedstat": lambda host, _: SchedstatCollector(host),
    "script": _script,
    "selinux": lambda host, _: SelinuxCollector(host),
    "sensors": _sensors,
    "sockstat": lambda host, _: SockstatCollector(host),
    "softnet": lambda host, _: SoftnetCollector(host),
    "stat": lambda host, config: StatCollector(host, config.stat.softirq),
    "systemd": _systemd,
    "tcpstat": _tcpstat,
    "textfile": lambda host, config: TextfileCollector(
        list(map(str, config.textfile.directories)), otherwise=host.root(_TEXTFILES)
    ),
    "thermal_zone": lambda host, _: ThermalZoneCollector(host),
    "time": lambda host, _: TimeCollector(host),
    "timex": lambda host, _: TimexCollector(host),
    "top": _top,
    "udp_queues": lambda host, _: UdpQueuesCollector(host),
    "uname": lambda host, _: UnameCollector(host),
    "vmstat": lambda host, config: VmstatCollector(host, config.vmstat.fields),
    "xfs": lambda host, _: XfsCollector(host),
    "zfs": lambda host, _: ZfsCollector(host),
}


def linux_collectors(config: ExporterConfig) -> list[Collector]:
    """Those that the configuration asks for; each reads the host by itself."""
    return [
        COLLECTORS[name](
            Host(config.procfs, config.sysfs, config.rootfs, udev_data=config.udev_data), config
        )
        for name in config.collectors.names()
    ]
