"""Runs a program for what it writes: with an end to its time and to its output, without a shell.

POSIX alone: a group of processes is what is ended.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

# Nothing of the exporter's own environment: it may hold secrets.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
}
_CHUNK = 64 << 10
_COMPLAINTS = 2048  # bytes of what a program writes to stderr that are kept
_LOOK = 0.1  # seconds after which it is seen that nobody wants the output any more
_GRACE = 1.0  # seconds in which a killed program is gone, if it is not stuck in the kernel

Popen = subprocess.Popen[bytes]


@dataclass(frozen=True, slots=True)
class Result:
    """exit_code: None where the program did not end by itself; fault: why not, or nothing.

    stuck: a process that was killed and is still there, asleep in the kernel.
    """

    output: bytes = b""
    complaints: bytes = b""
    exit_code: int | None = None
    fault: str = ""
    stuck: Popen | None = None


def run(
    command: Sequence[str],
    *,
    timeout: float,
    most: int,
    unwanted: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> Result:
    """At the deadline, or once there are more than most bytes, all of its group are killed; or
    soon after it is unwanted.

    Never raises, and never takes longer than timeout and a second.
    """
    patience = _Patience(clock() + timeout, clock, unwanted)
    try:
        process = _started(command)
    except (OSError, ValueError) as err:
        reason = getattr(err, "strerror", None) or str(err)
        return Result(fault=f"cannot be started: {reason}")
    streams = _Streams(process, most)
    try:
        fault = streams.read(patience) or _ended(process, patience)
        if fault:
            _kill(process)
    except BaseException:
        _kill(process)
        raise
    finally:
        streams.close()
    code = None if fault else _exit_code(process.returncode)
    stuck = process if process.returncode is None else None
    return Result(bytes(streams.output), bytes(streams.complaints), code, fault, stuck)


def _started(command: Sequence[str]) -> Popen:
    return subprocess.Popen(  # noqa: S603 - a list of arguments from the configuration, no shell
        list(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env=ENVIRONMENT,
        start_new_session=True,
    )


@dataclass(frozen=True, slots=True)
class _Patience:
    """How long a program is waited for."""

    deadline: float
    clock: Callable[[], float]
    unwanted: Callable[[], bool]

    def fault(self) -> str:
        """Why no longer, or nothing."""
        if self.unwanted():
            return "was ended"
        return "took too long" if self.clock() >= self.deadline else ""

    def turn(self) -> float:
        """Seconds until the next look."""
        return max(0.0, min(_LOOK, self.deadline - self.clock()))


class _Streams:
    """What a process writes to stdout and stderr."""

    def __init__(self, process: Popen, most: int) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._files = (process.stdout, process.stderr)
        self._most = most
        self.output, self.complaints = bytearray(), bytearray()

    def read(self, patience: _Patience) -> str:
        """Until both have ended. A fault where that is too late, or too much."""
        with selectors.DefaultSelector() as selector:
            for file in self._files:
                selector.register(file, selectors.EVENT_READ)
            while selector.get_map():
                if fault := patience.fault():
                    return fault
                for key, _ in selector.select(patience.turn()):
                    chunk = os.read(key.fd, _CHUNK)
                    if not chunk:
                        selector.unregister(key.fileobj)
                    elif not self._keep(key.fileobj is self._files[0], chunk):
                        return f"wrote more than {self._most} bytes"
        return ""

    def _keep(self, is_output: bool, chunk: bytes) -> bool:
        if is_output:
            self.output += chunk
            return len(self.output) <= self._most
        self.complaints += chunk[: _COMPLAINTS - len(self.complaints)]
        return True

    def close(self) -> None:
        for file in self._files:
            file.close()


def _ended(process: Popen, patience: _Patience) -> str:
    """A program may close its output and go on."""
    while True:
        try:
            process.wait(patience.turn())
        except subprocess.TimeoutExpired:
            if fault := patience.fault():
                return fault
        else:
            return ""


def _kill(process: Popen) -> None:
    """Its whole group: as long as the leader was not waited for, the number is the group's."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        return  # the caller is told of it


def _exit_code(code: int) -> int:
    """As a shell has it: 128 and the signal where one ended it."""
    return code if code >= 0 else 128 - code
