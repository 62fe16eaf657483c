"""The section `exporter` of the configuration file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from exporter.settings.names import CollectorsConfig
from exporter.settings.push import PushConfig
from exporter.settings.sections import (
    ArpConfig,
    CpuConfig,
    DiskstatsConfig,
    FilesystemConfig,
    HwmonConfig,
    NetclassConfig,
    NetdevConfig,
    NetstatConfig,
    PowersupplyConfig,
    RaplConfig,
    ScriptConfig,
    StatConfig,
    SystemdConfig,
    TextfileConfig,
    TopConfig,
    VmstatConfig,
)
from fleetpulse.records import key, optional, path, section, several
from fleetpulse.values import (
    ListenAddress,
    duration,
    format_duration,
    listen_address,
    switch,
    text,
    whole,
)

# Other pages are there.
_TAKEN_PATHS = ("/-/healthy", "/-/ready")


def _url_path(value: object) -> str:
    where = text(value)
    if not where.startswith("/") or set(where) & set("?# %\"'<>\\") or not where.isprintable():
        raise ValueError(f"{where!r} is no path; write for example /metrics")
    if where in _TAKEN_PATHS:
        raise ValueError(f"{where} tells whether the exporter is well; write another")
    return where


@dataclass(frozen=True, slots=True)
class ExporterConfig:
    """This host's metrics: what is told, and where."""

    # Where it listens, one address or several; on all, since scrapers come from other hosts.
    listen: tuple[ListenAddress, ...] = key(
        several(listen_address, or_one=True),
        (ListenAddress("0.0.0.0", 9100),),  # noqa: S104
    )
    # The page's path.
    telemetry_path: str = key(_url_path, "/metrics")
    # More requests for the page at the same time get a 503; 0: no limit.
    max_requests: int = key(whole, 40)
    # Whether the page also tells of the exporter's own process.
    exporter_metrics: bool = key(switch, True)
    # TLS, client certificates, passwords, headers: the exporter-toolkit's file.
    web_config_file: Path | None = key(optional(path), None)
    collectors: CollectorsConfig = section(CollectorsConfig)
    # A collector that takes longer is left out of the page until it came back.
    collector_timeout: float = key(duration, 5.0, more_than="0s")
    arp: ArpConfig = section(ArpConfig)
    cpu: CpuConfig = section(CpuConfig)
    diskstats: DiskstatsConfig = section(DiskstatsConfig)
    filesystem: FilesystemConfig = section(FilesystemConfig)
    hwmon: HwmonConfig = section(HwmonConfig)
    netclass: NetclassConfig = section(NetclassConfig)
    netdev: NetdevConfig = section(NetdevConfig)
    netstat: NetstatConfig = section(NetstatConfig)
    powersupply: PowersupplyConfig = section(PowersupplyConfig)
    rapl: RaplConfig = section(RaplConfig)
    script: ScriptConfig = section(ScriptConfig)
    stat: StatConfig = section(StatConfig)
    systemd: SystemdConfig = section(SystemdConfig)
    textfile: TextfileConfig = section(TextfileConfig)
    top: TopConfig = section(TopConfig)
    vmstat: VmstatConfig = section(VmstatConfig)
    # Where the host's own are mounted, when the exporter runs in a container.
    procfs: Path = key(path, Path("/proc"))
    sysfs: Path = key(path, Path("/sys"))
    rootfs: Path = key(path, Path("/"))
    udev_data: Path = key(path, Path("/run/udev/data"))
    push: PushConfig = section(PushConfig)

    def check(self) -> Iterator[tuple[str, str]]:
        if not self.listen:
            yield "listen", "write at least one address, as in 127.0.0.1:9100"
        if self.filesystem.mount_timeout >= self.collector_timeout:
            most = format_duration(self.collector_timeout)
            yield "filesystem.mount_timeout", f"must be below collector_timeout ({most})"
