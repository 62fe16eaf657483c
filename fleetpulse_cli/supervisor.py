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
from contextlib import suppress
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path

from fleetpulse.errors import StartError
from fleetpulse.logs import wants_a_person
from fleetpulse.sdnotify import for_children
from fleetpulse.values import ListenAddress
from fleetpulse_cli.asking import ask_ready
from fleetpulse_cli.parent import PARENT_VARIABLE

CANNOT_START = 2  # exit code of a role that will not start until a person mends something

_TICK = 0.1
_ASK_AGAIN = 1.0  # of a role that is slow to become ready
_STOP_SECONDS = 10.0
_READY_SECONDS = 30.0
_STABLE_SECONDS = 60.0
_BACKOFF_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Role:
    """A role as the supervisor sees it: how to start it and where it tells that it is ready.

    describe turns the ready line into the two texts of the role's own line: what and note.
    ask gets the ready line from the role's address; None while there is none.
    """

    name: str
    arguments: Sequence[str]
    address: ListenAddress
    describe: Callable[[str], tuple[str, str]]
    ask: Callable[[ListenAddress], str | None] = ask_ready


@dataclass(slots=True)
class _Child:
    role: Role
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    restart_at: float | None = None
    failures: int = 0
    ready: bool = False
    asked_at: float = 0.0
    last_lines: list[str] = field(default_factory=list)


class RoleLog(RotatingFileHandler):
    """A role's log file. What cannot be written is told once and left out: the role must go on."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        super().__init__(path, maxBytes=10 << 20, backupCount=3, encoding="utf-8", delay=True)
        self._say, self._told = say, False

    def handleError(self, _record: logging.LogRecord) -> None:  # noqa: N802 - the base's name
        if not self._told:
            self._told = True
            self._say(f"{self.baseFilename}: lines are lost: {sys.exception()}")

    def close(self) -> None:
        with suppress(OSError):  # what cannot be flushed has been told
            super().close()


def say(line: str) -> None:
    """A line for whoever looks; nobody does once the terminal or `| head` is gone."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(line.encode(encoding, "replace").decode(encoding), flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Supervisor:
    """Runs roles given from the sink to the source; all processes are started by one thread."""

    def __init__(
        self,
        roles: Sequence[Role],
        shown: Sequence[str],
        log_dir: Path,
        *,
        say: Callable[[str], None] = say,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._children = [_Child(role) for role in roles]
        self._shown, self._log_dir, self._say, self._clock = shown, log_dir, say, clock
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._hurried = False

    def run(self) -> int:
        """Until SIGTERM or SIGINT, of which a second one kills what is slow to end.

        0, or 2 when a role cannot start at all.
        """
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
        environment = {**for_children(os.environ), PARENT_VARIABLE: str(os.getpid())}
        # A session of its own: Ctrl-C must reach the supervisor alone, which stops in order.
        try:
            process = subprocess.Popen(  # noqa: S603 - our own program, no shell
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as err:
            raise StartError(f"{child.role.name}: no process can be made: {err.strerror}") from err
        child.process, child.started_at = process, self._clock()
        child.restart_at, child.ready, child.last_lines = None, False, []
        reader = threading.Thread(target=self._drain, args=(child, process), daemon=True)
        reader.start()

    def _drain(self, child: _Child, process: subprocess.Popen[bytes]) -> None:
        """Keeps what a role logs in its file; what needs a person goes to the terminal too."""
        handler = RoleLog(self._log_dir / f"{child.role.name}.log", self._say)
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
                if wants_a_person(line):
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
        child.asked_at = self._clock()
        line = child.role.ask(child.role.address)
        # Somebody else's server on that port must not pass for the role.
        return line if self._exit_code(child) is None else None

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
                self._start_again(child)
        elif self._exit_code(child) is not None:
            self._handle_death(child, first=False)
        elif not child.ready and self._clock() - child.asked_at >= _ASK_AGAIN:
            line = self._ask_ready(child)
            if line is not None:
                self._show(child, line)

    def _start_again(self, child: _Child) -> None:
        try:
            self._start(child)
        except StartError as err:  # no memory or no process number just now
            child.failures += 1
            child.restart_at = self._clock() + _BACKOFF_MAX
            self._say(f"{err}, next attempt in {_BACKOFF_MAX:g} s")

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
            process, name = child.process, child.role.name
            if process is None or process.poll() is not None:
                continue
            process.terminate()
            if self._ends(process):
                self._say(f"{name:<9} stopped")
                continue
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with the workers it has forked
            process.wait()
            why = "" if self._hurried else f": did not stop in {_STOP_SECONDS:g} s"
            self._say(f"{name:<9} killed{why}")

    def _ends(self, process: "subprocess.Popen[bytes]") -> bool:
        """Waits for its end, unless a person or systemd asks a second time."""
        deadline = self._clock() + _STOP_SECONDS
        while process.poll() is None:
            if self._hurried or self._clock() > deadline:
                return False
            with suppress(queue.Empty):
                self._hurried = self._signals.get(timeout=_TICK / 4) != signal.SIGHUP
        return True
