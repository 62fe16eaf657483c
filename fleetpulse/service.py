"""Threads that run until told to stop, files that are watched, and the wait for a signal."""

import logging
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

log = logging.getLogger(__name__)

STOP_DEADLINE = 5.0  # seconds a service may take to end


class Service(Protocol):
    """Something with a beginning and an end."""

    name: str

    def start(self) -> None:
        """Begins. Raises StartError where it cannot."""

    def stop(self) -> None:
        """Ends, within STOP_DEADLINE. May be called twice, and without a start."""


class Periodic:
    """Calls work every interval seconds: a failed turn is logged, a missed one skipped.

    wake() brings the next turn forward. on_error is told of a failed turn, for a counter.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], None],
        interval: float,
        *,
        first_delay: float = 0.0,
        on_error: Callable[[], None] | None = None,
    ) -> None:
        self.name = name
        self._work, self._interval, self._first_delay = work, interval, first_delay
        self._on_error = on_error
        self._wake, self._stopping = threading.Event(), False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        self._stopping = True
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(STOP_DEADLINE)
            if self._thread.is_alive():
                log.warning("%s did not end within %g s", self.name, STOP_DEADLINE)

    def _run(self) -> None:
        due = time.monotonic() + self._first_delay
        while True:
            woken = self._wake.wait(max(0.0, due - time.monotonic()))
            self._wake.clear()
            if self._stopping:
                return
            self._turn()
            late = time.monotonic() - due
            # A turn that was brought forward takes no other's place, however often that happens.
            if not woken or late >= 0:
                due += self._interval * (1 + max(0.0, late) // self._interval)

    def _turn(self) -> None:
        try:
            self._work()
        except Exception:  # the loop must go on; the traceback says what happened
            log.exception("%s failed; its next turn comes as planned", self.name)
            if self._on_error is not None:
                self._on_error()


Stamp = dict[Path, tuple[int, int, int]]


def stamp(paths: Iterable[Path]) -> Stamp:
    """What tells a file's versions apart; files that are not there are left out."""
    stamps: Stamp = {}
    for path in paths:
        try:
            stat = path.stat()
        except OSError:
            continue
        stamps[path] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    return stamps


class FileWatch:
    """Calls on_change when a watched file's content seems to have changed, came or went.

    seen: the files' stamp before they were read; without it, they are taken as they are now.
    """

    def __init__(
        self,
        name: str,
        paths: Callable[[], Iterable[Path]],
        on_change: Callable[[], None],
        *,
        every: float = 2.0,
        seen: Stamp | None = None,
    ) -> None:
        self.name = name
        self._paths, self._on_change = paths, on_change
        self._periodic = Periodic(name, self.look, every, first_delay=every)
        self._seen = stamp(paths()) if seen is None else seen

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def look(self) -> None:
        """One turn: compares the files with what was seen last."""
        now = stamp(self._paths())
        if now != self._seen:
            self._seen = now
            self._on_change()


class Notify(Protocol):
    """Whoever wants to know how the process is, such as the manager that started it."""

    def started(self) -> None: ...
    def reloading(self) -> None: ...
    def reloaded(self) -> None: ...
    def stopping(self) -> None: ...
    def close(self) -> None:
        """All has ended. May come without the others."""


def run_until_signalled(
    services: Sequence[Service],
    on_reload: Callable[[], None] | None = None,
    on_started: Callable[[], None] | None = None,
    notify: Notify | None = None,
) -> None:
    """Starts services in order; at SIGTERM or SIGINT stops them in reverse; SIGHUP reloads.

    If one cannot start, those before it are stopped and its error rises. notify is told once all
    have started, before and after a reload, and before the first is stopped.
    """
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()  # put() is safe in a handler
    with ExitStack() as undo:
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            undo.callback(signal.signal, signum, signal.getsignal(signum))
            signal.signal(signum, lambda got, _frame: signals.put(got))
        if notify is not None:
            undo.callback(notify.close)
        for service in services:
            undo.callback(_stop, service)
            service.start()
        if notify is not None:
            notify.started()
        if on_started is not None:
            on_started()
        while (got := signals.get()) == signal.SIGHUP:
            _reload(on_reload, notify)
        log.info("%s received, stopping", signal.Signals(got).name)
        if notify is not None:
            notify.stopping()


def _reload(on_reload: Callable[[], None] | None, notify: Notify | None) -> None:
    if notify is not None:
        notify.reloading()
    if on_reload is not None:
        on_reload()
    if notify is not None:
        notify.reloaded()


def _stop(service: Service) -> None:
    try:
        service.stop()
    except Exception:  # those that are left must be stopped as well
        log.exception("%s did not stop cleanly", service.name)
