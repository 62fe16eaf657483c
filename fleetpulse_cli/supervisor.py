"""`fleetpulse up`: starts every role as a process of its own, watches them, ends them in order."""

import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path

import requests

from fleetpulse.errors import StartError

CANNOT_START = 2  # exit code of a role that will not start until a person mends something
PARENT_VARIABLE = "FLEETPULSE_SUPERVISOR_PID"

_TICK = 0.1
_STOP_SECONDS = 10.0
_READY_SECONDS = 30.0
_STABLE_SECONDS = 60.0
_BACKOFF_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Role:
    """A role as the supervisor sees it: how to start it and where it tells that it is ready.

    describe turns the ready line into the two texts of the role's own line: what and note.
    """

    name: str
    arguments: Sequence[str]
    url: str
    describe: Callable[[str], tuple[str, str]]


@dataclass(slots=True)
class _Child:
    role: Role
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restart_at: float | None = None
    failures: int = 0
    ready: bool = False
    last_lines: list[str] = field(default_factory=list)


class Supervisor:
    """Runs roles given from the sink to the source; all processes are started by one thread."""

    def __init__(
        self,
        roles: Sequence[Role],
        shown: Sequence[str],
        log_dir: Path,
        *,
        say: Callable[[str], None] = lambda line: print(line, flush=True),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._children = [_Child(role) for role in roles]
        self._shown, self._log_dir, self._say, self._clock = shown, log_dir, say, clock
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()

    def run(self) -> int:
        """Until SIGTERM or SIGINT. 0, or 2 when a role cannot start at all."""
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(signum, lambda got, _frame: self._signals.put(got))
        try:
            for child in self._children:
                self._start(child)
            self._announce_all()
            self._watch()
        except StartError as err:
            self._say(str(err))
            return CANNOT_START
        finally:
            self._stop_all()
        return 0

    def _start(self, child: _Child) -> None:
        command = [sys.executable, "-m", "fleetpulse_cli.main", *child.role.arguments]
        environment = {**os.environ, PARENT_VARIABLE: str(os.getpid())}
        # A session of its own: Ctrl-C must reach the supervisor alone, which stops in order.
        process = subprocess.Popen(  # noqa: S603 - our own program, no shell
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        child.process, child.started_at = process, self._clock()
        child.restart_at, child.ready, child.last_lines = None, False, []
        reader = threading.Thread(target=self._drain, args=(child, process), daemon=True)
        reader.start()

    def _drain(self, child: _Child, process: subprocess.Popen[bytes]) -> None:
        """Keeps what a role logs in its file; what needs a person goes to the terminal too."""
        handler = RotatingFileHandler(
            self._log_dir / f"{child.role.name}.log", maxBytes=10 << 20, backupCount=3
        )
        logger = logging.Logger(child.role.name)
        logger.addHandler(handler)
        stream = process.stderr
        if stream is None:
            return
        with stream:
            for raw in stream:
                line = raw.decode(errors="replace").rstrip()
                logger.info("%s", line)
                child.last_lines = [*child.last_lines[-4:], line]
                if " WARNING " in line or " ERROR " in line:
                    self._say(f"{child.role.name}: {line}")
        handler.close()

    def _announce_all(self) -> None:
        by_name = {child.role.name: child for child in self._children}
        for name in self._shown:
            self._announce(by_name[name])

    def _announce(self, child: _Child) -> None:
        deadline = self._clock() + _READY_SECONDS
        while self._signals.empty():
            line = self._ask_ready(child)
            if line is not None:
                return self._show(child, line)
            if self._exit_code(child) is not None:
                return self._handle_death(child, first=True)
            if self._clock() > deadline:
                return self._say(f"{child.role.name:<9} not ready after {_READY_SECONDS:g} s")
            time.sleep(_TICK)
        return None

    def _show(self, child: _Child, line: str) -> None:
        child.ready = True
        what, note = child.role.describe(line)
        self._say(f"{child.role.name:<9} {what:<31} up    {note}".rstrip())

    def _ask_ready(self, child: _Child) -> str | None:
        try:
            answer = requests.get(f"{child.role.url}/-/ready", timeout=2, allow_redirects=False)
        except requests.RequestException:
            return None
        # Somebody else's server on that port must not pass for the role.
        alive = self._exit_code(child) is None
        return answer.text.strip() if answer.status_code == 200 and alive else None

    def _watch(self) -> None:
        while True:
            try:
                got = self._signals.get(timeout=_TICK)
            except queue.Empty:
                for child in self._children:
                    self._look_after(child)
                continue
            if got != signal.SIGHUP:
                return
            self._reload_all()

    def _reload_all(self) -> None:
        for child in self._children:
            if child.process is not None and child.process.poll() is None:
                child.process.send_signal(signal.SIGHUP)

    def _look_after(self, child: _Child) -> None:
        if child.restart_at is not None:
            if self._clock() >= child.restart_at:
                self._start(child)
        elif self._exit_code(child) is not None:
            self._handle_death(child, first=False)
        elif not child.ready:
            line = self._ask_ready(child)
            if line is not None:
                self._show(child, line)

    def _exit_code(self, child: _Child) -> int | None:
        return child.process.poll() if child.process is not None else None

    def _handle_death(self, child: _Child, *, first: bool) -> None:
        code = self._exit_code(child)
        name = child.role.name
        if first and code == CANNOT_START:
            time.sleep(_TICK)  # lets the reader take the role's last words
            raise StartError("\n".join(f"{name}: {line}" for line in child.last_lines))
        if self._clock() - child.started_at > _STABLE_SECONDS:
            child.failures = 0
        child.failures += 1
        delay = min(_BACKOFF_MAX, 2.0 ** (child.failures - 1))
        child.restart_at = self._clock() + delay
        log = self._log_dir / f"{name}.log"
        reason = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        self._say(f"{name:<9} died ({reason}), restart in {delay:g} s; log in {log}")

    def _stop_all(self) -> None:
        for child in reversed(self._children):
            process = child.process
            if process is None or process.poll() is not None:
                continue
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
                self._say(f"{child.role.name:<9} stopped")
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)  # with the workers it has forked
                process.wait()
                self._say(f"{child.role.name:<9} killed: did not stop in {_STOP_SECONDS:g} s")


def end_with_parent() -> None:
    """In a role: asks the kernel for SIGTERM when the supervisor dies, however it dies."""
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is None:
        return
    import ctypes

    set_parent_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
    if str(os.getppid()) != parent:  # it died before we could ask
        os.kill(os.getpid(), signal.SIGTERM)
