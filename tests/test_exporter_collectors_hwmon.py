"""How chips that measure are named and what their sensors tell."""

import re
from collections.abc import Collection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.collectors import hwmon, hwmonnames
from exporter.collectors.base import Host
from exporter.collectors.hwmon import HwmonCollector
from exporter.collectors.hwmonnames import Metric, Part
from tests.exporter_hardware import fake_host, series, write

PARTS = [
    pytest.param("temp1_input", Part("temp", "temp1", "input"), id="type, number, element"),
    pytest.param("pwm2", Part("pwm", "pwm2", ""), id="the sensor itself"),
    pytest.param("in0_lcrit_alarm", Part("in", "in0", "lcrit_alarm"), id="with more words"),
    pytest.param("temp1_auto_point1_pwm", Part("temp", "temp1", "auto_point1_pwm"),
                 id="and numbers of their own"),
    pytest.param("temp", Part("temp", "temp0", ""), id="without a number it is the first"),
    pytest.param("fan01_input", Part("fan", "fan1", "input"), id="zeros in front do not count"),
    pytest.param("beep_enable", Part("beep_enable", "beep_enable0", ""), id="a chip's own"),
    pytest.param("fan_mode", None, id="a word behind a type is another type"),
    pytest.param("name", None, id="no sensor"),
    pytest.param("1temp", None, id="no type"),
    pytest.param("temp1x", None, id="no element"),
    pytest.param("temp1_input\n", None, id="no file of the kernel's"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "expected"), PARTS)
def test_the_part_of_a_file_in_its_sensor(file: str, expected: Part | None) -> None:
    assert hwmonnames.part(file) == expected


METRICS = [
    pytest.param("temp", "input", (), ("temp_celsius", 1000), id="thousandths of a degree"),
    pytest.param("temp", "crit_alarm", (), ("temp_crit_alarm_celsius", 1000),
                 id="an alarm of one limit has the unit of the limit"),
    pytest.param("temp", "type", (), ("temp_type", 1), id="a type has none"),
    pytest.param("temp", "fault", (), ("temp_fault", 1), id="nor has a fault"),
    pytest.param("in", "alarm", (), ("in_alarm", 1), id="nor an alarm"),
    pytest.param("in", "beep", (), ("in_beep_enabled", 1), id="beeping is enabled"),
    pytest.param("in", "min", (), ("in_min_volts", 1000), id="thousandths of a volt"),
    pytest.param("cpu", "vid", (), ("cpu_vid_volts", 1000), id="a CPU's voltage"),
    pytest.param("curr", "input", (), ("curr_amps", 1000), id="thousandths of an ampere"),
    pytest.param("power", "average", (), ("power_average_watt", 1_000_000), id="microwatts"),
    pytest.param("power", "accuracy", (), ("power_accuracy", 1_000_000), id="accuracy is a ratio"),
    pytest.param("power", "average_interval_max", (), ("power_average_interval_max_seconds", 1000),
                 id="milliseconds"),
    pytest.param("energy", "input", (), ("energy_joule_total", 1_000_000), id="microjoules"),
    pytest.param("humidity", "input", (), ("humidity", 1_000_000), id="humidity"),
    pytest.param("fan", "input", (), ("fan_rpm", 1), id="revolutions a minute"),
    pytest.param("fan", "target", (), ("fan_target_rpm", 1), id="as they should be"),
    pytest.param("fan", "div", (), ("fan_div", 1), id="other elements of a fan have no unit"),
    pytest.param("pwm", "", ("", "enable"), ("pwm", 1), id="the sensor itself"),
    pytest.param("pwm", "enable", ("", "enable"), ("pwm_enable", 1), id="beside its elements"),
    pytest.param("pwm", "input", ("", "input"), ("pwm_input", 1),
                 id="an input beside the sensor itself keeps its name"),
    pytest.param("intrusion", "alarm", (), ("intrusion_alarm", 1), id="an open case"),
    pytest.param("freq", "input", ("label",), ("freq_freq_mhz", 1_000_000), id="clocks in MHz"),
    pytest.param("freq", "input", (), None, id="but none without a label"),
    pytest.param("fan", "Odd-Name", (), ("fan_odd_name", 1), id="in the letters of a name"),
    pytest.param("temp", "label", (), None, id="a label is no number"),
    pytest.param("vrm", "", (), ("voltage_regulator_version", 1), id="a chip's own"),
    pytest.param("update_interval", "", (), ("update_interval_seconds", 1000), id="in ms"),
    pytest.param("beep_enable", "x", (), None, id="which has no elements"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "element", "others", "expected"), METRICS)
