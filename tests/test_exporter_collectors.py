"""Each collector's reckoning, and the whole page of a fake host."""

import os
import re
import threading
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest

from exporter.collectors import (
    cpu,
    diskstats,
    filesystem,
    meminfo,
    netclass,
    netdev,
    netstat,
    osrelease,
    pressure,
    softnet,
    timex,
)
from exporter.collectors.base import Host, NoDataError
from exporter.collectors.conntrack import ConntrackCollector
from exporter.collectors.pressure import PressureCollector
from exporter.collectors.table import COLLECTORS
from exporter.collectors.time import TimeCollector
from exporter.config import COLLECTOR_NAMES, ExporterConfig
from exporter.page import registry_of, render
from exporter.registry import Registry
from fleetpulse.model import MetricFamily
from tests.exporter_fakes import DATA, HOST, berlin, collectors, statvfs, values
from tests.support import wait_for

GOLDEN = DATA / "page.prom"


def seen(families: Iterable[MetricFamily]) -> dict[str, float]:
    return values(list(families))


def test_the_page_of_a_fake_host_is_the_golden_one() -> None:
    """RENEW_GOLDEN=1 writes the file anew."""
    registry = Registry(collectors(ExporterConfig()), 5.0)
    page = render(registry_of(registry.gather), {}).decode()
    steady = re.sub(r"(?m)^(node_scrape_collector_duration_seconds\{.*\}) .*$", r"\1 0", page)
    if os.environ.get("RENEW_GOLDEN"):
        GOLDEN.write_text(steady)
    assert steady == GOLDEN.read_text()


def test_the_configuration_knows_the_collectors_of_the_table() -> None:
    assert sorted(COLLECTORS) == sorted(COLLECTOR_NAMES)
    made = {make(Host(), ExporterConfig()).name for make in COLLECTORS.values()}
    assert made == set(COLLECTOR_NAMES)


CPU_NUMBERS = [
    pytest.param(b"0-3\n", 4, ["0", "1", "2", "3"], id="all online"),
    pytest.param(b"0,2-3\n", 3, ["0", "2", "3"], id="one taken out keeps the others' numbers"),
    pytest.param(b"0-7\n", 2, ["0", "1"], id="a container that sees fewer"),
    pytest.param(b"", 2, ["0", "1"], id="no such file"),
]


@pytest.mark.parametrize(("online", "count", "expected"), CPU_NUMBERS)
def test_cpu_numbers(online: bytes, count: int, expected: list[str]) -> None:
    assert cpu.cpu_numbers(online, count) == expected


CPU_STEPS = [
    pytest.param({"idle": 10.0, "iowait": 4.0}, {"idle": 11.0, "iowait": 3.9},
                 {"idle": 11.0, "iowait": 4.0}, id="a mode that slips back stays"),
    pytest.param({"idle": 10.0, "iowait": 4.0}, {"idle": 9.0, "iowait": 4.0},
                 {"idle": 10.0, "iowait": 4.0}, id="idle as well"),
    pytest.param({"idle": 10.0, "iowait": 4.0}, {"idle": 7.0, "iowait": 0.0},
                 {"idle": 7.0, "iowait": 0.0}, id="three seconds less idle: re-plugged"),
    pytest.param({}, {"idle": 1.0}, {"idle": 1.0}, id="seen for the first time"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), CPU_STEPS)
def test_cpu_time_never_goes_back(old: cpu.Times, new: cpu.Times, expected: cpu.Times) -> None:
    assert cpu.never_back(old, new) == expected


def test_meminfo_names_and_units() -> None:
    raw = b"MemTotal:  2 kB\nActive(anon): 3 kB\nHugePages_Free:  7\nNFS_Unstable:  0 kB\n"
    assert meminfo.parse(raw) == {
        "MemTotal_bytes": 2048,
        "Active_anon_bytes": 3072,
        "HugePages_Free": 7,
        "NFS_Unstable_bytes": 0,
    }


DISK = b"8 0 sda 1 2 3 4000 5 6 7 8000 9 10000 11000"
DISKS = [
    pytest.param(DISK, 11, id="eleven figures of an old kernel"),
    pytest.param(DISK + b" 1 2 3 4", 15, id="with discards"),
    pytest.param(DISK + b" 1 2 3 4 5 6", 17, id="with flushes"),
    pytest.param(DISK + b" 1 2 3 4 5 6 7 8", 17, id="what a later kernel adds is left out"),
]


