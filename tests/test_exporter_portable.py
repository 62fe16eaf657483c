"""What psutil tells on macOS and Windows, and its sensors, under node_exporter's names."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.block import Block
from exporter.collectors.base import Collector, NoDataError
from exporter.collectors.portable.boottime import BoottimeCollector
from exporter.collectors.portable.cpu import CpuCollector
from exporter.collectors.portable.diskstats import DiskstatsCollector
from exporter.collectors.portable.filesystem import FilesystemCollector
from exporter.collectors.portable.loadavg import LoadavgCollector
from exporter.collectors.portable.meminfo import MeminfoCollector
from exporter.collectors.portable.netclass import NetclassCollector
from exporter.collectors.portable.netdev import NetdevCollector
from exporter.collectors.portable.osrelease import OsCollector, Release, this_release
from exporter.collectors.portable.process import ProcessCollector
from exporter.collectors.portable.table import COLLECTORS, Settings, portable_collectors
from exporter.collectors.portable.time import TimeCollector
from exporter.collectors.portable.uname import UnameCollector
from exporter.collectors.sensors import SensorsCollector
from exporter.page import TEXT, render

of = SimpleNamespace

MAC_MEMORY = of(total=16 << 30, available=6 << 30, percent=62.5, used=9 << 30, free=1 << 30,
                active=5 << 30, inactive=4 << 30, wired=3 << 30)  # fmt: skip
WINDOWS_MEMORY = of(total=8 << 30, available=2 << 30, percent=75.0, used=6 << 30, free=2 << 30)
MAC_SWAP = of(total=2 << 30, used=1 << 30, free=1 << 30, percent=50.0, sin=4096, sout=8192)
DISK = of(read_count=10, write_count=20, read_bytes=4096, write_bytes=8192,
          read_time=1500, write_time=250)  # fmt: skip
NIC = of(bytes_sent=1, bytes_recv=2, packets_sent=3, packets_recv=4,
         errin=5, errout=6, dropin=7, dropout=8)  # fmt: skip


def page_of(collector: Collector) -> str:
    part, dropped = Block().take(collector.collect())
    assert dropped == []
    return render([part], TEXT).decode()


def samples(collector: Collector) -> set[str]:
    return {line for line in page_of(collector).splitlines() if not line.startswith("#")}


def except_for(*names: str) -> Any:
    return lambda name: name not in names


class Process:
    """A psutil.Process as macOS has it."""

    def cpu_times(self) -> Any:
        return of(user=1.5, system=0.25)

    def memory_info(self) -> Any:
        return of(rss=1000, vms=2000)

    def create_time(self) -> float:
        return 1_700_000_000.5

    def num_fds(self) -> int:
        return 12


def cet(at: float) -> time.struct_time:
    return time.struct_time((*time.gmtime(at)[:9], "CET", 3600))


PAGES = [
    pytest.param(
        CpuCollector(lambda: [of(user=1.0, nice=0.5, system=2.0, idle=9.0)]),
        ['node_cpu_seconds_total{cpu="0",mode="user"} 1.0',
         'node_cpu_seconds_total{cpu="0",mode="nice"} 0.5',
         'node_cpu_seconds_total{cpu="0",mode="system"} 2.0',
         'node_cpu_seconds_total{cpu="0",mode="idle"} 9.0'],
        id="macOS has four modes of a CPU"),
    pytest.param(
        CpuCollector(lambda: [of(user=1.0, system=2.0, idle=9.0, interrupt=0.5, dpc=0.25)]),
        ['node_cpu_seconds_total{cpu="0",mode="user"} 1.0',
         'node_cpu_seconds_total{cpu="0",mode="system"} 1.25',
         'node_cpu_seconds_total{cpu="0",mode="idle"} 9.0',
         'node_cpu_seconds_total{cpu="0",mode="irq"} 0.5',
         'node_cpu_seconds_total{cpu="0",mode="softirq"} 0.25'],
        id="in Windows interrupts are taken out of the kernel's time"),
    pytest.param(
        LoadavgCollector(lambda: (0.419921875, 1.0, 2.5)),
        ["node_load1 0.42", "node_load5 1.0", "node_load15 2.5"],
        id="loads are in hundredths"),
    pytest.param(
        MeminfoCollector(lambda: WINDOWS_MEMORY, lambda: MAC_SWAP),
        [f"node_memory_MemTotal_bytes {8 << 30}", f"node_memory_MemAvailable_bytes {2 << 30}",
         f"node_memory_MemFree_bytes {2 << 30}", f"node_memory_SwapTotal_bytes {2 << 30}",
         f"node_memory_SwapFree_bytes {1 << 30}"],
        id="Windows' memory lacks what psutil does not tell there"),
    pytest.param(
        MeminfoCollector(lambda: MAC_MEMORY, lambda: MAC_SWAP),
        [f"node_memory_MemTotal_bytes {16 << 30}", f"node_memory_MemAvailable_bytes {6 << 30}",
         f"node_memory_MemFree_bytes {1 << 30}", f"node_memory_Active_bytes {5 << 30}",
         f"node_memory_Inactive_bytes {4 << 30}", f"node_memory_SwapTotal_bytes {2 << 30}",
         f"node_memory_SwapFree_bytes {1 << 30}", f"node_memory_total_bytes {16 << 30}",
         f"node_memory_free_bytes {1 << 30}", f"node_memory_active_bytes {5 << 30}",
         f"node_memory_inactive_bytes {4 << 30}", f"node_memory_wired_bytes {3 << 30}",
         f"node_memory_swap_total_bytes {2 << 30}", f"node_memory_swap_used_bytes {1 << 30}",
         "node_memory_swapped_in_bytes_total 4096", "node_memory_swapped_out_bytes_total 8192"],
        id="macOS' memory comes under both systems' names"),
    pytest.param(
        DiskstatsCollector(except_for("disk9"), lambda: {"disk0": DISK, "disk9": DISK}),
        ['node_disk_reads_completed_total{device="disk0"} 10',
         'node_disk_read_bytes_total{device="disk0"} 4096',
         'node_disk_read_time_seconds_total{device="disk0"} 1.5',
         'node_disk_writes_completed_total{device="disk0"} 20',
         'node_disk_written_bytes_total{device="disk0"} 8192',
         'node_disk_write_time_seconds_total{device="disk0"} 0.25'],
        id="times of disks are in seconds, disks can be left out"),
    pytest.param(
        NetdevCollector(except_for("lo0"), lambda: {"en0": NIC, "lo0": NIC}),
        ['node_network_receive_bytes_total{device="en0"} 2',
         'node_network_receive_packets_total{device="en0"} 4',
         'node_network_receive_errs_total{device="en0"} 5',
         'node_network_receive_drop_total{device="en0"} 7',
         'node_network_transmit_bytes_total{device="en0"} 1',
         'node_network_transmit_packets_total{device="en0"} 3',
         'node_network_transmit_errs_total{device="en0"} 6',
         'node_network_transmit_drop_total{device="en0"} 8'],
        id="traffic goes under Linux' names"),
    pytest.param(
        NetclassCollector(read=lambda: {"Ethernet": of(isup=True, speed=1000, mtu=1500),
                                        "Wi-Fi": of(isup=False, speed=0, mtu=1500)}),
        ['node_network_up{device="Ethernet"} 1', 'node_network_up{device="Wi-Fi"} 0',
         'node_network_speed_bytes{device="Ethernet"} 125000000',
         'node_network_mtu_bytes{device="Ethernet"} 1500',
         'node_network_mtu_bytes{device="Wi-Fi"} 1500'],
        id="a speed of 0 is one that is not known"),
    pytest.param(
        TimeCollector(lambda: 1000.5, cet),
        ["node_time_seconds 1000.5", 'node_time_zone_offset_seconds{time_zone="CET"} 3600'],
        id="the clock and its zone"),
    pytest.param(BoottimeCollector(lambda: 99.0), ["node_boot_time_seconds 99.0"], id="the start"),
    pytest.param(
        UnameCollector(lambda: of(system="Darwin", node="mini.example.org", release="23.1.0",
                                  version="Darwin Kernel Version 23", machine="arm64")),
        ['node_uname_info{domainname="example.org",machine="arm64",nodename="mini",'
         'release="23.1.0",sysname="Darwin",version="Darwin Kernel Version 23"} 1'],
        id="the domain is what follows the host's name"),
    pytest.param(
        UnameCollector(lambda: of(system="Windows", node="DESK", release="11",
                                  version="10.0.22631", machine="AMD64")),
        ['node_uname_info{domainname="(none)",machine="AMD64",nodename="DESK",'
         'release="11",sysname="Windows",version="10.0.22631"} 1'],
        id="a host without a domain"),
    pytest.param(
        OsCollector(lambda: Release("macOS", "14.1.2")),
        ['node_os_info{build_id="",id="",id_like="",image_id="",image_version="",name="macOS",'
         'pretty_name="macOS 14.1.2",variant="",variant_id="",version="14.1.2",'
         'version_codename="",version_id="14.1.2"} 1',
         'node_os_version{id="",id_like="",name="macOS"} 14.1'],
        id="a release's number is its first two"),
    pytest.param(
        ProcessCollector(Process, lambda: 256),
        ["process_cpu_seconds_total 1.75", "process_resident_memory_bytes 1000",
         "process_virtual_memory_bytes 2000", "process_start_time_seconds 1700000000.5",
         "process_open_fds 12", "process_max_fds 256"],
        id="the exporter's own process"),
]  # fmt: skip


@pytest.mark.parametrize(("collector", "expected"), PAGES)
def test_what_psutil_tells_comes_under_known_names(
    collector: Collector, expected: list[str]
) -> None:
    assert samples(collector) == set(expected)


MOUNTS = [
    of(device="/dev/disk3s1", mountpoint="/", fstype="apfs", opts="ro,local,rootfs"),
    of(device="C:\\", mountpoint="C:\\", fstype="NTFS", opts="rw,fixed"),
    of(device="D:\\", mountpoint="D:\\", fstype="", opts="cdrom"),
    of(device="nas:/srv", mountpoint="/srv", fstype="nfs", opts="rw"),
    of(device="devfs", mountpoint="/dev", fstype="devfs", opts="rw"),
]


def usage(path: str) -> Any:
    if path == "/srv":
        raise OSError(60, "Operation timed out")
    return of(total=1000, used=600, free=350, percent=63.2)


def test_file_systems_tell_free_and_available_apart_and_an_error() -> None:
    collector = FilesystemCollector(wanted_fs_type=except_for("devfs"), mounts=lambda: MOUNTS,
                                    usage=usage)  # fmt: skip
    windows = 'device="C:\\\\",fstype="NTFS",mountpoint="C:\\\\"'
    found = samples(collector)
    assert {line for line in found if "NTFS" in line} == {
        f"node_filesystem_size_bytes{{{windows}}} 1000",
        f"node_filesystem_free_bytes{{{windows}}} 400",
        f"node_filesystem_avail_bytes{{{windows}}} 350",
        f"node_filesystem_readonly{{{windows}}} 0",
        f"node_filesystem_device_error{{{windows}}} 0",
    }
    assert {line.partition("{")[0] + line[-2:] for line in found if "nfs" in line} == {
        "node_filesystem_device_error 1",
        "node_filesystem_readonly 0",
    }
    assert 'node_filesystem_readonly{device="/dev/disk3s1",fstype="apfs",mountpoint="/"} 1' in found
    assert not any("D:" in line or "devfs" in line for line in found)


def test_a_mount_that_hangs_holds_up_no_other() -> None:
    hanging = threading.Event()

    def stuck(path: str) -> Any:
        if path == "/":
            hanging.wait(20)
        return usage(path)

    collector = FilesystemCollector(mount_timeout=0.05, mounts=lambda: MOUNTS, usage=stuck)
    found = samples(collector)
    hanging.set()
    assert 'node_filesystem_device_error{device="/dev/disk3s1",fstype="apfs",mountpoint="/"} 1' in (
        found
    )
    assert any(line.startswith("node_filesystem_size_bytes") and "NTFS" in line for line in found)


NOTHING = [
    pytest.param(DiskstatsCollector(read=lambda: None), id="Windows counts no disk by itself"),
    pytest.param(OsCollector(Release), id="a system that is neither"),
    pytest.param(SensorsCollector(lambda _: None), id="a virtual machine has no sensor"),
]


@pytest.mark.parametrize("collector", NOTHING)
def test_a_host_without_data_says_so(collector: Collector) -> None:
    with pytest.raises(NoDataError):
        list(collector.collect())


def test_a_process_of_windows_counts_handles() -> None:
    process = of(cpu_times=lambda: of(user=1, system=1), memory_info=lambda: of(rss=1, vms=1),
                 create_time=lambda: 1.0, num_handles=lambda: 77)  # fmt: skip
    found = samples(ProcessCollector(lambda: process, lambda: None))
    assert "process_open_fds 77" in found
    assert not any(line.startswith("process_max_fds") for line in found)


def test_all_of_the_table_work_with_the_real_psutil() -> None:
    everything = portable_collectors(Settings(), [*COLLECTORS, "stat"])
    assert [made.name for made in everything] == list(COLLECTORS)
    for collector in everything:
        if collector.name not in ("os", "sensors"):  # of which this machine may have none
            assert samples(collector) or collector.name == "diskstats"
    assert this_release() == Release()


CHOICES = [
    pytest.param(["cpu", "arp", "netclass"], ["cpu", "netclass"], id="as far as there are such"),
    pytest.param(["stat"], ["boottime"], id="what there is of stat"),
]


@pytest.mark.parametrize(("names", "made"), CHOICES)
def test_collectors_are_chosen_by_their_names(names: list[str], made: list[str]) -> None:
    assert [one.name for one in portable_collectors(Settings(), names)] == made


# --- Sensors -------------------------------------------------------------------------------------


def sensors(**readings: Any) -> SensorsCollector:
    return SensorsCollector(readings.get)


def temperature(label: str, current: float | None, high: Any = None, critical: Any = None) -> Any:
    return of(label=label, current=current, high=high, critical=critical)


SENSORS = [
    pytest.param(
        sensors(sensors_temperatures={"coretemp": [temperature("Core 0", 45.0, 80.0, 100.0)]}),
        ['fleetpulse_sensor_temperature_celsius{chip="coretemp",sensor="Core 0"} 45.0',
         'fleetpulse_sensor_temperature_high_celsius{chip="coretemp",sensor="Core 0"} 80.0',
         'fleetpulse_sensor_temperature_critical_celsius{chip="coretemp",sensor="Core 0"} 100.0'],
        id="a temperature with its limits"),
    pytest.param(
        sensors(sensors_temperatures={"coretemp": [temperature("Core 0", 45.0),
                                                   temperature("Core 0", 46.0)]}),
        ['fleetpulse_sensor_temperature_celsius{chip="coretemp",sensor="Core 0"} 45.0',
         'fleetpulse_sensor_temperature_celsius{chip="coretemp",sensor="Core 0 #2"} 46.0'],
        id="the second processor's label is told apart"),
    pytest.param(
        sensors(sensors_temperatures={"acpitz": [temperature("", None), temperature("", 30.0)]}),
        ['fleetpulse_sensor_temperature_celsius{chip="acpitz",sensor="sensor2"} 30.0'],
        id="a sensor without a label has its number, one that tells nothing is left out"),
    pytest.param(
        sensors(sensors_fans={"thinkpad": [of(label="", current=2700)]}),
        ['fleetpulse_sensor_fan_rpm{chip="thinkpad",sensor="sensor1"} 2700'],
        id="a fan"),
    pytest.param(
        sensors(sensors_battery=of(percent=50, secsleft=3600, power_plugged=False)),
        ["fleetpulse_battery_charge_ratio 0.5", "fleetpulse_battery_left_seconds 3600",
         "fleetpulse_battery_power_plugged 0"],
        id="a battery in use"),
    pytest.param(
        sensors(sensors_battery=of(percent=100, secsleft=-2, power_plugged=True)),
        ["fleetpulse_battery_charge_ratio 1.0", "fleetpulse_battery_power_plugged 1"],
        id="plugged in it lasts for ever"),
]  # fmt: skip


@pytest.mark.parametrize(("collector", "expected"), SENSORS)
def test_sensors(collector: Collector, expected: list[str]) -> None:
    assert samples(collector) == set(expected)


@given(st.lists(st.tuples(st.text(max_size=6), st.none() | st.floats()), max_size=8))
def test_every_sensor_with_a_value_is_told_once(found: list[tuple[str, float | None]]) -> None:
    chips = {"chip": [temperature(label, value) for label, value in found]}
    families: Iterable[Any] = (
        SensorsCollector({"sensors_temperatures": chips}.get).collect() if (found) else []
    )
    Block().take(families)


def test_the_real_psutil_is_asked_for_sensors_or_has_none() -> None:
    with contextlib.suppress(NoDataError):
        Block().take(SensorsCollector().collect())


# --- Nothing of Linux ----------------------------------------------------------------------------

ELSEWHERE = (Path(__file__).parent / "exporter_elsewhere.py").read_text()


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_nothing_that_only_linux_has_is_needed(platform: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, platform],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.split() == sorted(COLLECTORS)
