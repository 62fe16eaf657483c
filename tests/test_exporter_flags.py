"""node_exporter's flags: what they set, what they say, and that they win."""

import re
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.config import ExporterConfig
from exporter.settings.flaghelp import flags_help
from exporter.settings.flags import Flags, parse
from exporter.settings.flagtable import ABSENT, DEPRECATED, SETTINGS
from exporter.settings.names import COLLECTOR_NAMES, OFF
from exporter.settings.patterns import pattern, whole_name
from fleetpulse.errors import ConfigError
from fleetpulse.overrides import changed
from fleetpulse.records import key, read_record, section
from fleetpulse.values import one_of
from fleetpulse.yamldoc import Document


@dataclass(frozen=True, slots=True)
class Root:
    log_level: str = key(one_of("info", "warn"), "info")
    log_format: str = key(one_of("text", "json"), "text")
    exporter: ExporterConfig = section(ExporterConfig)


def flags(line: str) -> Flags:
    return parse(line.split(), Root)


def config(line: str, file: str = "") -> ExporterConfig:
    document = Document.parse(file, "f.yml")
    return flags(line).over(read_record(Root, document)).exporter


def faults_of(line: str, file: str = "") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config(line, file)
    return list(caught.value.faults)


def at(root: Any, path: str) -> Any:
    for name in path.split("."):
        root = getattr(root, name)
    return root


SET: list[Any] = [
    ("--web.telemetry-path=/m", "exporter.telemetry_path", "/m"),
    ("--web.max-requests 0", "exporter.max_requests", 0),
    ("--web.disable-exporter-metrics", "exporter.exporter_metrics", False),
    ("--no-web.disable-exporter-metrics", "exporter.exporter_metrics", True),
    ("--web.config.file=web.yml", "exporter.web_config_file", Path("web.yml")),
    ("--web.config.file=", "exporter.web_config_file", None),
    ("--web.config web.yml", "exporter.web_config_file", Path("web.yml")),
    ("--path.procfs=/host/proc", "exporter.procfs", Path("/host/proc")),
    ("--path.sysfs /host/sys", "exporter.sysfs", Path("/host/sys")),
    ("--path.rootfs=/host", "exporter.rootfs", Path("/host")),
    ("--path.udev.data=/u", "exporter.udev_data", Path("/u")),
    ("--log.level=warn", "log_level", "warn"),
    ("--log.format json", "log_format", "json"),
    ("--no-collector.cpu.guest", "exporter.cpu.guest", False),
    ("--collector.cpu.info", "exporter.cpu.info", True),
    (
        "--collector.cpu.info.flags-include=^aes$",
        "exporter.cpu.info_flags_include",
        pattern("^aes$"),
    ),
    (
        "--collector.diskstats.ignored-devices=^ram",
        "exporter.diskstats.device_exclude",
        pattern("^ram"),
    ),
    ("--collector.netdev.device-exclude=", "exporter.netdev.device_exclude", None),
    ("--collector.netdev.device-include=eth", "exporter.netdev.device_exclude", None),
    ("--collector.netdev.device-include=eth", "exporter.netdev.device_include", pattern("eth")),
    ("--collector.systemd.unit-include=a|b", "exporter.systemd.unit_include", whole_name("a|b")),
    ("--collector.systemd.unit-blacklist=a", "exporter.systemd.unit_exclude", whole_name("a")),
    ("--collector.filesystem.mount-timeout=1.5s", "exporter.filesystem.mount_timeout", 1.5),
    ("--collector.filesystem.mount-timeout=1m30s", "exporter.collector_timeout", 91.0),
    ("--collector.disable-defaults", "exporter.collectors.defaults", False),
    (
        "--collector.textfile.directory=/a --collector.textfile.directory /b",
        "exporter.textfile.directories",
        (Path("/a"), Path("/b")),
    ),
    ("--collector.textfile.directory=", "exporter.textfile.directories", ()),
    ("--collector.netdev.netlink --collector.arp.netlink", "exporter", ExporterConfig()),
    ("--collector.filesystem.stat-workers 4", "exporter", ExporterConfig()),
    ("--no-web.systemd-socket", "exporter", ExporterConfig()),
]


