"""The children as real processes: that they answer, hang, die and are killed."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from exporter.statvfs import child as statvfs_child
from exporter.statvfs.asker import Asker
from exporter.statvfs.process import Answer, ChildDiedError, Figures, Process, parse, start, statvfs
from exporter.statvfs.process import wait as wait_for_children
from tests.support import wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not hasattr(os, "statvfs"), reason="no statvfs here"),
]

# Instead of statvfs it opens the path: a FIFO, which hangs until somebody opens its other end.
FIFO_CHILD = """
import os
while path := os.read(0, 9999):
    os.close(os.open(path.rstrip(b"\\0"), os.O_RDONLY))
    os.write(1, b"4096 1000 400 350 500 123\\n")
"""


@contextmanager
def running(*command: str) -> Iterator[Process]:
    process = start(command) if command else start()
    try:
        yield process
    finally:
        wait_for("the child's end", process.end)


def answer_of(process: Process, path: bytes) -> Answer:
    process.ask(path)
    wait_for_children([process], 30)
    answer = process.answer()
    assert answer is not None
    return answer


def test_a_child_answers_as_statvfs_does(tmp_path: Path) -> None:
    with running() as child:
        for _ in range(3):
            here, there = statvfs(b"/dev"), answer_of(child, b"/dev")
            assert isinstance(there, Figures)
            assert (here.size, here.files) == (there.size, there.files)
        odd = os.fsencode(tmp_path) + b"/\xff\n %d"
        assert getattr(answer_of(child, odd), "errno", 0) == errno.ENOENT
        os.mkdir(odd)
        assert isinstance(answer_of(child, odd), Figures)
        assert child.answer() is None


def test_a_child_ends_when_the_exporter_does() -> None:
    """However that ends: the child's input ends with it."""
    code = "import sys; from exporter.statvfs.process import start\n"
    code += "print(start().pid, flush=True); sys.stdin.read()"
    owner = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    assert Path(f"/proc/{pid}").exists()
    owner.kill()
    owner.communicate()
    wait_for("the child's end", lambda: _is_gone(pid))


def _is_gone(pid: int) -> bool:
    """Or nobody's zombie: where the first process is no init, nobody buries it."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


def test_a_child_is_a_small_interpreter() -> None:
    with running() as child:
        answer_of(child, b"/")
        rollup = Path(f"/proc/{child.pid}/smaps_rollup")
        if not rollup.exists():
            pytest.skip("no /proc/PID/smaps_rollup here")
        fields = dict(line.split()[:2] for line in rollup.read_text().splitlines()[1:])
        assert int(fields["Private_Dirty:"]) < 5000  # kB


DYING = [
    pytest.param("", id="it ends at once"),
    pytest.param("import os; os.read(0, 9)", id="it ends when it is asked"),
    pytest.param("print('what?', flush=True); input()", id="it speaks nonsense"),
    pytest.param("print('1 2', flush=True); input()", id="it speaks in odd numbers"),
    pytest.param("print('1' * 5000, end='', flush=True); input()", id="it never stops speaking"),
]


@pytest.mark.parametrize("code", DYING)
def test_a_child_that_is_no_use_has_died(code: str) -> None:
    def ask() -> None:
        child.ask(b"/")
        while child.answer() is None:
            wait_for_children([child], 30)

    with running(sys.executable, "-I", "-S", "-c", code) as child, pytest.raises(ChildDiedError):
        ask()


def test_an_interpreter_that_is_missing_is_an_oserror() -> None:
    with pytest.raises(FileNotFoundError):
        start(["/no/such/python"])


ANSWERS = [
    pytest.param(b"4096 10 5 4 7 6\n", Figures(40960, 20480, 16384, 7, 6), id="figures"),
    pytest.param(b"5\n", "Input/output error", id="an error"),
    pytest.param(b"1 2 3\n", None, id="too few"),
    pytest.param(b"1 2 3 4 5 6 7\n", None, id="too many"),
    pytest.param(b"a b c d e f\n", None, id="no numbers"),
    pytest.param(b"\n", None, id="nothing"),
]


@pytest.mark.parametrize(("line", "expected"), ANSWERS)
def test_answers(line: bytes, expected: Figures | str | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match=r"not an answer|invalid literal"):
            parse(line)
        return
    answer = parse(line)
    assert (answer.strerror if isinstance(answer, OSError) else answer) == expected


def test_the_script_writes_what_the_parser_reads() -> None:
    assert parse(statvfs_child.answer(b"/no/such/path")).args == (  # type: ignore[union-attr]
        errno.ENOENT,
        os.strerror(errno.ENOENT),
    )
    assert isinstance(parse(statvfs_child.answer(b"/")), Figures)


@pytest.fixture
def fifo_asker() -> Iterator[Asker]:
    command = (sys.executable, "-I", "-S", "-c", FIFO_CHILD)
    asker = Asker(0.5, start=partial(start, command))
    yield asker
    asker.close()
    assert asker.children == 0


def test_children_that_hang_are_left_behind_and_used_again(
    fifo_asker: Asker, tmp_path: Path
) -> None:
    paths = [os.fsencode(tmp_path / name) for name in ("a", "b", "c")]
    for path in paths[:2]:
        os.mkfifo(path)
    Path(tmp_path / "c").touch()
    mounts = dict.fromkeys(paths, "x")
    begun = time.monotonic()
    assert _good(fifo_asker.ask(mounts)) == paths[2:]
    assert time.monotonic() - begun < 5
    assert _good(fifo_asker.ask(mounts)) == paths[2:]
    assert fifo_asker.children == 3
    with ExitStack() as opened:
        for path in paths[:2]:
            # Both ways, so that each child's opening succeeds, now and from now on.
            opened.callback(os.close, os.open(path, os.O_RDWR | os.O_NONBLOCK))
        wait_for("all mounts", lambda: len(_good(fifo_asker.ask(mounts))) == 3)
        wait_for("one child", lambda: fifo_asker.ask(mounts) and fifo_asker.children == 1)


def _good(answers: dict[bytes, Answer]) -> list[bytes]:
    return [path for path, answer in answers.items() if isinstance(answer, Figures)]


def test_a_killed_child_is_replaced(tmp_path: Path) -> None:
    children: list[Process] = []

    def start_one() -> Process:
        children.append(start())
        return children[-1]

    asker = Asker(20.0, start=start_one)
    try:
        assert _good(asker.ask({b"/": 1})) == [b"/"]
        os.kill(children[0].pid, 9)
        assert _good(asker.ask({b"/": 1, b"/dev": 1})) == [b"/", b"/dev"]
    finally:
        asker.close()
    assert len(children) == 2
    assert all(child.end() for child in children)
