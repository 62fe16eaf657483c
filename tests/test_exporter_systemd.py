"""Units of systemd over D-Bus: what is read, what it costs, and a bus that misbehaves."""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from exporter.block import Block
from exporter.collectors.systemd import EXCLUDE, SERVICE, SystemdCollector, manager, units_of
from exporter.page import TEXT, render
from exporter.sources import dbus
from exporter.sources.bus import Address, Bus, BusError, Call
from tests.dbus_fakes import (
    NO_PROPERTY,
    UNITS,
    FakeBus,
    FakeSystemd,
    asked,
    message,
    path_of,
    serve_at_bus,
)  # fmt: skip
from tests.support import free_port, wait_for


def page_of(collector: SystemdCollector) -> str:
    part, dropped = Block().take(collector.collect())
    assert dropped == []
    return render([part], TEXT).decode()


def samples(page: str) -> set[str]:
    return {line for line in page.splitlines() if not line.startswith("#")}


def a_host() -> FakeSystemd:
    systemd = FakeSystemd()
    systemd.set("", "Manager", "Version", "s", "252.38-1~deb12u1")
    systemd.set("", "Manager", "SystemState", "s", "running")
    for name, active, load in (
        ("nginx.service", "active", "loaded"),
        ("backup.service", "failed", "loaded"),
        ("gone.service", "inactive", "not-found"),
        ("backup.timer", "active", "loaded"),
        ("sshd.socket", "active", "loaded"),
        ("srv.mount", "active", "loaded"),
        ("dev-sda.device", "active", "loaded"),
        ("reboot.target", "reloading", "loaded"),
    ):
        systemd.add(name, active, load)
    for service, kind in (("nginx.service", "notify"), ("backup.service", "oneshot")):
        systemd.set(service, "Service", "Type", "s", kind)
        systemd.set(service, "Service", "NRestarts", "u", 3)
        systemd.set(service, "Service", "TasksCurrent", "t", 5)
        systemd.set(service, "Service", "TasksMax", "t", 2**64 - 1)
        systemd.set(service, "Unit", "ActiveEnterTimestamp", "t", 1_700_000_000_500_000)
    systemd.set("srv.mount", "Mount", "Type", "s", "nfs4")
    systemd.set("backup.timer", "Timer", "LastTriggerUSec", "t", 1_700_000_001_000_000)
    systemd.set("sshd.socket", "Socket", "NAccepted", "u", 12)
    systemd.set("sshd.socket", "Socket", "NConnections", "u", 2)
    return systemd


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    return tmp_path / "bus"


@pytest.fixture
def bus(socket_path: Path) -> Iterator[FakeBus]:
    made = FakeBus(socket_path, a_host())
    yield made
    made.close()


def collector(path: Path, *, direct: bool = False, **settings: Any) -> SystemdCollector:
    return SystemdCollector(bus=Bus(SERVICE, [Address(str(path), direct)]), **settings)


def test_the_page_of_a_host(bus: FakeBus, socket_path: Path) -> None:
    names = ("backup.service", "nginx.service", "backup.timer", "sshd.socket", "reboot.target")
    types = {"backup.service": "oneshot", "nginx.service": "notify"}
    now = {"backup.service": "failed", "reboot.target": "reloading"}
    found = samples(page_of(collector(socket_path)))
    assert found == {
        'node_systemd_version{version="252.38-1~deb12u1"} 252.38',
        "node_systemd_system_running 1",
        'node_systemd_units{state="active"} 5',
        'node_systemd_units{state="activating"} 0',
        'node_systemd_units{state="deactivating"} 0',
        'node_systemd_units{state="failed"} 1',
        'node_systemd_units{state="inactive"} 1',
        'node_systemd_units{state="reloading"} 1',
        'node_systemd_timer_last_trigger_seconds{name="backup.timer"} 1700000001.0',
        'node_systemd_socket_accepted_connections_total{name="sshd.socket"} 12',
        'node_systemd_socket_current_connections{name="sshd.socket"} 2',
    } | {
        f'node_systemd_unit_state{{name="{name}",state="{state}",type="{types.get(name, "")}"}} '
        f"{int(state == now.get(name, 'active'))}"
        for name in names
        for state in ("active", "activating", "deactivating", "inactive", "failed")
    }


