"""The section `exporter` of the configuration file."""

import re
import socket
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PlainSerializer, field_validator, model_validator

from fleetpulse.values import ListenAddress, format_duration, is_label_name
from fleetpulse.yamlconf import Duration, FilePath, Listen, Section

# Names that `collectors` may hold; the collectors themselves are in collectors/table.py.
COLLECTOR_NAMES = (
    "arp", "conntrack", "cpu", "diskstats", "entropy", "filefd", "filesystem", "loadavg", "meminfo",
    "netclass", "netdev", "netstat", "os", "pressure", "sockstat", "softnet", "stat", "time",
    "timex", "uname", "vmstat",
)  # fmt: skip

# node_exporter's defaults, so that a host shows the same series under either; and as in Debian's
# package the loopback device is left out of the traffic.
_MOUNT_POINTS = (
    r"^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)"
)
_FS_TYPES = (
    r"^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660"
    r"|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs"
    r"|tracefs)$"
)
_DISKS = r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$"
_PUSH_PATH = "/api/v1/metrics"


def _pattern(value: object) -> re.Pattern[str]:
    if isinstance(value, re.Pattern):
        return value
    try:
        return re.compile(str(value))
    except re.error as err:
        raise ValueError(f"{value!r} is no regular expression: {err}") from err


Pattern = Annotated[
    re.Pattern[str],
    BeforeValidator(_pattern),
    PlainSerializer(lambda pattern: pattern.pattern),
]


class CollectorsConfig(Section):
    """Which collectors run."""

    # Only these; empty: all.
    enable: tuple[str, ...] = ()
    # Not these.
    disable: tuple[str, ...] = ()

    @field_validator("enable", "disable")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in COLLECTOR_NAMES:
                raise ValueError(f"no collector {name!r}; there are {', '.join(COLLECTOR_NAMES)}")
        return names

    def names(self) -> list[str]:
        chosen = self.enable or COLLECTOR_NAMES
        return [name for name in chosen if name not in self.disable]


class FilesystemConfig(Section):
    # Mounts left out, by place and by type.
    mount_points_exclude: Pattern = re.compile(_MOUNT_POINTS)
    fs_types_exclude: Pattern = re.compile(_FS_TYPES)
    # A mount that is silent for longer has node_filesystem_device_error 1.
    mount_timeout: Duration = Field(2.0, gt=0)


class DiskstatsConfig(Section):
    # Devices left out: partitions, loop and RAM disks.
    device_exclude: Pattern = re.compile(_DISKS)


class NetdevConfig(Section):
    # Devices whose traffic is left out; `^$` leaves out none.
    device_exclude: Pattern = re.compile(r"^lo$")


class PushConfig(Section):
    """Sends the page to the API instead of waiting to be scraped, for hosts behind NAT."""

    # The API's address, without its path; empty: no push.
    url: str = ""
    # Holds a key of scope push; read anew for each page.
    key_file: FilePath | None = None
    # How often a page is made, and how long the API may take to answer.
    interval: Duration = Field(10.0, ge=1)
    timeout: Duration = Field(10.0, gt=0)
    # The name under which the API knows this host; empty: the host's own.
    server: str = ""
    # Unsent pages kept on disk; when there are more, the oldest are dropped and counted.
    spool_pages: int = Field(1000, ge=1, le=1_000_000)
    # Added to every series, where the page itself has no such label.
    labels: dict[str, str] = Field(default_factory=dict)
    # Certificate authority of the API's certificate, where the system does not know it.
    ca_file: FilePath | None = None

    @field_validator("url")
    @classmethod
    def _complete(cls, url: str) -> str:
        if not url.strip():
            return ""
        parts = urlsplit(url.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("write the API's URL, as in https://fleetpulse.example.org:8080")
        if parts.username is not None or parts.password is not None:
            raise ValueError("no user or password in the URL; the key belongs in key_file")
        if parts.query or parts.fragment:
            raise ValueError("write the URL without ? and #; what is needed is added")
        path = parts.path.rstrip("/")
        return parts._replace(path=path.removesuffix(_PUSH_PATH) + _PUSH_PATH).geturl()

    @field_validator("labels")
    @classmethod
    def _label_names(cls, labels: dict[str, str]) -> dict[str, str]:
        for name in labels:
            if not is_label_name(name) or name.startswith("__"):
                raise ValueError(f"{name!r} is no label name; write letters, digits and _")
            if name in ("job", "instance"):
                raise ValueError(f"{name} is set by the API; for the host's name use server")
        return labels

    @model_validator(mode="after")
    def _key_for_url(self) -> Self:
        if self.url and self.key_file is None:
            raise ValueError("push needs key_file, a file with a key of scope push")
        return self

    def server_name(self) -> str:
        return self.server or socket.gethostname()


class ExporterConfig(Section):
    """This host's metrics: what is told, and where."""

    # Where /metrics is; on all addresses, since scrapers come from other hosts.
    listen: Listen = ListenAddress("0.0.0.0", 9100)  # noqa: S104
    collectors: CollectorsConfig = CollectorsConfig()
    # A collector that takes longer is left out of the page until it came back.
    collector_timeout: Duration = Field(5.0, gt=0)
    filesystem: FilesystemConfig = FilesystemConfig()
    diskstats: DiskstatsConfig = DiskstatsConfig()
    netdev: NetdevConfig = NetdevConfig()
    # Where the host's own are mounted, when the exporter runs in a container.
    procfs: FilePath = Path("/proc")
    sysfs: FilePath = Path("/sys")
    rootfs: FilePath = Path("/")
    push: PushConfig = PushConfig()

    @model_validator(mode="after")
    def _mounts_before_collector(self) -> Self:
        if self.filesystem.mount_timeout >= self.collector_timeout:
            most = format_duration(self.collector_timeout)
            raise ValueError(f"filesystem.mount_timeout must be below collector_timeout ({most})")
        return self
