"""The systemd units: they start what there is, are hardened alike, and systemd understands them."""

import re
import shlex
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from fleetpulse_cli.parser import build_parser
from fleetpulse_cli.up import STARTED
from tests.support import ROOT, needs

UNITS = ROOT / "packaging" / "systemd"
PROGRAM = "/opt/fleetpulse/current/bin/fleetpulse"
EXPORTER = "fleetpulse-exporter.service"
SERVICES = [f"fleetpulse-{role}.service" for role in STARTED]

# What may differ from unit to unit; all else is the same in each.
OWN = {
    "Unit.Description", "Unit.After", "Service.SyslogIdentifier", "Service.ExecStart",
    "Service.MemoryMax", "Service.LimitNOFILE", "Install.WantedBy",
}  # fmt: skip
# The exporter looks at its host, so it goes without some walls, and has one the others cannot have;
# and it alone tells systemd how it is.
EXPORTERS_OWN = {
    "Service.SystemCallFilter", "Service.ProtectHome", "Service.ProtectClock",
    "Service.ProtectHostname", "Service.ProtectProc", "Service.InaccessiblePaths",
    "Service.PrivateTmp", "Service.Type", "Service.WatchdogSec",
}  # fmt: skip

Unit = dict[str, list[str]]


def read_unit(name: str) -> Unit:
    """`Section.Key` → its values in order, as systemd.syntax(7) has it."""
    text = re.sub(r"\\\n\s*", "", (UNITS / name).read_text())
    unit: Unit = defaultdict(list)
    section = ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and line[0] not in "#;":
            key, _, value = line.partition("=")
            unit[f"{section}.{key}"].append(value)
    return dict(unit)


def test_there_is_a_unit_for_each_role_and_the_target_has_them_all() -> None:
    target = read_unit("fleetpulse.target")
    wanted = " ".join(target["Unit.Wants"]).split()
    assert wanted == SERVICES
    assert {path.name for path in UNITS.iterdir()} == {*SERVICES, "fleetpulse.target"}
    assert all(read_unit(name)["Unit.PartOf"] == ["fleetpulse.target"] for name in SERVICES)


@pytest.mark.parametrize("role", STARTED)
def test_a_unit_starts_its_role(role: str) -> None:
    (command,) = read_unit(f"fleetpulse-{role}.service")["Service.ExecStart"]
    program, *arguments = shlex.split(command)
    options = build_parser().parse_args(arguments)
    assert program == PROGRAM
    assert options.command == role
    assert options.config == Path("/etc/fleetpulse/fleetpulse.yml")
    assert options.data_dir == Path("/var/lib/fleetpulse")


def test_sinks_start_before_sources() -> None:
    """And so, systemd stopping in reverse, sources stop first."""
    for count, name in enumerate(SERVICES):
        after = read_unit(name)["Unit.After"][0].split()
        assert after == ["network-online.target", *SERVICES[:count]]


@pytest.mark.parametrize("name", SERVICES)
def test_units_differ_only_where_they_must(name: str) -> None:
    own = OWN | (EXPORTERS_OWN if name == EXPORTER else set())
    common, other = read_unit("fleetpulse-bridge.service"), read_unit(name)
    for key in (common.keys() | other.keys()) - own:
        assert other.get(key) == common.get(key), key


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_has_few_rights(name: str) -> None:
    unit = read_unit(name)
    assert unit["Service.User"] == ["fleetpulse"]
    assert unit["Service.CapabilityBoundingSet"] == [""]
    assert unit["Service.ProtectSystem"] == ["strict"]
    assert unit["Service.ProtectHome"] in (["yes"], ["read-only"])
    assert unit["Service.NoNewPrivileges"] == ["yes"]
    assert unit.get("Service.PrivateTmp", ["no"]) == (["no"] if name == EXPORTER else ["yes"])
    assert re.fullmatch(r"\d+[MG]", unit["Service.MemoryMax"][0])


def test_the_exporter_sees_the_host() -> None:
    """What would hide it, tell of another file system, or take the clock's state away."""
    unit = read_unit(EXPORTER)
    assert unit["Service.ProtectHome"] == ["read-only"]  # "yes" puts an empty folder there
    hiding = (
        *("ProcSubset", "ProtectProc", "PrivateNetwork", "ProtectClock", "ProtectHostname"),
        *("PrivateTmp", "RootDirectory", "TemporaryFileSystem"),
    )
    assert not {f"Service.{key}" for key in hiding} & unit.keys()
    # After ~@privileged, which holds the clock's calls, or it would take them away again.
    assert unit["Service.SystemCallFilter"][-1] == "adjtimex clock_adjtime"
    families = set(unit["Service.RestrictAddressFamilies"][0].split())
    assert {"AF_UNIX", "AF_NETLINK"} <= families  # the bus; the kernel's list of sockets


def test_the_exporter_tells_systemd_how_it_is() -> None:
    unit = read_unit(EXPORTER)
    assert unit["Service.Type"] == ["notify"]
    assert unit["Service.WatchdogSec"] == ["30s"]


def test_a_role_comes_back_unless_a_person_is_needed() -> None:
    unit = read_unit("fleetpulse-api.service")
    assert unit["Service.Restart"] == ["on-failure"]
    assert unit["Service.RestartPreventExitStatus"] == ["2"]
    assert unit["Unit.StartLimitIntervalSec"] == ["0"]
    assert unit["Service.ExecReload"] == ["/bin/kill -HUP $MAINPID"]


def test_the_steps_of_the_installation_are_commands_that_there_are() -> None:
    steps = (ROOT / "packaging" / "install.md").read_text().replace("\\\n", "")
    commands = re.findall(r"/bin/fleetpulse (.+?)(?:\s{2,}#.*)?$", steps, re.MULTILINE)
    assert {command.split()[0] for command in commands} == {"check", "exporter", "keys"}
    for command in commands:
        build_parser().parse_args(shlex.split(command))
    for path in re.findall(r"packaging/[\w./-]+[\w]", steps):
        assert list(ROOT.glob(f"{path}*")), path


def test_the_folder_is_no_package() -> None:
    """It would shadow the library of that name."""
    assert not list((ROOT / "packaging").rglob("*.py"))


@pytest.mark.peer
@needs("systemd-analyze")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    for path in UNITS.iterdir():
        # The program is not installed here; any that is there will do.
        (tmp_path / path.name).write_text(path.read_text().replace(PROGRAM, sys.executable))
    assert complaints(tmp_path) == []


@pytest.mark.peer
@needs("systemd-analyze")
def test_a_misspelt_setting_would_be_found(tmp_path: Path) -> None:
    text = (UNITS / EXPORTER).read_text().replace(PROGRAM, sys.executable)
    (tmp_path / EXPORTER).write_text(text.replace("PrivateDevices=", "PrivateDevice="))
    (fault,) = complaints(tmp_path)
    assert "'PrivateDevice'" in fault


def complaints(folder: Path) -> list[str]:
    """What `systemd-analyze verify` says of the units in folder, and of these alone."""
    run = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *folder.iterdir()],
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    lines = [line for line in run.stderr.splitlines() if "fleetpulse" in line]
    # These two came with version 254; older ones say so and pass over them.
    return [line for line in lines if not re.search("RestartSteps|RestartMaxDelaySec", line)]