@pytest.mark.parametrize(("line", "path", "value"), [pytest.param(*row, id=row[0]) for row in SET])
def test_a_flag_sets_its_setting(line: str, path: str, value: object) -> None:
    assert at(flags(line).over(Root()), path) == value


def test_addresses_can_be_several() -> None:
    made = config("--web.listen-address=:9100 --web.listen-address [::1]:9101")
    assert [str(address) for address in made.listen] == ["0.0.0.0:9100", "[::1]:9101"]


ON = [name for name in COLLECTOR_NAMES if name not in OFF]
CHOSEN = [
    pytest.param("", "", ON, id="nothing said"),
    pytest.param(
        "--collector.systemd --no-collector.arp",
        "",
        [name for name in COLLECTOR_NAMES if name in {*ON, "systemd"} - {"arp"}],
        id="one more and one less",
    ),
    pytest.param(
        "--collector.disable-defaults --collector.cpu --collector.uname",
        "",
        ["cpu", "uname"],
        id="only these",
    ),
    pytest.param(
        "--collector.cpu",
        "exporter: {collectors: {defaults: false, enable: [uname], disable: [cpu]}}",
        ["cpu", "uname"],
        id="on, whatever the file says",
    ),
    pytest.param(
        "--no-collector.cpu",
        "exporter: {collectors: {defaults: false, enable: [uname, cpu]}}",
        ["uname"],
        id="off, whatever the file says",
    ),
    pytest.param(
        "--no-collector.powersupplyclass --no-collector.btrfs --no-collector.wifi",
        "",
        [name for name in ON if name != "powersupplyclass"],
        id="what is not here can be switched off",
    ),
]


@pytest.mark.parametrize(("line", "file", "names"), CHOSEN)
def test_collectors_are_chosen(line: str, file: str, names: list[str]) -> None:
    assert config(line, file).collectors.names() == names


def test_flags_win_over_each_version_of_the_file() -> None:
    given = flags("--web.max-requests=7 --collector.netdev.device-include=^eth")
    for excluded in ("^veth", "^br"):
        file = f"exporter: {{max_requests: 3, netdev: {{device_exclude: '{excluded}'}}}}"
        made = given.over(read_record(Root, Document.parse(file, "f"))).exporter
        assert made.max_requests == 7
        assert made.netdev.device_exclude is None


FAULTS = [
    ("--colector.cpu", "--colector.cpu: no such flag; did you mean --collector.cpu?"),
    ("--no-colector.cpu", "--no-colector.cpu: no such flag; did you mean --no-collector.cpu?"),
    ("--zzz", "--zzz: no such flag; --help lists all"),
    ("-collector.cpu", "-collector.cpu: a flag begins with two dashes: --collector.cpu"),
    ("cpu", "cpu: no argument goes here; flags are written as --name=value"),
    ("--collector.cpu=true", "--collector.cpu: takes no value; write --collector.cpu or --no-"),
    ("--web.max-requests", "--web.max-requests: a value is missing; write --web.max-requests=VAL"),
    ("--web.max-requests=x", "--web.max-requests: 'x' is no whole number from 0 up"),
    ("--collector.cpu --collector.cpu", "--collector.cpu: is there twice; keep one of them"),
    ("--collector.cpu --no-collector.cpu", "--collector.cpu: is there twice; keep one of them"),
    (
        "--collector.netdev.device-exclude=a --collector.netdev.device-blacklist=b",
        "--collector.netdev.device-blacklist: the same as --collector.netdev.device-exclude; keep",
    ),
    (
        "--collector.netdev.device-exclude=a --collector.netdev.device-include=b",
        "--collector.netdev.device-exclude, --collector.netdev.device-include: "
        "exporter.netdev.device_include: does not go together with device_exclude; keep one",
    ),
    (
        "--collector.btrfs",
        "--collector.btrfs: there is no collector btrfs here; leave the flag out",
    ),
    ("--web.systemd-socket", "--web.systemd-socket: sockets of systemd's are not taken; name the"),
    ("--runtime.gomaxprocs=2", "--runtime.gomaxprocs: this is no Go program; leave it out"),
    ("--collector.wifi.fixtures=x", "--collector.wifi.fixtures: for node_exporter's own tests"),
    (
        r"--collector.netdev.device-exclude=\pL",
        r"--collector.netdev.device-exclude: '\\pL': \pL is",
    ),
    ("--log.level=loud", "--log.level: 'loud' is none of info, warn"),
    ("--web.listen-address=9100", "--web.listen-address: [0]: '9100' is no listen address"),
    ("--collector.filesystem.mount-timeout=5", "'5' is no duration; write for example 10s"),
]


