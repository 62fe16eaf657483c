"""The processes of a host without /proc."""

from collections.abc import Callable
from typing import Any

import psutil

from exporter.collectors.top import Process


class ProcList:
    """What may not be looked at, as other users' processes on macOS, is not there."""

    per_second = 1.0

    def __init__(
        self,
        pids: Callable[[], list[int]] = psutil.pids,
        process: Callable[[int], Any] = psutil.Process,
        errors: type[Exception] = psutil.Error,
    ) -> None:
        self._pids, self._process, self._errors = pids, process, errors
        self._users: dict[tuple[int, float], str] = {}

    def pids(self) -> list[int]:
        """Without number 0: on Windows, its CPU is what no process uses."""
        found = [pid for pid in self._pids() if pid]
        alive = set(found)
        self._users = {key: user for key, user in self._users.items() if key[0] in alive}
        return found

    def read(self, pid: int) -> Process | None:
        try:
            process = self._process(pid)
            with process.oneshot():
                times, born = process.cpu_times(), process.create_time()
                cpu, resident = times.user + times.system, process.memory_info().rss
                return Process(born, process.name(), self._user(process, born), cpu, resident)
        except (self._errors, OSError):
            return None

    def _user(self, process: Any, born: float) -> str:
        """Remembered, for Windows asks a server for it."""
        key = (process.pid, born)
        if key not in self._users:
            self._users[key] = process.username()
        return self._users[key]