def test_what_is_asked_for_more(bus: FakeBus, socket_path: Path) -> None:
    bus.systemd.set("sshd.socket", "Socket", "NRefused", "u", 1)
    found = samples(
        page_of(
            collector(
                socket_path, unit_include=r".+\.(service|socket|mount)", unit_exclude="backup.*",
                task_metrics=True, restarts_metrics=True, start_time_metrics=True,
            )
        )
    )  # fmt: skip
    assert {line for line in found if "_state{" not in line and "_units{" not in line} == {
        'node_systemd_version{version="252.38-1~deb12u1"} 252.38',
        "node_systemd_system_running 1",
        'node_systemd_socket_accepted_connections_total{name="sshd.socket"} 12',
        'node_systemd_socket_current_connections{name="sshd.socket"} 2',
        'node_systemd_socket_refused_connections_total{name="sshd.socket"} 1',
        'node_systemd_service_restart_total{name="nginx.service"} 3',
        'node_systemd_unit_tasks_current{name="nginx.service"} 5',
        'node_systemd_unit_start_time_seconds{name="nginx.service"} 1700000000.5',
    }
    assert 'node_systemd_unit_state{name="srv.mount",state="active",type="nfs4"} 1' in found


def test_patterns_match_whole_names(bus: FakeBus, socket_path: Path) -> None:
    page = page_of(collector(socket_path, unit_include="nginx|backup.timer"))
    assert set(re.findall(r'unit_state\{name="([^"]+)"', page)) == {"backup.timer"}


def test_a_connection_stays_open_and_types_are_remembered(bus: FakeBus, socket_path: Path) -> None:
    now = [0.0]
    asks = collector(socket_path, clock=lambda: now[0])
    asked_types = []
    for at in (0.0, 10.0, 61.0):
        now[0] = at
        bus.systemd.calls.clear()
        page_of(asks)
        asked_types.append(sum(call.arguments[1:] == ["Type"] for call in bus.systemd.calls))
    assert asked_types == [2, 0, 2]
    assert bus.users == [f"\0AUTH EXTERNAL {str(os.geteuid()).encode().hex()}\r\n".encode()]


def test_units_that_changed_are_seen(bus: FakeBus, socket_path: Path) -> None:
    asks = collector(socket_path)
    assert 'state="active",type="notify"} 1' in page_of(asks)
    bus.systemd.units = [(*unit[:3], "failed", *unit[4:]) for unit in bus.systemd.units]
    assert 'name="nginx.service",state="failed",type="notify"} 1' in page_of(asks)


def test_a_bus_started_anew_is_asked_again_at_once(bus: FakeBus, socket_path: Path) -> None:
    asks = collector(socket_path)
    before = page_of(asks)
    bus.cut()
    assert page_of(asks) == before
    assert len(bus.users) == 2


def test_systemd_itself_is_asked_without_a_name(bus: FakeBus, socket_path: Path) -> None:
    page_of(collector(socket_path, direct=True))
    assert "Hello" not in {call.member for call in bus.systemd.calls}


def test_a_bus_that_is_missing_gives_way_to_systemd(bus: FakeBus, socket_path: Path) -> None:
    addresses = [Address(str(socket_path) + "-none"), Address(str(socket_path), direct=True)]
    assert page_of(SystemdCollector(bus=Bus(SERVICE, addresses)))


def test_no_bus_at_all_is_named(socket_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(str(socket_path))):
        page_of(collector(socket_path))


def test_a_bus_that_says_nothing_ends_in_time(bus: FakeBus, socket_path: Path) -> None:
    bus.systemd.silent = True  # from after it let us in
    with pytest.raises(TimeoutError):
        page_of(collector(socket_path, timeout=0.05))


