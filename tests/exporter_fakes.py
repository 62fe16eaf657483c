"""A host that never changes, for the exporter's tests."""

import errno
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from exporter.block import Block
from exporter.collectors.base import Collector, Host
from exporter.collectors.cpu import CpuCollector
from exporter.collectors.filesystem import FilesystemCollector
from exporter.collectors.linux import COLLECTORS
from exporter.collectors.sockstat import SockstatCollector
from exporter.collectors.tcpstat import TcpstatCollector
from exporter.collectors.time import TimeCollector
from exporter.collectors.timex import Timex, TimexCollector
from exporter.collectors.uname import UnameCollector
from exporter.config import ExporterConfig
from exporter.families import Found
from exporter.page import TEXT
from exporter.push.answer import Answer, Verdict
from exporter.settings.names import CollectorsConfig
from exporter.sources.sockdiag import Socket
from tests.statvfs_fakes import World, statvfs

DATA = Path(__file__).parent / "data" / "exporter"


def uname() -> os.uname_result:
    return os.uname_result(("Linux", "web1", "6.1.0-18-amd64", "#1 SMP Debian 6.1.76", "x86_64"))


def berlin(at: float) -> time.struct_time:
    parts = time.gmtime(at + 3600)
    return time.struct_time((*parts[:9], "CET", 3600))


def adjtimex() -> tuple[int, Timex]:
    clock = Timex(offset=1_500_000, freq=-65_536_000, maxerror=16_000, esterror=2, status=0x2001)
    clock.tick, clock.tai = 10_000, 37
    return 0, clock


def host(shape: str = "vm") -> Host:
    """Of the fakes in tests/data/exporter: vm, metal, laptop, old."""
    folder = DATA / shape
    return Host(
        folder / "proc", folder / "sys", folder / "root", udev_data=folder / "root/run/udev/data"
    )


def collectors(config: ExporterConfig, shape: str = "vm") -> list[Collector]:
    """Those that the configuration asks for, on a fake host."""
    here = host(shape)
    filesystem = FilesystemCollector(
        here,
        config.filesystem.mount_points_exclude,
        config.filesystem.fs_types_exclude,
        local=statvfs,
        asker=World().asker(),
    )
    faked: dict[str, Collector] = {
        "cpu": CpuCollector(here, config.cpu.guest, ticks=100),
        "filesystem": filesystem,
        "sockstat": SockstatCollector(here, 4096),
        "tcpstat": TcpstatCollector(here, no_diagnosis),
        "time": TimeCollector(here, lambda: 1.79e9, berlin),
        "timex": TimexCollector(here, adjtimex),
        "uname": UnameCollector(here, uname),
    }
    names = config.collectors.names()
    return [faked.get(name) or COLLECTORS[name](host(shape), config) for name in names]


# These ask more of a host than files.
_OF_A_REAL_HOST = frozenset({"script", "sensors", "systemd", "top"})


def every_collector(shape: str) -> list[Collector]:
    """All that a fake host can have, those that are off by default too."""
    names = tuple(name for name in COLLECTORS if name not in _OF_A_REAL_HOST)
    return collectors(ExporterConfig(collectors=CollectorsConfig(enable=names)), shape)


def no_diagnosis(_family: int) -> Iterable[Socket]:
    raise OSError(errno.EPERM, "Operation not permitted")


@dataclass
class FakeCollector:
    """Does what it is told; calls counts the runs that were started."""

    name: str
    work: Callable[[], Iterable[Found]]
    calls: int = 0

    def collect(self) -> Iterable[Found]:
        self.calls += 1
        return self.work()


@dataclass
class FakePost:
    """An API that gives the answers it was told to, then takes everything."""

    answers: list[Answer] = field(default_factory=list)
    got: list[tuple[str, float, bytes]] = field(default_factory=list)
    key: object = "key"

    def key_stamp(self) -> object:
        return self.key

    def send(self, batch_id: str, at: float, body: bytes) -> Answer:
        self.got.append((batch_id, at, body))
        return self.answers.pop(0) if self.answers else Answer(Verdict.SENT)


def samples(text: str) -> dict[str, float]:
    """`name{a="b"}` → value, of a page in the text format."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return {series: float(value) for series, _, value in (line.rpartition(" ") for line in lines)}


def page_of(found: Iterable[Found]) -> dict[str, float]:
    """What a collector found, as on a page. None of it may have been dropped."""
    part, dropped = Block().take(found)
    assert not dropped, [str(one) for one in dropped]
    return samples(part.text(TEXT))