def test_what_an_element_is_told_as(
    kind: str, element: str, others: Collection[str], expected: tuple[str, int] | None
) -> None:
    metric = None if expected is None else Metric(f"node_hwmon_{expected[0]}", expected[1])
    assert hwmonnames.metric(kind, element, {element, *others}) == metric


VALUES = [
    pytest.param(b"48000\n", 1000, 48.0, id="in the unit of the name"),
    pytest.param(b"-2500\n", 1000, -2.5, id="below zero"),
    pytest.param(b"1213\n", 1, 1213, id="a whole number stays one"),
    pytest.param(b"0.5\n", 1, 0.5, id="a fraction as well"),
    pytest.param(b"95.0%\n", 1, None, id="a percentage is no number"),
    pytest.param(b"0 100 200\n", 1, None, id="nor are several"),
    pytest.param(b"", 1, None, id="nor is nothing"),
]


@pytest.mark.parametrize(("raw", "divisor", "expected"), VALUES)
def test_values(raw: bytes, divisor: int, expected: float | None) -> None:
    found = hwmon.value(raw, divisor)
    assert (found, type(found)) == (expected, type(expected))


CHIPS = [
    pytest.param("/sys/devices/platform/coretemp.0", "coretemp", "platform_coretemp_0",
                 id="bus and device"),
    pytest.param("/sys/devices/pci0000:00/0000:00:18.3", "k10temp", "pci0000:00_0000:00:18_3",
                 id="colons stay"),
    pytest.param("/coretemp.0", "coretemp", "coretemp_0", id="a device on no bus"),
    pytest.param("/sys/devices/__", "k10temp", "k10temp", id="a device without a letter"),
    pytest.param(None, "Example-Board Sensors", "example_board_sensors", id="the driver's name"),
    pytest.param(None, "", "hwmon3", id="when all else fails"),
]  # fmt: skip


@pytest.mark.parametrize(("device", "name", "expected"), CHIPS)
def test_names_of_chips(device: str | None, name: str, expected: str) -> None:
    assert hwmonnames.chip(device, name, "hwmon3") == expected


DISTINCT = [
    pytest.param([("a", "x"), ("b", "x")], ["t1", "t1"], ["a", "b"],
                 id="chips of different devices"),
    pytest.param([("a", "x"), ("a", "y")], ["t1", "t2"], ["a", "a"],
                 id="one device, different sensors"),
    pytest.param([("a", "x"), ("a", "Y")], ["t1", "t1"], ["a_x", "a_y"],
                 id="one device, different drivers"),
    pytest.param([("a", "x"), ("a", "x")], ["t1", "t1"], ["a_hwmon0", "a_hwmon1"],
                 id="one device and driver"),
    pytest.param([("a", "x"), ("a", "")], ["t1", "t1"], ["a_x", "a_hwmon1"],
                 id="a driver without a name"),
]  # fmt: skip


@pytest.mark.parametrize(("chips", "sensors", "expected"), DISTINCT)
def test_no_two_sensors_are_called_the_same(
    chips: list[tuple[str, str]], sensors: list[str], expected: list[str]
) -> None:
    folders = [f"hwmon{n}" for n in range(len(chips))]
    having = {folder: {sensor} for folder, sensor in zip(folders, sensors, strict=True)}
    found = hwmonnames.distinct(dict(zip(folders, chips, strict=True)), having)
    assert found == dict(zip(folders, expected, strict=True))


FILTERS = [
    pytest.param(None, None, True, id="no filter"),
    pytest.param("temp", None, True, id="included anywhere in its name"),
    pytest.param("^temp", None, False, id="not included"),
    pytest.param(None, "core", False, id="excluded"),
    pytest.param("core", "core", False, id="excluding wins"),
]


@pytest.mark.parametrize(("include", "exclude", "expected"), FILTERS)
def test_filters(include: str | None, exclude: str | None, expected: bool) -> None:
    patterns = (None if text is None else re.compile(text) for text in (include, exclude))
    assert hwmon.wanted("platform_coretemp_0", *patterns) is expected


