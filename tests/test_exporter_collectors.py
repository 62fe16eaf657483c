"""Each collector's reckoning, and the whole page of a fake host."""

import re
import socket
from pathlib import Path

import pytest

from exporter.block import Block
from exporter.collectors import (
    cpu,
    diskstats,
    meminfo,
    netclass,
    netdev,
    osrelease,
    pressure,
    softnet,
    timex,
)
from exporter.collectors.base import SHORT_LINES, Host, NoDataError
from exporter.collectors.conntrack import ConntrackCollector
from exporter.collectors.linux import COLLECTORS
from exporter.collectors.netstat import NetstatCollector
from exporter.collectors.pressure import PressureCollector
from exporter.collectors.time import TimeCollector
from exporter.config import ExporterConfig
from exporter.settings.names import COLLECTOR_NAMES
from tests.exporter_fakes import berlin, page_of


def test_the_configuration_knows_the_collectors_of_the_table() -> None:
    assert sorted(COLLECTORS) == sorted(COLLECTOR_NAMES)
    made = {make(Host(), ExporterConfig()).name for make in COLLECTORS.values()}
    assert made == set(COLLECTOR_NAMES)


# user nice system idle iowait
CPU_STEPS = [
    pytest.param([1, 0, 0, 1000, 40], [1, 0, 0, 1100, 39], [1, 0, 0, 1100, 40],
                 id="a mode that slips back stays"),
    pytest.param([1, 0, 0, 1000, 40], [1, 0, 0, 900, 40], [1, 0, 0, 1000, 40], id="idle as well"),
    pytest.param([9, 0, 0, 1000, 40], [1, 0, 0, 700, 0], [1, 0, 0, 700, 0],
                 id="three seconds less idle: re-plugged"),
    pytest.param([9, 0, 0, 1000], [1, 0, 0, 700, 0], [1, 0, 0, 700, 0], id="another kernel's row"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), CPU_STEPS)
def test_cpu_time_never_goes_back(old: cpu.Ticks, new: cpu.Ticks, expected: cpu.Ticks) -> None:
    assert cpu.never_back(old, new, 300) == expected


def test_cpus_have_the_numbers_and_columns_that_the_kernel_gives_them() -> None:
    rows = cpu.parse(b"cpu  9 9 9\ncpu0 100 200 300\ncpu7 1 2 3\nintr 5\n")
    assert rows == {"0": [100, 200, 300], "7": [1, 2, 3]}
    assert cpu.seconds(rows, 100)["7", "system"] == 0.03  # type: ignore[index]
    assert cpu.guest_seconds(rows, 100) == {}


def test_a_guest_is_told_beside_the_modes() -> None:
    rows = {"0": list(range(100, 1100, 100))}
    assert cpu.guest_seconds(rows, 100) == {("0", "user"): 9.0, ("0", "nice"): 10.0}


def test_meminfo_names_and_units() -> None:
    raw = b"MemTotal:  2 kB\nActive(anon): 3 kB\nHugePages_Free:  7\nNFS_Unstable:  0 kB\n"
    assert page_of(meminfo.Fields().told(raw)) == {
        "node_memory_MemTotal_bytes": 2048,
        "node_memory_Active_anon_bytes": 3072,
        "node_memory_HugePages_Free": 7,
        "node_memory_NFS_Unstable_bytes": 0,
    }


def test_meminfo_has_parts_that_are_no_more_than_the_whole() -> None:
    raw = b"MemTotal: 2 kB\nMemFree: 3 kB\nMemAvailable: 2 kB\n"
    _, [dropped] = Block().take(meminfo.Fields().told(raw))
    assert str(dropped) == "node_memory_MemFree_bytes 3072: above_whole"


DISK = b"8 0 sda 1 2 3 4000 5 6 7 8000 9 10000 11000"
DISKS = [
    pytest.param(DISK, 11, id="eleven figures of an old kernel"),
    pytest.param(DISK + b" 1 2 3 4", 15, id="with discards"),
    pytest.param(DISK + b" 1 2 3 4 5 6", 17, id="with flushes"),
    pytest.param(DISK + b" 1 2 3 4 5 6 7 8", 17, id="what a later kernel adds is left out"),
]


@pytest.mark.parametrize(("line", "count"), DISKS)
def test_diskstats_tells_as_much_as_the_kernel(line: bytes, count: int) -> None:
    found = page_of(diskstats.figures(diskstats.parse(line)))
    assert len(found) == count
    assert found['node_disk_read_bytes_total{device="sda"}'] == 3 * 512
    assert found['node_disk_write_time_seconds_total{device="sda"}'] == pytest.approx(8)
    assert found['node_disk_io_now{device="sda"}'] == 9


def test_netdev_reads_a_name_that_touches_its_figures() -> None:
    raw = b"head\nhead\n  eth0:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
    stats = netdev.parse(raw)
    found = page_of(netdev.figures(stats))
    assert found['node_network_receive_bytes_total{device="eth0"}'] == 1
    assert found['node_network_receive_multicast_total{device="eth0"}'] == 8
    assert found['node_network_transmit_compressed_total{device="eth0"}'] == 16


