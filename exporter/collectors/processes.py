"""How many processes and threads there are, and in which states, from /proc/*/stat."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from exporter.collectors.base import Host, text
from exporter.families import Found, Rows, gauge

_MAX_PROCESSES = gauge(
    "node_processes_max_processes", "Process ids that the kernel gives out at most."
)
_MAX_THREADS = gauge("node_processes_max_threads", "Threads that the kernel allows at most.")
_PIDS = gauge("node_processes_pids", "Processes.")
_STATE = gauge("node_processes_state", "Processes by the kernel's letter for their state.", "state")
_THREADS = gauge("node_processes_threads", "Threads of all processes.")
_THREADS_STATE = gauge(
    "node_processes_threads_state",
    "Threads by the kernel's letter for their state.",
    "thread_state",
)

# More than the columns up to the 20th, the last we need, can take.
_ENOUGH = 1024
# Columns after the name in brackets, which may hold anything.
_STATE_AT, _THREADS_AT = 0, 17


class ProcessesCollector:
    """node_processes_*."""

    name = "processes"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[Found]:
        census = count(self._host.procfs)
        yield _THREADS, census.threads
        yield _MAX_THREADS, int(self._host.proc("sys/kernel/threads-max"))
        yield _STATE, census.states.rows()
        yield _THREADS_STATE, census.thread_states.rows()
        yield _PIDS, census.pids
        yield _MAX_PROCESSES, int(self._host.proc("sys/kernel/pid_max"))


class States(Counter[bytes]):
    def rows(self) -> Rows:
        return {(text(state),): number for state, number in sorted(self.items())}


@dataclass(slots=True)
class Census:
    pids: int = 0
    threads: int = 0
    states: States = field(default_factory=States)
    thread_states: States = field(default_factory=States)


def count(procfs: str) -> Census:
    """Reads all processes. One that ends meanwhile is left out.

    Only where there is more than one thread are threads looked at: most processes have one.
    """
    census = Census()
    folder = os.open(procfs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for pid in _numbers(os.listdir(folder)):
            try:
                state, threads = parse(_read(f"{pid}/stat", folder))
            except (FileNotFoundError, ProcessLookupError):
                continue
            census.pids += 1
            census.threads += threads
            census.states[state] += 1
            census.thread_states[state] += 1
            if threads > 1:
                census.thread_states.update(_other_threads(pid, folder))
    finally:
        os.close(folder)
    return census


def _other_threads(pid: str, folder: int) -> Iterator[bytes]:
    try:
        tasks = os.open(f"{pid}/task", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    except (FileNotFoundError, ProcessLookupError):
        return
    try:
        for thread in _numbers(os.listdir(tasks)):
            if thread != pid:
                try:
                    yield parse(_read(f"{thread}/stat", tasks))[0]
                except (FileNotFoundError, ProcessLookupError):
                    continue
    except (FileNotFoundError, ProcessLookupError):
        return
    finally:
        os.close(tasks)


def _numbers(names: list[str]) -> list[str]:
    return [name for name in names if name.isdecimal()]


def _read(path: str, folder: int) -> bytes:
    """Not by Host, which would keep the files of thousands of processes open."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return os.read(descriptor, _ENOUGH)
    finally:
        os.close(descriptor)


def parse(raw: bytes) -> tuple[bytes, int]:
    """State and number of threads: `1 (init) S 0 …`. ValueError where it is no such line."""
    _, bracket, rest = raw.rpartition(b")")
    columns = rest.split(None, _THREADS_AT + 1)
    if not bracket or len(columns) <= _THREADS_AT:
        raise ValueError(f"no process's stat: {raw[:100]!r}")
    return columns[_STATE_AT], int(columns[_THREADS_AT])
