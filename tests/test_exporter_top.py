"""The programs that use most: groups, counters that never fall, and what a page costs."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.block import Block
from exporter.collectors import proclist
from exporter.collectors.base import Host
from exporter.collectors.portable.proclist import ProcList as PortableProcList
from exporter.collectors.top import CPU, PROCESSES, RESIDENT, Process, TopCollector, Turns
from exporter.families import Family
from exporter.page import TEXT, render

Group = tuple[str, str]


class FakeProcesses:
    """pid → process; counts what is read."""

    per_second = 100.0

    def __init__(self) -> None:
        self.alive: dict[int, Process] = {}
        self.read_pids: list[int] = []

    def pids(self) -> list[int]:
        return list(self.alive)

    def read(self, pid: int) -> Process | None:
        self.read_pids.append(pid)
        return self.alive.get(pid)

    def run(self, pid: int, command: str, cpu: int, *, user: str = "root", resident: int = 1,
            born: float = 1) -> None:  # fmt: skip
        self.alive[pid] = Process(born, command, user, cpu, resident)


def told(collector: TopCollector) -> dict[Family, dict[Group, float]]:
    found: Any = dict(collector.collect())
    return found


def cpu(collector: TopCollector) -> dict[str, float]:
    return {command: seconds for (command, _), seconds in told(collector)[CPU].items()}


@pytest.fixture
def host() -> FakeProcesses:
    return FakeProcesses()


def test_processes_of_a_name_and_user_are_one_group(host: FakeProcesses) -> None:
    host.run(1, "nginx", 100, user="www", resident=10)
    host.run(2, "nginx", 100, user="www", resident=20)
    host.run(3, "nginx", 100, resident=40)
    found = told(TopCollector(host))
    assert found[RESIDENT] == {("nginx", "www"): 30, ("nginx", "root"): 40}
    assert found[PROCESSES] == {("nginx", "www"): 2, ("nginx", "root"): 1}


def test_cpu_counts_from_when_the_exporter_began_to_look(host: FakeProcesses) -> None:
    top = TopCollector(host)
    host.run(1, "db", 5000)
    assert cpu(top) == {"db": 0.0}
    host.run(1, "db", 5150)
    assert cpu(top) == {"db": 1.5}


def test_what_began_since_counts_whole(host: FakeProcesses) -> None:
    top = TopCollector(host)
    host.run(1, "db", 5000)
    cpu(top)
    host.run(2, "db", 70, born=2)
    assert cpu(top) == {"db": 0.7}


def test_a_counter_does_not_fall_when_a_process_ends(host: FakeProcesses) -> None:
    top = TopCollector(host)
    host.run(1, "make", 0)
    cpu(top)
    host.run(1, "make", 300)
    host.run(2, "make", 200, born=2)
    assert cpu(top) == {"make": 5.0}
    del host.alive[1]
    assert cpu(top) == {"make": 5.0}
    del host.alive[2]
    found = told(top)
    assert found[CPU] == {("make", "root"): 5.0}
    assert (found[PROCESSES], found[RESIDENT]) == ({("make", "root"): 0}, {("make", "root"): 0})


def test_a_number_that_another_process_has_now_begins_anew(host: FakeProcesses) -> None:
    top = TopCollector(host)
    host.run(1, "make", 900)
    cpu(top)
    host.run(1, "make", 50, born=2)
    assert cpu(top) == {"make": 0.5}


def test_a_process_that_becomes_another_program_takes_along_what_it_uses_from_then(
    host: FakeProcesses,
) -> None:
    top = TopCollector(host)
    host.run(1, "bash", 0, resident=7)
    cpu(top)
    host.run(1, "bash", 100, resident=7)
    cpu(top)
    host.run(1, "java", 130, resident=9)
    found = told(top)
    assert found[CPU] == {("bash", "root"): 1.0, ("java", "root"): 0.3}
    assert found[RESIDENT] == {("bash", "root"): 0, ("java", "root"): 9}


def test_no_more_than_count_by_cpu_and_count_by_memory(host: FakeProcesses) -> None:
    for pid in range(1, 30):
        host.run(pid, f"p{pid}", pid * 100, resident=1000 - pid)
    assert sorted(cpu(TopCollector(host, 2))) == ["p1", "p2", "p28", "p29"]


def test_the_rank_is_by_use_of_late(host: FakeProcesses) -> None:
    now = [0.0]
    top = TopCollector(host, 1, clock=lambda: now[0])
    host.run(1, "old", 1_000_000, resident=0)
    host.run(2, "busy", 10)
    assert set(cpu(top)) == {"old", "busy"}  # by memory, busy
    host.run(2, "busy", 500)
    now[0] = 10.0
    assert set(cpu(top)) == {"busy"}
    host.run(1, "old", 1_000_100, resident=0)
    now[0] = 3000.0
    assert set(cpu(top)) == {"old", "busy"}


def test_a_large_host_is_looked_at_in_turns(host: FakeProcesses) -> None:
    for pid in range(1, 101):
        host.run(pid, f"p{pid}", 0)
    top = TopCollector(host, 1, reads=30)
    for _ in range(4):
        host.read_pids.clear()
        cpu(top)
        assert len(host.read_pids) == 30
    host.run(77, "p77", 900, resident=5000)
    seen = [cpu(top).get("p77", 0.0) for _ in range(4)]
    assert seen[-1] == 9.0
    assert sorted(seen) == seen
    host.read_pids.clear()
    host.run(500, "new", 10, born=2)
    cpu(top)
    assert {77, 500} <= set(host.read_pids)


TURNS = [
    pytest.param([1, 2, 3], [], [], 5, [[1, 2, 3], [1, 2, 3]], id="few are all looked at"),
    pytest.param([1, 2, 3, 4], [], [], 3, [[1, 2, 3], [4, 1, 2]], id="many take turns"),
    pytest.param([1, 2, 3, 4], [4], [2], 3, [[2, 4, 1], [2, 4, 3]], id="some come first"),
    pytest.param([1, 2, 3, 4], [3], [1, 2, 4], 2, [[1, 2], [1, 2]], id="but not beyond the limit"),
]


@pytest.mark.parametrize(("pids", "fresh", "first", "most", "expected"), TURNS)
def test_turns(pids: list[int], fresh: list[int], first: list[int], most: int,
               expected: list[list[int]]) -> None:  # fmt: skip
    turns = Turns()
    assert [list(turns.due(pids, fresh, first, most)) for _ in expected] == expected


def test_programs_that_came_and_went_are_not_kept_for_ever(host: FakeProcesses) -> None:
    top = TopCollector(host, 1)
    cpu(top)
    for number in range(1300):
        host.alive.clear()
        host.run(number + 1, f"job{number}", number, born=number)
        cpu(top)
    assert len(top._accounts.groups) <= 1001


processes = st.builds(
    Process, born=st.integers(0, 2), command=st.sampled_from("abc"), user=st.sampled_from("xy"),
    cpu=st.integers(0, 1000), resident=st.integers(0, 1000),
)  # fmt: skip


@given(st.lists(st.dictionaries(st.integers(1, 8), processes), max_size=8), st.integers(1, 8))
def test_counters_never_fall_and_sums_are_those_of_the_living(
    turns: list[dict[int, Process]], reads: int
) -> None:
    host, last = FakeProcesses(), dict[Group, float]()
    top = TopCollector(host, 100, reads=reads)
    for alive in turns:
        host.alive = alive
        found = told(top)
        assert all(found[CPU].get(group, 0) >= seconds for group, seconds in last.items())
        assert all(value >= 0 for value in found[RESIDENT].values())
        last = found[CPU]
        if reads == 8:
            assert sum(found[PROCESSES].values()) == len(alive)
            assert sum(found[RESIDENT].values()) == sum(one.resident for one in alive.values())


# --- /proc ---------------------------------------------------------------------------------------

BEHIND = b"S 1 1 1 0 -1 %d 100 0 0 0 250 50 7 8 20 0 3 0 4711 1000000 25 18446744073709551615\n"

STATS = [
    pytest.param(b"42 (nginx) " + BEHIND % 0x400100, "nginx", id="a program"),
    pytest.param(b"42 (a) b (c) " + BEHIND % 0x400100, "a) b (c", id="a name of any characters"),
    pytest.param(b"42 (\xff) " + BEHIND % 0x400100, "�", id="a name that is not UTF-8"),
    pytest.param(b"42 (kworker/0:1) " + BEHIND % 0x208040, "[kernel]", id="the kernel's own"),
]


@pytest.mark.parametrize(("raw", "command"), STATS)
def test_stat(raw: bytes, command: str) -> None:
    assert proclist.parse(raw, "www", 4096) == Process(4711, command, "www", 300, 25 * 4096)


@given(st.binary(max_size=60) | st.integers(0, 120).map(lambda end: STATS[0].values[0][:end]))
def test_a_broken_stat_is_refused(raw: Any) -> None:
    with contextlib.suppress(ValueError):
        proclist.parse(raw, "", 4096)


@given(st.binary(max_size=60))
def test_a_broken_list_of_users_is_read_as_far_as_it_goes(raw: bytes) -> None:
    assert proclist.users(b"root:x:0:0::/root:/bin/sh\n" + raw)[0] == "root"


def test_a_fake_host(tmp_path: Path) -> None:
    (tmp_path / "proc/42").mkdir(parents=True)
    (tmp_path / "proc/43").mkdir()
    (tmp_path / "proc/self").mkdir()
    (tmp_path / "etc").mkdir()
    (tmp_path / "proc/42/stat").write_bytes(STATS[0].values[0])  # type: ignore[arg-type]
    (tmp_path / "etc/passwd").write_text(f"me:x:{os.getuid()}:0::/:/bin/sh\n")
    host = proclist.ProcList(Host(tmp_path / "proc", tmp_path / "sys", tmp_path),
                             per_second=100, page=4096)  # fmt: skip
    part, dropped = Block().take(TopCollector(host).collect())
    assert dropped == []
    lines = render([part], TEXT).decode().splitlines()
    assert [line for line in lines if line[0] != "#"] == [
        'fleetpulse_top_cpu_seconds_total{command="nginx",user="me"} 0.0',
        'fleetpulse_top_resident_memory_bytes{command="nginx",user="me"} 102400',
        'fleetpulse_top_processes{command="nginx",user="me"} 1',
    ]
    (tmp_path / "etc/passwd").unlink()
    assert host.read(43) is None
    assert host.read(42) is not None


def test_this_very_host_tells_no_command_line() -> None:
    secret = subprocess.Popen([sys.executable, "-c", "input()", "s3cr3t"], stdin=subprocess.PIPE)
    try:
        for processes in (proclist.ProcList(Host()), PortableProcList()):
            found = told(TopCollector(processes, 100))
            assert sum(found[PROCESSES].values()) > 1
            assert "s3cr3t" not in str(found)
    finally:
        secret.kill()
        secret.communicate()


# --- psutil --------------------------------------------------------------------------------------


class GoneError(Exception):
    pass


class PsutilProcess:
    asked = 0

    def __init__(self, pid: int) -> None:
        if pid == 7:
            raise GoneError
        self.pid = pid

    def oneshot(self) -> Any:
        return contextlib.nullcontext()

    def cpu_times(self) -> Any:
        return SimpleNamespace(user=1.5, system=0.5)

    def create_time(self) -> float:
        return 10.0

    def memory_info(self) -> Any:
        return SimpleNamespace(rss=4096)

    def name(self) -> str:
        return "svchost.exe"

    def username(self) -> str:
        PsutilProcess.asked += 1
        return "NT AUTHORITY\\SYSTEM"


def test_psutil_on_windows() -> None:
    host = PortableProcList(lambda: [0, 4, 7], PsutilProcess, GoneError)
    assert host.pids() == [4, 7]
    assert host.read(7) is None
    expected = Process(10.0, "svchost.exe", "NT AUTHORITY\\SYSTEM", 2.0, 4096)
    assert [host.read(4), host.read(4)] == [expected] * 2
    assert PsutilProcess.asked == 1
