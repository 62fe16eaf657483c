"""The collectors of the system that this runs on. What belongs to another is not imported."""

import sys

from exporter.collectors.base import Collector
from exporter.config import ExporterConfig
from exporter.filters import Filter


def build(config: ExporterConfig) -> list[Collector]:
    """The collectors that the configuration asks for, as far as there are such here."""
    if sys.platform != "linux":
        return _portable(config)
    from exporter.collectors.linux import linux_collectors

    return linux_collectors(config)


def of_process() -> Collector:
    """process_*, of the exporter itself."""
    if sys.platform != "linux":
        from exporter.collectors.portable.process import ProcessCollector as Portable

        return Portable()
    from exporter.collectors.process import ProcessCollector

    return ProcessCollector()


def _portable(config: ExporterConfig) -> list[Collector]:
    """What psutil gives on other systems, under the same names."""
    from exporter.collectors.portable import table as portable

    places, disks, devices = config.filesystem, config.diskstats, config.netdev
    settings = portable.Settings(
        wanted_disk=Filter(disks.device_include, disks.device_exclude),
        wanted_mount_point=Filter(places.mount_points_include, places.mount_points_exclude),
        wanted_fs_type=Filter(places.fs_types_include, places.fs_types_exclude),
        mount_timeout=places.mount_timeout,
        wanted_netdev=Filter(devices.device_include, devices.device_exclude),
        wanted_netclass=Filter(exclude=config.netclass.ignored_devices),
        top_count=config.top.count,
    )
    return portable.portable_collectors(settings, config.collectors.names())
