"""What is made of the files of hardware: all but chips that measure and software RAID."""

import errno
import itertools
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.block import Block
from exporter.collectors import (
    bonding,
    cpufreq,
    devices,
    dmi,
    edac,
    powersupplyclass,
    rapl,
    selinux,
    thermal_zone,
)
from exporter.collectors.base import Collector, Host, NoDataError
from exporter.collectors.powersupplyclass import PowersupplyclassCollector
from exporter.collectors.rapl import RaplCollector
from tests.exporter_hardware import HARDWARE, SHAPES, OddHost, fake_host, page, series, write


def as_it_is(_path: str, content: bytes) -> bytes:
    return content


def refused(pattern: str, err: OSError) -> Callable[[str, bytes], bytes]:
    """The kernel will not tell what is in files of that name."""

    def odd(path: str, content: bytes) -> bytes:
        if re.search(pattern, path):
            raise err
        return content

    return odd


DENIED = PermissionError(errno.EACCES, "Permission denied")
ABSENT = OSError(errno.ENODATA, "No data available")

# With nothing of its kind on the host: 1 where that is a success, as it is for node_exporter.
WITHOUT = {
    "bonding": 0, "cpufreq": 1, "dmi": 0, "edac": 1, "hwmon": 0, "mdadm": 0, "nvme": 0,
    "powersupplyclass": 0, "rapl": 0, "selinux": 1, "thermal_zone": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", HARDWARE)
def test_a_host_without_such_hardware(name: str, tmp_path: Path) -> None:
    collector = HARDWARE[name](Host(tmp_path, tmp_path, tmp_path))
    if WITHOUT[name]:
        assert series(collector) == (["node_selinux_enabled 0"] if name == "selinux" else [])
    else:
        with pytest.raises(NoDataError):
            page(collector)


@pytest.mark.parametrize("name", ["hwmon", "nvme", "powersupplyclass", "rapl", "thermal_zone"])
def test_a_class_without_devices_is_a_success(name: str, tmp_path: Path) -> None:
    folders = {"powersupplyclass": "power_supply", "rapl": "powercap", "thermal_zone": "thermal"}
    (tmp_path / "class" / folders.get(name, name)).mkdir(parents=True)
    assert page(HARDWARE[name](Host(tmp_path, tmp_path))) == ""


@pytest.mark.parametrize("name", HARDWARE)
@pytest.mark.parametrize("shape", ["metal", "laptop", "old"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_broken_files_are_told_as_far_as_they_go_or_refused(
    name: str, shape: str, data: st.DataObject
) -> None:
    """The third turn finds what the first two left behind."""
    junk = st.one_of(
        st.binary(max_size=30), st.sampled_from([b"", b"9" * 5000, b"nan", b"-1e999", b"1e308"])
    )

    def odd(path: str, content: bytes) -> bytes:
        # Most of them are as they should be, so that a collector gets beyond its first file.
        what = data.draw(st.integers(0, 9))
        if what == 0:
            raise OSError(errno.EIO, "Input/output error")
        return data.draw(junk) if what == 1 else content

    collector: Collector = HARDWARE[name](OddHost(SHAPES / shape, odd))
    block = Block()
    for _ in range(3):
        try:
            found = list(collector.collect())
        except (ValueError, OSError, NoDataError):
            continue
        block.take(found)


NAMES = [
    pytest.param(b"eth0 eth1\n", ["eth0", "eth1"], id="names in a line"),
    pytest.param(b"\n", [], id="none"),
    pytest.param(b"eth0 ++more++ \n", ["eth0"], id="what did not go into the page is no name"),
]


@pytest.mark.parametrize(("raw", "expected"), NAMES)
def test_names_of_bonds_and_slaves(raw: bytes, expected: list[str]) -> None:
    assert bonding.names(raw) == expected


LINKS = [
    pytest.param(b"up\n", True, id="up"),
    pytest.param(b"down\n", False, id="down"),
    pytest.param(b"going down\n", False, id="on its way down"),
    pytest.param(b"going back\n", False, id="on its way up"),
    pytest.param(b"", False, id="not to be read"),
]


@pytest.mark.parametrize(("state", "expected"), LINKS)
def test_links_that_are_up(state: bytes, expected: bool) -> None:
    assert bonding.is_up(state) is expected


def test_a_bond_that_leaves_while_it_is_looked_at_has_no_slaves() -> None:
    host = OddHost(SHAPES / "metal", refused("slaves", FileNotFoundError(errno.ENOENT, "gone")))
    assert 'node_bonding_slaves{master="bond0"} 0' in series(bonding.BondingCollector(host))


def test_cpus_are_found_in_their_order() -> None:
    assert cpufreq.cpus(["cpu0", "cpu10", "cpu2", "cpufreq", "cpuidle"]) == ["0", "2", "10"]


HERTZ = [
    pytest.param(b"2400000\n", 2_400_000_000, id="kHz are told as Hz"),
    pytest.param(b"<unknown>\n", None, id="a driver that does not know"),
]


@pytest.mark.parametrize(("raw", "expected"), HERTZ)
def test_frequencies(raw: bytes, expected: int | None) -> None:
    assert cpufreq.in_hertz("scaling_cur_freq", raw) == expected


def test_a_frequency_that_cannot_be_asked_for_now_is_left_out() -> None:
    host = OddHost(SHAPES / "old", refused("cpuinfo_cur_freq", OSError(errno.EIO, "I/O error")))
    lines = series(cpufreq.CpufreqCollector(host))
    assert not any(line.startswith("node_cpu_frequency_hertz") for line in lines)
    assert 'node_cpu_scaling_governor{cpu="0",governor="ondemand"} 1' in lines


def test_a_cpu_that_was_switched_on_is_found(tmp_path: Path) -> None:
    cpu = "devices/system/cpu"
    write(tmp_path, {f"{cpu}/online": "0\n", f"{cpu}/cpu0/cpufreq/scaling_cur_freq": "800000\n"})
    collector = cpufreq.CpufreqCollector(Host(tmp_path, tmp_path))
    first = series(collector)
    write(tmp_path, {f"{cpu}/online": "0-1\n", f"{cpu}/cpu1/cpufreq/scaling_cur_freq": "900000\n"})
    assert [*first, *series(collector)] == [
        'node_cpu_scaling_frequency_hertz{cpu="0"} 800000000',
        'node_cpu_scaling_frequency_hertz{cpu="0"} 800000000',
        'node_cpu_scaling_frequency_hertz{cpu="1"} 900000000',
    ]


def test_cpus_that_let_one_wait_are_asked_at_the_same_time() -> None:
    """Which nobody sees on the page; the host is not asked for these files any more."""
    asked, now = list[str](), itertools.count()

    def odd(path: str, content: bytes) -> bytes:
        asked.append(path)
        return content

    host = OddHost(SHAPES / "laptop", odd)
    collector = cpufreq.CpufreqCollector(host, clock=lambda: next(now))
    first = page(collector)
    asked.clear()
    assert page(collector) == first
    assert not any(path.endswith("_freq") for path in asked)


def test_dmi_has_a_label_for_each_file_that_may_be_read() -> None:
    ((family, rows),) = dmi.info({"bios_vendor": b" SeaBIOS \n", "board_asset_tag": b"\n"})
    assert (family.labels, rows) == (("bios_vendor", "board_asset_tag"), {("SeaBIOS", ""): 1})


def test_dmi_leaves_out_what_is_for_root_alone_and_reads_once() -> None:
    asked = list[str]()

    def odd(path: str, content: bytes) -> bytes:
        asked.append(path)
        return refused("product_name", DENIED)(path, content)

    collector = dmi.DmiCollector(OddHost(SHAPES / "vm", odd))
    first = page(collector)
    assert "product_name" not in first
    assert 'system_vendor="QEMU"' in first
    count = len(asked)
    assert page(collector) == first
    assert len(asked) == count


def test_edac_reads_rows_besides_those_that_are_not_known() -> None:
    files = {family.name: paths for family, paths in edac.plan({"mc1": ["csrow0"]}).items()}
    mc1 = "devices/system/edac/mc/mc1"
    assert files["node_edac_correctable_errors_total"] == {("1",): f"{mc1}/ce_count"}
    assert files["node_edac_csrow_uncorrectable_errors_total"] == {
        ("1", "unknown"): f"{mc1}/ue_noinfo_count",
        ("1", "0"): f"{mc1}/csrow0/ue_count",
    }


def test_edac_fails_where_a_count_cannot_be_read() -> None:
    host = OddHost(SHAPES / "metal", refused("ue_count", DENIED))
    with pytest.raises(PermissionError):
        page(edac.EdacCollector(host))


ZONES = [
    pytest.param(["package-0", "package-1"], [("package", 0), ("package", 1)],
                 id="a number in the name is the index"),
    pytest.param(["dram", "core", "dram"], [("dram", 0), ("core", 0), ("dram", 1)],
                 id="without one they are counted"),
    pytest.param(["package-0-die-1"], [("package-0-die-1", 0)], id="two dashes make no number"),
    pytest.param(["psys-x"], [("psys-x", 0)], id="nor does a word"),
    pytest.param(["package-3", "package"], [("package", 3), ("package", 4)],
                 id="counting goes on from a number"),
]  # fmt: skip


@pytest.mark.parametrize(("names", "expected"), ZONES)
def test_zones_of_energy(names: list[str], expected: list[tuple[str, int]]) -> None:
    assert [zone[1:] for zone in rapl.zones(("folder", name) for name in names)] == expected


def test_a_zone_may_be_a_label_instead_of_a_name() -> None:
    collector = RaplCollector(fake_host("metal"), zone_label=True)
    path = f"{SHAPES}/metal/sys/class/powercap/intel-rapl:1:0"
    line = f'node_rapl_joules_total{{index="1",path="{path}",rapl_zone="core"}} 5.0'
    assert line in series(collector)


def test_energy_that_root_alone_may_see_is_no_data() -> None:
    host = OddHost(SHAPES / "metal", refused("energy_uj", DENIED))
    with pytest.raises(NoDataError, match="root alone"):
        page(RaplCollector(host))


def test_a_meter_that_begins_again_is_believed_wherever_it_stands() -> None:
    """Were it not, a rate would stand still until the meter is back where it was."""
    at = [b"60000000000"]
    host = OddHost(
        SHAPES / "metal", lambda path, content: at[0] if "energy_uj" in path else content
    )
    collector, block = RaplCollector(host), Block()
    block.take(collector.collect())
    at[0] = b"40000000000"
    part, dropped = block.take(collector.collect())
    assert (set(part.values), dropped) == ({40_000.0}, [])


CONFIGS = [
    pytest.param(b"# SELINUX=disabled\nSELINUX=enforcing\n", 1, id="a comment does not count"),
    pytest.param(b'SELINUX="permissive"\nSELINUXTYPE=targeted\n', 0, id="quotes are taken off"),
    pytest.param(b"SELINUX=disabled\n", -1, id="disabled"),
    pytest.param(b"SELINUXTYPE=targeted\n", -1, id="another key is another key"),
    pytest.param(b"", -1, id="no file"),
]


@pytest.mark.parametrize(("raw", "expected"), CONFIGS)
def test_the_mode_that_is_configured(raw: bytes, expected: int) -> None:
    assert selinux.configured(raw) == expected


STATES = [
    pytest.param({"sys/fs/selinux/enforce": "0"},
                 ["node_selinux_enabled 1", "node_selinux_config_mode 1",
                  "node_selinux_current_mode 0"], id="on, but for now permissive"),
    pytest.param({"sys/fs/selinux/enforce": "0", "proc/self/attr/current": "kernel\0"},
                 ["node_selinux_enabled 0"], id="without a policy it is not on"),
    pytest.param({}, ["node_selinux_enabled 0"], id="a kernel without it"),
]  # fmt: skip


@pytest.mark.parametrize(("files", "expected"), STATES)
def test_selinux(files: dict[str, str], expected: list[str], tmp_path: Path) -> None:
    write(tmp_path, {**files, "root/etc/selinux/config": "SELINUX=enforcing\n"})
    assert series(selinux.SelinuxCollector(OddHost(tmp_path, as_it_is))) == expected


def test_devices_of_a_kind_have_numbers() -> None:
    names = ["cooling_device0", "thermal_zone0", "thermal_zone10", "thermal_zone", "thermal_zonex"]
    expected = [("thermal_zone0", "0"), ("thermal_zone10", "10")]
    assert list(thermal_zone.numbered(names, "thermal_zone")) == expected


def test_a_zone_without_a_temperature_for_now_is_left_out() -> None:
    host = OddHost(SHAPES / "laptop", refused("thermal_zone10/temp", ABSENT))
    lines = series(thermal_zone.ThermalZoneCollector(host))
    assert 'node_thermal_zone_temp{zone="0",type="acpitz"} 47.05' in lines
    assert not any("iwlwifi" in line for line in lines)


def test_supplies_that_have_fewer_words_have_empty_labels() -> None:
    ((family, rows),) = powersupplyclass.info(
        {"AC": {"type": "Mains"}, "BAT0": {"type": "Battery", "status": "Full"}}
    )
    assert family.labels == ("power_supply", "status", "type")
    assert rows == {("AC", "", "Mains"): 1, ("BAT0", "Full", "Battery"): 1}


def test_supplies_can_be_ignored() -> None:
    collector = PowersupplyclassCollector(fake_host("laptop"), re.compile("^(AC|hid)"))
    assert all('power_supply="BAT0"' in line for line in series(collector))


def test_a_battery_that_is_out_tells_what_it_can() -> None:
    host = OddHost(SHAPES / "laptop", refused("BAT0/(energy|voltage|power)", ABSENT))
    lines = series(PowersupplyclassCollector(host))
    assert 'node_power_supply_present{power_supply="BAT0"} 1' in lines
    assert not any(line.startswith("node_power_supply_energy") for line in lines)


def test_what_was_found_out_is_kept_until_something_else_is_seen() -> None:
    made = list[str]()
    kept = devices.Kept(made.append)
    for seen in ("a", "a", "b", "b", "a"):
        kept.of(seen)
    assert made == ["a", "b", "a"]


def test_what_was_found_out_is_looked_at_anew_after_many_turns() -> None:
    made = list[str]()
    kept = devices.Kept(made.append)
    for _ in range(201):
        kept.of("the same")
    assert len(made) == 3


def test_a_device_that_came_back_under_its_old_name_is_another_one(tmp_path: Path) -> None:
    write(tmp_path, {"class/x/dev0": ""})
    before = devices.entries(Host(tmp_path, tmp_path), "class/x")
    (tmp_path / "class/x/dev0").rename(tmp_path / "class/x/old")
    write(tmp_path, {"class/x/dev0": ""})
    (tmp_path / "class/x/old").unlink()
    after = devices.entries(Host(tmp_path, tmp_path), "class/x")
    assert list(before) == list(after)
    assert before != after


REFUSED = [
    pytest.param(b"", id="nothing"),
    pytest.param(b"many", id="a word"),
    pytest.param(b"9" * 5000, id="longer than Python reads"),
    pytest.param(b"99999999999999999999", id="more than 64 bits"),
]


@pytest.mark.parametrize("raw", REFUSED)
def test_what_is_no_number_is_refused_with_the_files_name(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"^class/x: "):
        devices.number("class/x", raw)