@pytest.mark.parametrize(("line", "fault"), [pytest.param(*row, id=row[0]) for row in FAULTS])
def test_a_flag_that_cannot_be_taken_says_why(line: str, fault: str) -> None:
    (found,) = faults_of(line)
    assert fault in found


def test_all_faults_are_told() -> None:
    assert len(faults_of("--zzz --web.max-requests=x --collector.wifi --log.level=loud")) == 4


@pytest.mark.parametrize("old", DEPRECATED)
def test_an_old_name_works_and_says_the_new_one(old: str) -> None:
    new = DEPRECATED[old]
    given = flags(f"--{old}=x")
    assert given.warnings == (f"--{old} is an old name; write --{new}",)
    assert given.settings == flags(f"--{new}=x").settings


def test_options_of_what_is_not_here_are_let_pass_with_a_word() -> None:
    given = flags(
        "--collector.ntp.server=a --collector.sysctl.include=b --collector.sysctl.include c"
    )
    assert given.over(Root()) == Root()
    assert given.warnings == (
        "--collector.ntp.server sets nothing: there is no collector ntp here",
        "--collector.sysctl.include sets nothing: there is no collector sysctl here",
    )


def test_every_setting_of_the_table_is_there() -> None:
    for flag in SETTINGS.values():
        at(Root(), flag.key)
        if flag.instead_of:
            at(Root(), flag.instead_of)


def test_no_collector_is_both_here_and_not() -> None:
    assert not ABSENT & set(COLLECTOR_NAMES)


def test_every_flag_is_in_the_help_and_fits() -> None:
    text = flags_help()
    assert {name for name in SETTINGS if name not in text} == set()
    assert max(map(len, text.splitlines())) <= 100
    assert set(COLLECTOR_NAMES) <= set(re.findall(r"\w+", text))


def test_a_rule_that_the_file_broke_is_not_the_flags_fault() -> None:
    assert flags("--collector.cpu").over(Root()) == changed(
        Root(), ("exporter", "collectors", "enable"), ("cpu",)
    )


@pytest.mark.peer
def test_every_flag_of_the_peers_help_is_known() -> None:
    peer = shutil.which("prometheus-node-exporter")
    if peer is None:
        pytest.skip("Debian's prometheus-node-exporter is not installed")
    done = subprocess.run([peer, "--help"], capture_output=True, text=True, timeout=60)
    names = set(
        re.findall(r"^ +(?:-h, )?--([a-zA-Z_.-]+)", done.stdout + done.stderr, re.MULTILINE)
    )
    assert len(names) > 100
    # Without a value: what takes none is known as a switch, and the others miss theirs.
    ours = {"help", "help-long", "help-man", "version"}
    arguments = [f"--{name}" for name in sorted(names - ours)]
    told = "".join(said_of(argument) for argument in arguments)
    assert "no such flag" not in told


def said_of(argument: str) -> str:
    try:
        parse([argument], Root)
    except ConfigError as err:
        return f"{err}\n"
    return ""


@given(st.lists(st.text(alphabet="-nocletr.pu=x", max_size=24), max_size=4))
def test_whatever_is_written_is_taken_or_told(arguments: list[str]) -> None:
    with suppress(ConfigError):
        parse(arguments, Root)
