"""statvfs(2), here and in a child process."""

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

_MOST = 4096  # bytes of an answer, of which a true one has some hundred at the most

# Isolated and without site: nothing is imported that the child does not need.
COMMAND = (sys.executable, "-I", "-S", str(Path(__file__).with_name("child.py")))


class Figures(NamedTuple):
    """Of a file system: bytes and inodes."""

    size: int
    free: int
    avail: int  # to others than root
    files: int
    files_free: int


Answer = Figures | OSError


class ChildDiedError(Exception):
    """The process ended, or speaks nonsense, which comes to the same."""


class Child(Protocol):
    """Asks statvfs of one path at a time, somewhere where it may hang. For one thread at a time."""

    def fileno(self) -> int:
        """Readable as soon as there is an answer, or the child is dead."""

    def ask(self, path: bytes) -> None:
        """Only when the last answer has been taken. ChildDiedError; never waits."""

    def answer(self) -> Answer | None:
        """None while there is none. ChildDiedError; never waits."""

    def end(self) -> bool:
        """Kills it; whether it is gone. What sleeps in the kernel may not be: call it again."""


def statvfs(path: bytes) -> Figures:
    """In this thread. OSError."""
    told = os.statvfs(path)
    # The fragment is the unit of the blocks, not f_bsize: in FUSE they may differ.
    return _figures(
        told.f_frsize, told.f_blocks, told.f_bfree, told.f_bavail, told.f_files, told.f_ffree
    )


def _figures(unit: int, blocks: int, free: int, avail: int, files: int, files_free: int) -> Figures:
    return Figures(unit * blocks, unit * free, unit * avail, files, files_free)


def parse(line: bytes) -> Answer:
    """A line of child.py. ValueError for anything else."""
    numbers = [int(field) for field in line.split()]
    if len(numbers) == 1:
        return OSError(numbers[0], os.strerror(numbers[0]))
    try:
        return _figures(*numbers)
    except TypeError as err:
        raise ValueError(f"not an answer: {line[:80]!r}") from err


def start(command: Sequence[str] = COMMAND) -> "Process":
    """OSError where no process can be had."""
    child = subprocess.Popen(  # noqa: S603 - this interpreter and a file of ours
        command,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/",  # keeps no file system from being unmounted
        start_new_session=True,  # Ctrl-C is for the exporter, which then ends it
    )
    return Process(child)


class Process:
    """A Child that is a process. It ends when the exporter does, however that does."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None  # start() asked for both pipes
        assert process.stdout is not None
        self._process, self._in, self._out = process, process.stdin, process.stdout
        self._told = b""
        os.set_blocking(self._out.fileno(), False)

    @property
    def pid(self) -> int:
        return self._process.pid

    def fileno(self) -> int:
        return self._out.fileno()

    def ask(self, path: bytes) -> None:
        try:
            os.write(self._in.fileno(), path + b"\0")
        except OSError as err:
            raise self._death() from err

    def answer(self) -> Answer | None:
        try:
            told = os.read(self.fileno(), _MOST)
        except BlockingIOError:
            return None
        self._told += told
        if not told or len(self._told) > _MOST:
            raise self._death()
        if not self._told.endswith(b"\n"):
            return None
        line, self._told = self._told, b""
        try:
            return parse(line)
        except ValueError as err:
            raise ChildDiedError(str(err)) from err

    def end(self) -> bool:
        if not self._in.closed:
            self._process.kill()
            for pipe in (self._in, self._out):
                with contextlib.suppress(OSError):
                    pipe.close()
        return self._process.poll() is not None

    def _death(self) -> ChildDiedError:
        status = self._process.poll()
        how = "it closed its output" if status is None else f"exit status {status}"
        return ChildDiedError(f"process {self.pid}: {how}")


def wait(children: Iterable[Child], seconds: float) -> None:
    """Returns as soon as one of them has an answer or died, at the latest after seconds."""
    poll = select.poll()
    for child in children:
        poll.register(child.fileno(), select.POLLIN)
    poll.poll(max(0.0, seconds) * 1000)
