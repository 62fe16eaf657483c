"""Which collectors there are. A new one gets a line here and its name in exporter/config.py."""

from collections.abc import Callable, Mapping

from exporter.collectors.arp import ArpCollector
from exporter.collectors.base import Collector, Host
from exporter.collectors.conntrack import ConntrackCollector
from exporter.collectors.cpu import CpuCollector
from exporter.collectors.diskstats import DiskstatsCollector
from exporter.collectors.entropy import EntropyCollector
from exporter.collectors.filefd import FilefdCollector
from exporter.collectors.filesystem import FilesystemCollector
from exporter.collectors.loadavg import LoadavgCollector
from exporter.collectors.meminfo import MeminfoCollector
from exporter.collectors.netclass import NetclassCollector
from exporter.collectors.netdev import NetdevCollector
from exporter.collectors.netstat import NetstatCollector
from exporter.collectors.osrelease import OsCollector
from exporter.collectors.pressure import PressureCollector
from exporter.collectors.sockstat import SockstatCollector
from exporter.collectors.softnet import SoftnetCollector
from exporter.collectors.stat import StatCollector
from exporter.collectors.time import TimeCollector
from exporter.collectors.timex import TimexCollector
from exporter.collectors.uname import UnameCollector
from exporter.collectors.vmstat import VmstatCollector
from exporter.config import ExporterConfig

Make = Callable[[Host, ExporterConfig], Collector]

COLLECTORS: Mapping[str, Make] = {
    "arp": lambda host, _: ArpCollector(host),
    "conntrack": lambda host, _: ConntrackCollector(host),
    "cpu": lambda host, _: CpuCollector(host),
    "diskstats": lambda host, config: DiskstatsCollector(host, config.diskstats.device_exclude),
    "entropy": lambda host, _: EntropyCollector(host),
    "filefd": lambda host, _: FilefdCollector(host),
    "filesystem": lambda host, config: FilesystemCollector(
        host,
        config.filesystem.mount_points_exclude,
        config.filesystem.fs_types_exclude,
        config.filesystem.mount_timeout,
    ),
    "loadavg": lambda host, _: LoadavgCollector(host),
    "meminfo": lambda host, _: MeminfoCollector(host),
    "netclass": lambda host, _: NetclassCollector(host),
    "netdev": lambda host, config: NetdevCollector(host, config.netdev.device_exclude),
    "netstat": lambda host, _: NetstatCollector(host),
    "os": lambda host, _: OsCollector(host),
    "pressure": lambda host, _: PressureCollector(host),
    "sockstat": lambda host, _: SockstatCollector(host),
    "softnet": lambda host, _: SoftnetCollector(host),
    "stat": lambda host, _: StatCollector(host),
    "time": lambda host, _: TimeCollector(host),
    "timex": lambda host, _: TimexCollector(host),
    "uname": lambda host, _: UnameCollector(host),
    "vmstat": lambda host, _: VmstatCollector(host),
}


def build(config: ExporterConfig) -> list[Collector]:
    """The collectors that the configuration asks for."""
    host = Host(config.procfs, config.sysfs, config.rootfs)
    return [COLLECTORS[name](host, config) for name in config.collectors.names()]