def test_chips_and_sensors_can_be_chosen() -> None:
    collector = HwmonCollector(
        fake_host("metal"),
        include=re.compile("coretemp"),
        exclude=re.compile("_1$"),
        sensor_include=re.compile(";temp[12]$"),
        sensor_exclude=re.compile("^platform_coretemp_0;temp2$"),
    )
    chip = 'chip="platform_coretemp_0"'
    assert series(collector) == [
        f'node_hwmon_chip_names{{{chip},chip_name="coretemp"}} 1',
        f'node_hwmon_sensor_label{{{chip},sensor="temp1",label="Package id 0"}} 1',
        f'node_hwmon_temp_crit_celsius{{{chip},sensor="temp1"}} 92.0',
        f'node_hwmon_temp_crit_alarm_celsius{{{chip},sensor="temp1"}} 0.0',
        f'node_hwmon_temp_celsius{{{chip},sensor="temp1"}} 48.0',
        f'node_hwmon_temp_max_celsius{{{chip},sensor="temp1"}} 82.0',
    ]


def test_two_chips_of_one_device_are_told_apart(tmp_path: Path) -> None:
    """Of which a node_exporter before 1.12 tells only one."""
    for n in (0, 1):
        write(tmp_path, {f"class/hwmon/hwmon{n}/name": "asus\n", "devices/platform/wmi/x": ""})
        write(tmp_path, {f"class/hwmon/hwmon{n}/fan1_input": f"{n}000\n"})
        (tmp_path / f"class/hwmon/hwmon{n}/device").symlink_to(tmp_path / "devices/platform/wmi")
    assert series(HwmonCollector(Host(tmp_path, tmp_path)))[2:] == [
        'node_hwmon_fan_rpm{chip="platform_wmi_hwmon0",sensor="fan1"} 0',
        'node_hwmon_fan_rpm{chip="platform_wmi_hwmon1",sensor="fan1"} 1000',
    ]


def test_that_each_device_has_a_folder_named_power_makes_no_sensor(tmp_path: Path) -> None:
    """Or any two chips of a device would have a sensor in common."""
    for n, sensor in enumerate(("fan1_input", "curr1_input")):
        chip = {"name": "x", "power/control": "auto", sensor: "1000", "device/power/control": "on"}
        write(tmp_path / f"class/hwmon/hwmon{n}", chip)
    (tmp_path / "class/hwmon/hwmon1/device").rename(tmp_path / "gone")
    (tmp_path / "class/hwmon/hwmon1/device").symlink_to("../hwmon0/device")
    assert series(HwmonCollector(Host(tmp_path, tmp_path)))[1:] == [
        'node_hwmon_fan_rpm{chip="hwmon0_device",sensor="fan1"} 1000',
        'node_hwmon_curr_amps{chip="hwmon0_device",sensor="curr1"} 1.0',
    ]


def test_what_may_only_be_written_is_not_read(tmp_path: Path) -> None:
    files = {"name": "x", "in0_input": "1", "in0_reset_history": "7"}
    write(tmp_path / "class/hwmon/hwmon0", files)
    (tmp_path / "class/hwmon/hwmon0/in0_reset_history").chmod(0o200)
    lines = series(HwmonCollector(Host(tmp_path, tmp_path)))
    assert lines[1:] == ['node_hwmon_in_volts{chip="x",sensor="in0"} 0.001']


def test_a_sensor_that_comes_and_goes(tmp_path: Path) -> None:
    file = tmp_path / "class/hwmon/hwmon0/temp1_input"
    write(tmp_path, {"class/hwmon/hwmon0/name": "x", "class/hwmon/hwmon0/temp1_input": "1000"})
    collector = HwmonCollector(Host(tmp_path, tmp_path))
    line = 'node_hwmon_temp_celsius{chip="x",sensor="temp1"} 1.0'
    seen = []
    for content in ("1000", None, "1000"):
        file.unlink(missing_ok=True)
        if content is not None:
            file.write_text(content)
        seen.append(line in series(collector))
    assert seen == [True, False, True]


@given(st.text(max_size=60), st.text(max_size=20))
def test_any_file_name_makes_a_valid_metric_or_none(file: str, element: str) -> None:
    for name in (file, f"temp1_{element}"):
        part = hwmonnames.part(name)
        metric = part and hwmonnames.metric(part.type, part.element, {part.element})
        assert metric is None or re.fullmatch(r"[a-z_:][a-z0-9_:]*", metric.name)