REFUSALS = [
    pytest.param(b"REJECTED EXTERNAL\r\n", "does not let us in", id="another user's bus"),
    pytest.param(b"x" * 9000, "no line", id="something that is no bus"),
]


@pytest.mark.parametrize(("reply", "reason"), REFUSALS)
def test_who_is_not_let_in_learns_why(socket_path: Path, reply: bytes, reason: str) -> None:
    bus = FakeBus(socket_path, FakeSystemd(), reply)
    try:
        with pytest.raises(BusError, match=reason):
            page_of(collector(socket_path))
    finally:
        bus.close()


def test_many_calls_go_in_pieces_and_come_back_in_order(bus: FakeBus, socket_path: Path) -> None:
    for number in range(100):
        bus.systemd.set(f"{number}.timer", "Timer", "LastTriggerUSec", "t", number)
    calls = [
        Call(path_of(f"{number}.timer"), "org.freedesktop.DBus.Properties", "Get",
             ("org.freedesktop.systemd1.Timer", "LastTriggerUSec"))
        for number in range(100)
    ]  # fmt: skip
    answers = Bus(SERVICE, [Address(str(socket_path))]).ask(calls, 5.0)
    assert [answer.values() for answer in answers] == [[number] for number in range(100)]


VERSIONS = [
    pytest.param("252.38-1~deb12u1", ("252.38-1~deb12u1", 252.38), id="Debian"),
    pytest.param("v219", ("v219", 219.0), id="an old one"),
    pytest.param("255.4-1ubuntu8", ("255.4-1ubuntu8", 255.4), id="Ubuntu"),
    pytest.param("unknown", ("", 0.0), id="no number in it"),
    pytest.param(None, ("", 0.0), id="not told"),
]


@pytest.mark.parametrize(("version", "expected"), VERSIONS)
def test_versions(version: str | None, expected: tuple[str, float]) -> None:
    (_, rows), *_ = list(manager(version, None))
    assert rows == {(expected[0],): expected[1]}


# --- Messages ------------------------------------------------------------------------------------

VALUES = [
    pytest.param("s", "Grüße", id="text"),
    pytest.param("t", 2**63 + 1, id="a long number"),
    pytest.param("b", True, id="yes or no"),
    pytest.param("as", ["a", "", "bcd"], id="texts"),
    pytest.param("at", [1, 2], id="long numbers stand at multiples of eight"),
    pytest.param("at", [], id="none of them, as well"),
    pytest.param("v", ("s", "x"), id="any type"),
    pytest.param(UNITS, [("a.service", "A", "loaded", "active", "running", "", "/a", 7, "", "/")],
                 id="a list of units"),
]  # fmt: skip


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("kind", "value"), VALUES)
def test_values(kind: str, value: Any, order: str) -> None:
    raw = message(2, 5, [(5, ("u", 3))], kind, value, order)
    assert dbus.length_of(raw[:16]) == len(raw)
    found = dbus.parse(raw)
    assert (found.kind, found.reply_to) == (2, 3)
    assert found.values() == [value[1] if kind == "v" else value]


def test_a_call_as_another_reader_sees_it() -> None:
    raw = dbus.stamped(dbus.call("/a/b", "x.Y", "Get", "org.z", "one", "", "three"), 77)
    found = asked(raw)
    assert (found.serial, found.path, found.member) == (77, "/a/b", "Get")
    assert found.arguments == ["one", "", "three"]
    assert dbus.parse(raw).values() == ["one", "", "three"]


BROKEN = [
    pytest.param("(", b"\0" * 8, id="an open structure"),
    pytest.param("a", b"\0" * 8, id="an array of nothing"),
    pytest.param("()", b"\0" * 8, id="an empty structure"),
    pytest.param("k", b"\0" * 8, id="an unknown type"),
    pytest.param("u", b"\0", id="too short"),
    pytest.param("au", b"\xff\xff\xff\x7f", id="an array longer than its message"),
    pytest.param("s", b"\x04\0\0\0ab", id="a text longer than its message"),
    pytest.param("s", b"\x01\0\0\0\xff\0", id="a text that is not UTF-8"),
    pytest.param("v", (b"\x01v\0" * 40) + b"\x01y\0\0", id="nested without end"),
]


