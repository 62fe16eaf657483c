"""Scripts whose output is metrics: how they are run, how they end, what is told of them."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.block import Block
from exporter.collectors.script import Script, ScriptCollector, complaint
from exporter.page import TEXT, render
from exporter.sources.command import Result, run
from tests.support import wait_for

GOOD = b"# HELP backup_age_seconds Age.\n# TYPE backup_age_seconds gauge\nbackup_age_seconds 5\n"


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def result_of(code: str, timeout: float = 20.0, most: int = 1000) -> Result:
    return run(python(code), timeout=timeout, most=most)


def is_alive(pid: int) -> bool:
    """A zombie that its parent has not yet fetched is not."""
    try:
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


# --- A run ---------------------------------------------------------------------------------------

RUNS = [
    pytest.param("print('x')", b"x\n", 0, "", id="it ends well"),
    pytest.param("print('x'); raise SystemExit(3)", b"x\n", 3, "", id="its exit code"),
    pytest.param("import os; os.kill(os.getpid(), 15)", b"", 143, "", id="ended by a signal"),
    pytest.param("print('x' * 5000)", None, None, "wrote more than 1000 bytes", id="too much"),
    pytest.param("import sys; print(sys.stdin.read())", b"\n", 0, "", id="nothing to read"),
    pytest.param("import os; print(sorted(set(os.environ) - {'LC_CTYPE'}))",
                 b"['LC_ALL', 'PATH']\n", 0, "", id="nothing of our environment"),
    pytest.param("import os; print(os.getcwd())", b"/\n", 0, "", id="in no folder of ours"),
    pytest.param("import os, sys; os.close(1); os.close(2); os._exit(4)", b"", 4, "",
                 id="output closed before the end"),
    pytest.param("import sys; sys.stderr.write('e' * 100000)", b"", 0, "",
                 id="complaints do not count as output, and are not kept without end"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "output", "exit_code", "fault"), RUNS)
def test_a_run(code: str, output: bytes | None, exit_code: int | None, fault: str) -> None:
    result = result_of(code)
    assert output is None or result.output == output
    assert (result.exit_code, result.fault) == (exit_code, fault)
    assert len(result.complaints) <= 2048
    assert result.stuck is None


NOT_STARTED = [
    pytest.param(("/nowhere/to/be/found",), "No such file", id="no such program"),
    pytest.param(("/etc/passwd",), "Permission denied", id="not a program"),
    pytest.param(("true\0",), "null byte", id="not a name"),
]


@pytest.mark.parametrize(("command", "reason"), NOT_STARTED)
def test_what_cannot_be_started(command: tuple[str, ...], reason: str) -> None:
    result = run(command, timeout=5.0, most=10)
    assert result.exit_code is None
    assert reason in result.fault


def test_arguments_are_not_read_by_a_shell() -> None:
    code = "import sys; print(sys.argv[1:])"
    result = run((*python(code), "$HOME; id", "*"), timeout=20.0, most=1000)
    assert result.output == b"['$HOME; id', '*']\n"


SLOW = [
    pytest.param("import time; time.sleep(60)", id="it sleeps"),
    pytest.param("import signal, time; signal.signal(15, signal.SIG_IGN)\n"
                 "while True: time.sleep(1)", id="it will not be told to stop"),
    pytest.param("import os, time; os.close(1); os.close(2); time.sleep(60)",
                 id="it closed its output and goes on"),
    pytest.param("while True: pass", id="it works without end"),
]  # fmt: skip


@pytest.mark.parametrize("code", SLOW)
def test_at_the_deadline_it_is_killed(code: str) -> None:
    result = result_of(code, timeout=0.1)
    assert (result.exit_code, result.fault, result.stuck) == (None, "took too long", None)


def test_what_it_started_is_killed_as_well(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(note)!r} + '.new', 'w').write(str(child.pid))\n"
        f"os.rename({str(note)!r} + '.new', {str(note)!r})\n"
        "time.sleep(60)\n"
    )
    result = result_of(code, timeout=2.0)
    assert result.fault == "took too long"
    pid = int(note.read_text())
    wait_for("its end", lambda: not is_alive(pid))


def test_a_child_in_a_session_of_its_own_does_not_hold_us(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        f"    open({str(note)!r}, 'w').write(str(os.getpid()))\n"
        "    time.sleep(60)\n"
    )
    before = time.monotonic()
    result = result_of(code, timeout=1.0)
    assert result.fault == "took too long"
    assert time.monotonic() - before < 10
    os.kill(int(note.read_text()), signal.SIGKILL)


# --- The collector -------------------------------------------------------------------------------


class Runs:
    """Answers for commands, each at once or when it is let go."""

    def __init__(self, *results: Result) -> None:
        self.results, self.began = list(results), 0
        self.go = threading.Event()
        self.go.set()
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def __call__(
        self, command: Any, *, timeout: float, most: int, unwanted: Callable[[], bool]
    ) -> Result:
        with self._lock:
            self.began += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            result = self.results[min(self.began, len(self.results)) - 1]
        self.go.wait(20)
        with self._lock:
            self.at_once -= 1
        return result


def samples(collector: ScriptCollector) -> dict[str, str]:
    """Series → value; seconds that passed are not told."""
    part, dropped = Block().take(collector.collect())
    assert dropped == []
    lines = render([part], TEXT).decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line[0] != "#")
    return {series: value for series, value in pairs if "_duration_" not in series}


def made(run: Callable[..., Result], *names: str, interval: float = 0.0, patience: float = 10.0,
         clock: Callable[[], float] = time.monotonic) -> ScriptCollector:  # fmt: skip
    scripts = [Script(name, (name,), interval=interval) for name in names or ("a",)]
    return ScriptCollector(scripts, patience=patience, run=run, now=lambda: 1000.0, clock=clock)


def outcome(name: str, success: int, code: int | None) -> dict[str, str]:
    label = f'{{script="{name}"}}'
    told = {
        f"fleetpulse_script_success{label}": str(success),
        f"fleetpulse_script_last_run_timestamp_seconds{label}": "1000.0",
    }
    return told if code is None else told | {f"fleetpulse_script_exit_code{label}": str(code)}


RESULTS = [
    pytest.param(Result(GOOD, exit_code=0), {"backup_age_seconds": "5"}, 1, id="metrics"),
    pytest.param(Result(b"", exit_code=0), {}, 1, id="nothing at all is well"),
    pytest.param(Result(GOOD, exit_code=1), {}, 0, id="a failure takes its metrics along"),
    pytest.param(Result(GOOD, fault="took too long"), {}, 0, id="too late"),
    pytest.param(Result(b"hello world\n", exit_code=0), {}, 0, id="no metrics"),
    pytest.param(Result(GOOD[:-1], exit_code=0), {}, 0, id="cut short"),
    pytest.param(Result(b"fleetpulse_script_success 1\n", exit_code=0), {}, 1,
                 id="what we tell is not a script's to tell"),
]  # fmt: skip


@pytest.mark.parametrize(("result", "told", "success"), RESULTS)
def test_what_is_told_of_a_script(result: Result, told: dict[str, str], success: int) -> None:
    expected = outcome("a", success, result.exit_code) | told
    assert samples(made(Runs(result))) == expected


def test_a_real_script(tmp_path: Path) -> None:
    script = Script("age", python(f"print({GOOD.decode()!r}, end='')"))
    found = samples(ScriptCollector([script], patience=20.0, now=lambda: 1000.0))
    assert found == outcome("age", 1, 0) | {"backup_age_seconds": "5"}


def test_a_script_that_fails_loses_only_itself() -> None:
    by_name = {"good": Result(GOOD, exit_code=0), "bad": Result(b"?", exit_code=0)}

    def each(command: Any, **_: Any) -> Result:
        return by_name[command[0]]

    found = samples(made(each, "bad", "good"))
    assert found["backup_age_seconds"] == "5"
    assert found['fleetpulse_script_success{script="bad"}'] == "0"
    assert found['fleetpulse_script_success{script="good"}'] == "1"


def test_two_scripts_may_share_a_family_if_they_agree() -> None:
    typed = b"# TYPE x gauge\n"
    by_name = {
        "a": typed + b'x{n="1"} 1\n',
        "b": typed + b'x{n="2"} 2\n',
        "c": b"# TYPE x counter\nx 3\n",
    }

    def each(command: Any, **_: Any) -> Result:
        return Result(by_name[command[0]], exit_code=0)

    found = samples(made(each, "a", "b", "c"))
    assert {series: value for series, value in found.items() if series[0] == "x"} == {
        'x{n="1"}': "1",
        'x{n="2"}': "2",
    }


def test_a_slow_script_goes_on_behind_the_page_which_has_the_last_result() -> None:
    runs = Runs(Result(GOOD, exit_code=0), Result(GOOD.replace(b" 5", b" 6"), exit_code=0))
    collector = made(runs, patience=0.05)
    runs.go.clear()
    assert samples(collector) == {}
    runs.go.set()
    wait_for("the result", lambda: samples(collector).get("backup_age_seconds") is not None)
    runs.go.clear()
    wait_for("a run", lambda: samples(collector) and runs.at_once == 1)
    began = runs.began
    assert "backup_age_seconds" in samples(collector)
    assert runs.began == began  # never twice at a time
    runs.go.set()


def test_an_interval_is_kept() -> None:
    now, runs = [0.0], Runs(Result(GOOD, exit_code=0))
    collector = made(runs, interval=60.0, clock=lambda: now[0])
    began = []
    for at in (0.0, 30.0, 59.0, 60.0, 61.0):
        now[0] = at
        assert samples(collector)["backup_age_seconds"] == "5"
        began.append(runs.began)
    assert began == [1, 1, 1, 2, 2]


def test_only_some_run_at_once() -> None:
    runs = Runs(Result(b"", exit_code=0))
    collector = made(runs, *"abcdefghij", patience=0.05)
    runs.go.clear()
    samples(collector)
    assert runs.most_at_once == 4
    runs.go.set()
    wait_for("all", lambda: runs.began == 10)
    assert runs.most_at_once == 4


class Stuck:
    """A process that may have ended."""

    code: int | None = None

    def poll(self) -> int | None:
        return self.code


def test_one_that_cannot_be_killed_is_not_started_again() -> None:
    process: Any = Stuck()
    runs = Runs(Result(fault="took too long", stuck=process))
    collector = made(runs)
    for _ in range(3):
        assert samples(collector) == outcome("a", 0, None)
    assert runs.began == 1
    process.code = -9
    samples(collector)
    assert runs.began == 2


def test_a_failure_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    bad = Result(GOOD, b"Traceback:\n\nno such table\n", exit_code=1)
    collector = made(Runs(bad, bad, Result(GOOD, exit_code=0), bad))
    with caplog.at_level(logging.WARNING):
        for _ in range(4):
            samples(collector)
    assert caplog.messages == ["script a: ended with 1: no such table"] * 2


COMPLAINTS = [
    pytest.param(b"", "", id="none"),
    pytest.param(b"one\ntwo\n\n", ": two", id="the last line"),
    pytest.param(b"\xff" * 3, ": ���", id="not UTF-8"),
    pytest.param(b"x" * 500, ": " + "x" * 200, id="not all of a long one"),
]


@pytest.mark.parametrize(("raw", "expected"), COMPLAINTS)
def test_complaints(raw: bytes, expected: str) -> None:
    assert complaint(raw) == expected


lines = st.sampled_from(
    [b"# TYPE x gauge", b"x 1", b'x{a="b"} 2', b"y NaN", b"# HELP x y", b"", b"x"]
)


@given(
    st.binary(max_size=40) | st.lists(lines, max_size=6).map(lambda some: b"\n".join(some) + b"\n")
)
def test_whatever_a_script_writes_the_page_stands(output: bytes) -> None:
    found = samples(made(Runs(Result(output, exit_code=0))))
    assert found['fleetpulse_script_exit_code{script="a"}'] == "0"


def threads(names: Iterable[threading.Thread]) -> list[str]:
    return [one.name for one in names if one.name.startswith("script-")]


@pytest.mark.parametrize("code", SLOW)
def test_with_the_collector_its_scripts_end(code: str, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    begin = f"import os; open({str(note)!r}, 'w').write(str(os.getpid()) + ' ')\n"
    script = Script("slow", (sys.executable, "-c", begin + code), timeout=60.0)
    waiting = [Script(f"waits-{n}", ("sleep", "60"), timeout=60.0) for n in range(8)]
    collector = ScriptCollector([script, *waiting], patience=0.0)
    samples(collector)
    pid = int(wait_for("its number", lambda: note.exists() and note.read_text()))
    collector.close()
    wait_for("its end", lambda: not is_alive(pid))
    wait_for(
        "the end of all threads",
        lambda: not [t for t in threading.enumerate() if "waits" in t.name],
    )


def test_no_thread_is_left_when_nothing_runs() -> None:
    samples(made(Runs(Result(GOOD, exit_code=0)), "left", "over"))
    wait_for(
        "their end",
        lambda: not {"script-left", "script-over"} & set(threads(threading.enumerate())),
    )