@pytest.mark.parametrize(("line", "count"), DISKS)
def test_diskstats_tells_as_much_as_the_kernel(line: bytes, count: int) -> None:
    found = seen(diskstats.families(diskstats.parse(line)))
    assert len(found) == count
    assert found['node_disk_read_bytes_total{device="sda"}'] == 3 * 512
    assert found['node_disk_write_time_seconds_total{device="sda"}'] == pytest.approx(8)
    assert found['node_disk_io_now{device="sda"}'] == 9


def test_netdev_reads_a_name_that_touches_its_figures() -> None:
    raw = b"head\nhead\n  eth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
    stats = netdev.parse(raw)
    assert stats["eth0"]["receive_bytes"] == 1
    assert stats["eth0"]["receive_multicast"] == 8
    assert stats["eth0"]["transmit_compressed"] == 16


def test_netdev_refuses_a_line_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="shorter"):
        netdev.parse(b"head\nhead\n eth0: 1 2 3\n")


def test_netclass_leaves_out_what_a_device_does_not_tell() -> None:
    files = {"operstate": b"down", "flags": b"0x1002", "speed": b"-1", "ifalias": b""}
    found = seen(netclass.families({"eth9": files, "bonding_masters": {}}))
    assert found == {
        'node_network_up{device="eth9"}': 0,
        'node_network_info{device="eth9",address="",broadcast="",duplex="",ifalias="",'
        'operstate="down"}': 1,
        'node_network_flags{device="eth9"}': 0x1002,
        'node_network_speed_bytes{device="eth9"}': -125000,
    }


def test_netstat_refuses_a_header_without_its_figures() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        netstat.parse(b"Tcp: InSegs OutSegs\nTcp: 3\n")


MOUNTS = [
    pytest.param(rb"/dev/sda / ext4 rw,ro_x 0 0", ("/dev/sda", "/", "ext4", False), id="writable"),
    pytest.param(rb"/dev/sda / ext4 noatime,ro 0 0", ("/dev/sda", "/", "ext4", True), id="ro"),
    pytest.param(rb"a\040b /m\011\134 x rw 0 0", ("a b", "/m\t\\", "x", False), id="escapes"),
    pytest.param(b"s /\xff x rw 0 0", ("s", "/\ufffd", "x", False), id="no UTF-8"),
]


@pytest.mark.parametrize(("line", "expected"), MOUNTS)
def test_mounts(line: bytes, expected: tuple[str, str, str, bool]) -> None:
    assert filesystem.parse(line) == [filesystem.Mount(*expected)]


EXCLUDED = [
    pytest.param("filesystem", "mount_points_exclude", "/proc/fs", True, id="below /proc"),
    pytest.param("filesystem", "mount_points_exclude", "/process", False, id="not by prefix"),
    pytest.param("filesystem", "mount_points_exclude", "/mnt/data", False, id="a data disk"),
    pytest.param("filesystem", "fs_types_exclude", "cgroup2", True, id="cgroup2"),
    pytest.param("filesystem", "fs_types_exclude", "nfs4", False, id="nfs"),
    pytest.param("diskstats", "device_exclude", "sda1", True, id="a partition"),
    pytest.param("diskstats", "device_exclude", "sda", False, id="a disk"),
    pytest.param("diskstats", "device_exclude", "nvme0n1p2", True, id="a partition of NVMe"),
    pytest.param("diskstats", "device_exclude", "nvme0n1", False, id="an NVMe disk"),
    pytest.param("netdev", "device_exclude", "lo", True, id="loopback"),
    pytest.param("netdev", "device_exclude", "lo0", False, id="not loopback"),
]


@pytest.mark.parametrize(("section", "key", "name", "excluded"), EXCLUDED)
def test_default_exclusions(section: str, key: str, name: str, excluded: bool) -> None:
    pattern = getattr(getattr(ExporterConfig(), section), key)
    assert bool(pattern.search(name)) is excluded