@pytest.mark.parametrize(("signature", "body"), BROKEN)
def test_broken_bodies_are_refused(signature: str, body: bytes) -> None:
    with pytest.raises(ValueError):
        dbus.Message(dbus.RETURN, 1, "", signature, body, "<").values()


GOOD = message(2, 5, [(5, ("u", 3))], UNITS, a_host().units)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.integers(0, len(GOOD)))
@example(3, 0, 16)
def test_damaged_messages_are_refused_or_read(place: int, byte: int, length: int) -> None:
    raw = (GOOD[:place] + bytes((byte,)) + GOOD[place + 1 :])[: length or None]
    with contextlib.suppress(ValueError, BusError):
        list(units_of(dbus.parse(raw)))


def test_a_message_without_bounds_is_not_waited_for() -> None:
    with pytest.raises(ValueError, match="too long"):
        dbus.length_of(b"l\x02\0\x01" + b"\xff" * 12)


def test_a_refused_list_is_told() -> None:
    raw = message(3, 5, [(5, ("u", 3)), (4, ("s", NO_PROPERTY))])
    with pytest.raises(BusError, match="UnknownProperty"):
        list(units_of(dbus.parse(raw)))


# --- Peers ---------------------------------------------------------------------------------------

_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow eavesdrop="true"/><allow own="*"/>
</policy></busconfig>"""


def program(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is missing; apt install {package}")
    return path


@contextlib.contextmanager
def running(*command: str, **environment: str) -> Iterator[None]:
    process = subprocess.Popen(
        command, env={**os.environ, **environment},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        process.kill()
        process.wait(10)


def comparable(page: str) -> set[str]:
    """Types and samples of systemd's families, numbers as floats."""
    lines = set()
    for line in page.splitlines():
        if line.startswith("node_systemd_"):
            series, _, value = line.rpartition(" ")
            lines.add(f"{series} {float(value)}")
        elif line.startswith("# TYPE node_systemd_"):
            lines.add(line)
    return lines


@pytest.mark.integration
@pytest.mark.peer
def test_node_exporter_tells_the_same_of_a_real_bus(tmp_path: Path, socket_path: Path) -> None:
    import requests

    daemon = program("dbus-daemon", "dbus-daemon")
    peer = program("prometheus-node-exporter", "prometheus-node-exporter")
    config = tmp_path / "bus.conf"
    config.write_text(_CONFIG.format(path=socket_path))
    systemd, port = a_host(), free_port()
    systemd.set("sshd.socket", "Socket", "NRefused", "u", 1)
    flags = [f"--collector.systemd.enable-{name}-metrics"
             for name in ("task", "restarts", "start-time")]  # fmt: skip
    flags.append(f"--collector.systemd.unit-exclude={EXCLUDE}")  # Debian's default has more
    with running(daemon, f"--config-file={config}", "--nofork"):
        wait_for("the bus", socket_path.exists)
        with (
            contextlib.closing(serve_at_bus(socket_path, systemd)),
            running(peer, "--collector.disable-defaults", "--collector.systemd", *flags,
                    f"--web.listen-address=127.0.0.1:{port}",
                    DBUS_SYSTEM_BUS_ADDRESS=f"unix:path={socket_path}"),
        ):  # fmt: skip
            session = requests.Session()

            def told() -> str:
                with contextlib.suppress(requests.ConnectionError):
                    return session.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
                return ""

            wait_for("its page", lambda: "node_systemd_unit_state" in told())
            theirs = told()
            session.close()
            ours = page_of(collector(socket_path, task_metrics=True, restarts_metrics=True,
                                     start_time_metrics=True))  # fmt: skip
    assert comparable(ours) == comparable(theirs)