def test_netdev_refuses_a_line_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="3 figures, not 16"):
        netdev.parse(b"head\nhead\n eth0: 1 2 3\n")


def test_netclass_leaves_out_what_a_device_does_not_tell() -> None:
    files = {"operstate": b"down", "flags": b"0x1002", "speed": b"-1", "ifalias": b""}
    found = page_of(netclass.families({"eth9": files, "bonding_masters": {}}))
    assert found == {
        'node_network_up{device="eth9"}': 0,
        'node_network_info{device="eth9",address="",broadcast="",duplex="",ifalias="",'
        'operstate="down"}': 1,
        'node_network_flags{device="eth9"}': 0x1002,
        'node_network_speed_bytes{device="eth9"}': -125000,
    }


def test_netstat_refuses_a_header_without_its_figures() -> None:
    fields = NetstatCollector(Host(), re.compile("."))
    with pytest.raises(ValueError, match="1 figures for 2 names"):
        list(fields.told(b"Tcp: InSegs OutSegs\nTcp: 3\n"))


@pytest.mark.parametrize("raw", [b"Tcp: InSegs\n", b"Tcp: InSegs\nUdp: 3\n", b"\n\n"])
def test_netstat_refuses_lines_that_are_no_pair(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"figures|shorter|belong"):
        list(NetstatCollector(Host(), re.compile(".")).told(raw))


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


@pytest.mark.parametrize("version", ["", "rolling", "edge-20230901"])
def test_an_os_without_a_version_number_has_no_version_metric(version: str) -> None:
    found = page_of(osrelease.families({"id": "arch", "version_id": version}))
    assert [name.partition("{")[0] for name in found] == ["node_os_info"]


TIMEX = [
    pytest.param(0, 0x2000, 1_000_000_000, 1.0, 1.0, id="in nanoseconds"),
    pytest.param(0, 0, 1_000_000, 1.0, 1.0, id="in microseconds"),
    pytest.param(5, 0x40, -2_000_000, -2.0, 0.0, id="not synchronised"),
]


@pytest.mark.parametrize(("state", "status", "offset", "seconds", "synced"), TIMEX)
def test_timex(state: int, status: int, offset: int, seconds: float, synced: float) -> None:
    found = page_of(timex.families(state, timex.Timex(offset=offset, status=status)))
    assert found["node_timex_offset_seconds"] == pytest.approx(seconds)
    assert found["node_timex_sync_status"] == synced


def test_timex_that_is_not_permitted_is_no_fault() -> None:
    def refused() -> tuple[int, timex.Timex]:
        raise PermissionError(1, "Operation not permitted")

    with pytest.raises(NoDataError):
        timex.TimexCollector(Host(), refused).collect()


def test_softnet_of_an_old_kernel_counts_the_lines() -> None:
    found = page_of(softnet.parse(b"0a 00 01\n0b 00 02\n"))
    assert found['node_softnet_processed_total{cpu="1"}'] == 11


def test_pressure_is_in_seconds() -> None:
    raw = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n"
    assert page_of(pressure.parse("cpu", raw)) == {"node_pressure_cpu_waiting_seconds_total": 2.5}


def test_a_host_without_the_subsystem_has_no_data(tmp_path: Path) -> None:
    host = Host(tmp_path, tmp_path, tmp_path)
    for collector in (PressureCollector(host), ConntrackCollector(host)):
        with pytest.raises(NoDataError):
            list(collector.collect())


@pytest.mark.parametrize("sure", [0, SHORT_LINES])
@pytest.mark.parametrize("size", [0, 1, SHORT_LINES - 1, SHORT_LINES, 4096, 4097, 20_000])
def test_a_file_is_read_whole_however_long_it_is(tmp_path: Path, size: int, sure: int) -> None:
    (tmp_path / "table").write_bytes(b"x" * size)
    assert Host(tmp_path).proc("table", sure) == b"x" * size


@pytest.mark.skipif(not Path("/proc/net/udp").exists(), reason="no kernel's table to read")
def test_a_table_of_the_kernel_is_read_whole_at_once() -> None:
    host, sockets = Host(), list[socket.socket]()
    try:
        for _ in range(60):  # some 8 KB of lines
            sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            sockets[-1].bind(("127.0.0.1", 0))
            ports = {one.getsockname()[1] for one in sockets}
            table = host.proc("net/udp", SHORT_LINES)
            told = {int(line.split()[1][-4:], 16) for line in table.splitlines()[1:]}
            assert ports <= told
    finally:
        for one in sockets:
            one.close()


def test_the_time_is_told_where_the_clocks_source_is_hidden(tmp_path: Path) -> None:
    found = page_of(TimeCollector(Host(sysfs=tmp_path), lambda: 5.0, berlin).collect())
    assert found["node_time_seconds"] == 5.0
    assert found['node_time_zone_offset_seconds{time_zone="CET"}'] == 3600