OS_RELEASE = [
    pytest.param('NAME="A \\"B\\""', {"name": 'A "B"'}, id="quotes and escapes"),
    pytest.param("ID=debian\n#ID=x\n\nnonsense", {"id": "debian"}, id="comments and blanks"),
    pytest.param('NAME="open', {"name": '"open'}, id="an open quote"),
]


@pytest.mark.parametrize(("content", "expected"), OS_RELEASE)
def test_os_release(content: str, expected: dict[str, str]) -> None:
    assert osrelease.parse(content) == expected


def test_an_os_without_a_version_number_has_no_version_metric() -> None:
    found = seen(osrelease.families({"id": "arch", "version_id": "rolling"}))
    assert [name.partition("{")[0] for name in found] == ["node_os_info"]


TIMEX = [
    pytest.param(0, 0x2000, 1_000_000_000, 1.0, 1.0, id="in nanoseconds"),
    pytest.param(0, 0, 1_000_000, 1.0, 1.0, id="in microseconds"),
    pytest.param(5, 0x40, -2_000_000, -2.0, 0.0, id="not synchronised"),
]


@pytest.mark.parametrize(("state", "status", "offset", "seconds", "synced"), TIMEX)
def test_timex(state: int, status: int, offset: int, seconds: float, synced: float) -> None:
    found = seen(timex.families(state, timex.Timex(offset=offset, status=status)))
    assert found["node_timex_offset_seconds"] == pytest.approx(seconds)
    assert found["node_timex_sync_status"] == synced


def test_timex_that_is_not_permitted_is_no_fault() -> None:
    def refused() -> tuple[int, timex.Timex]:
        raise PermissionError(1, "Operation not permitted")

    with pytest.raises(NoDataError):
        timex.TimexCollector(Host(), refused).collect()


def test_softnet_of_an_old_kernel_counts_the_lines() -> None:
    found = seen(softnet.parse(b"0a 00 01\n0b 00 02\n"))
    assert found['node_softnet_processed_total{cpu="1"}'] == 11


def test_pressure_is_in_seconds() -> None:
    raw = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n"
    assert seen(pressure.parse("cpu", raw)) == {"node_pressure_cpu_waiting_seconds_total": 2.5}


def test_a_host_without_the_subsystem_has_no_data(tmp_path: Path) -> None:
    host = Host(tmp_path, tmp_path, tmp_path)
    for collector in (PressureCollector(host), ConntrackCollector(host)):
        with pytest.raises(NoDataError):
            list(collector.collect())


def test_the_time_is_told_where_the_clocks_source_is_hidden(tmp_path: Path) -> None:
    found = seen(TimeCollector(Host(sysfs=tmp_path), lambda: 5.0, berlin).collect())
    assert found["node_time_seconds"] == 5.0
    assert found['node_time_zone_offset_seconds{time_zone="CET"}'] == 3600


def test_mounts_are_the_first_process_or_else_our_own(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mounts").write_text("/dev/sda / ext4 rw 0 0\n")
    never = re.compile("^$")
    collector = filesystem.FilesystemCollector(Host(procfs=tmp_path), never, never, 5.0)
    labels = '{device="/dev/sda",mountpoint="/",fstype="ext4"}'
    assert seen(collector.collect())[f"node_filesystem_device_error{labels}"] == 0


def test_a_mount_that_hangs_is_an_error_of_that_mount_alone() -> None:
    release = threading.Event()

    def hanging(path: str) -> SimpleNamespace:
        if path.endswith("/run"):
            assert release.wait(30)
        return statvfs(path)

    never = re.compile("^$")
    collector = filesystem.FilesystemCollector(HOST, never, re.compile("^proc$"), 0.1, hanging)
    found = seen(collector.collect())
    stuck = '{device="tmpfs",mountpoint="/run",fstype="tmpfs"}'
    root = '{device="/dev/sda1",mountpoint="/",fstype="ext4"}'
    assert found[f"node_filesystem_device_error{stuck}"] == 1
    assert f"node_filesystem_size_bytes{stuck}" not in found
    assert found[f"node_filesystem_size_bytes{root}"] == 4096000
    release.set()
    key = f"node_filesystem_size_bytes{stuck}"
    wait_for("the mount to be back", lambda: key in seen(collector.collect()))
