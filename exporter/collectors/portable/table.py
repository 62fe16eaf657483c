"""Which collectors there are where there is no /proc."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from exporter.collectors.base import Collector
from exporter.collectors.portable.boottime import BoottimeCollector
from exporter.collectors.portable.cpu import CpuCollector
from exporter.collectors.portable.diskstats import DiskstatsCollector
from exporter.collectors.portable.filesystem import FilesystemCollector
from exporter.collectors.portable.loadavg import LoadavgCollector
from exporter.collectors.portable.meminfo import MeminfoCollector
from exporter.collectors.portable.netclass import NetclassCollector
from exporter.collectors.portable.netdev import NetdevCollector
from exporter.collectors.portable.osrelease import OsCollector
from exporter.collectors.portable.proclist import ProcList
from exporter.collectors.portable.time import TimeCollector
from exporter.collectors.portable.uname import UnameCollector
from exporter.collectors.portable.wanted import Wanted, every
from exporter.collectors.sensors import SensorsCollector
from exporter.collectors.top import TopCollector


@dataclass(frozen=True, slots=True)
class Settings:
    """What of the configuration matters here."""

    wanted_disk: Wanted = every
    wanted_mount_point: Wanted = every
    wanted_fs_type: Wanted = every
    mount_timeout: float = 2.0  # seconds
    wanted_netdev: Wanted = every
    wanted_netclass: Wanted = every
    top_count: int = 10


Make = Callable[[Settings], Collector]

COLLECTORS: Mapping[str, Make] = {
    "boottime": lambda _: BoottimeCollector(),
    "cpu": lambda _: CpuCollector(),
    "diskstats": lambda settings: DiskstatsCollector(settings.wanted_disk),
    "filesystem": lambda settings: FilesystemCollector(
        settings.wanted_mount_point, settings.wanted_fs_type, settings.mount_timeout
    ),
    "loadavg": lambda _: LoadavgCollector(),
    "meminfo": lambda _: MeminfoCollector(),
    "netclass": lambda settings: NetclassCollector(settings.wanted_netclass),
    "netdev": lambda settings: NetdevCollector(settings.wanted_netdev),
    "os": lambda _: OsCollector(),
    "sensors": lambda _: SensorsCollector(),
    "time": lambda _: TimeCollector(),
    "top": lambda settings: TopCollector(ProcList(), settings.top_count),
    "uname": lambda _: UnameCollector(),
}


def portable_collectors(settings: Settings, names: Iterable[str]) -> list[Collector]:
    """Those of names that there are here; `stat` brings what boottime tells of it."""
    wanted = {"boottime" if name == "stat" else name for name in names}
    return [make(settings) for name, make in COLLECTORS.items() if name in wanted]
