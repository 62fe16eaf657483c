"""The processes of a Linux host, from /proc/PID/stat: a tenth of what psutil takes for it.

https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
"""

import os

from exporter.collectors.base import Host, read_optional, text
from exporter.collectors.top import Process

# Threads of the kernel have as many names as there are CPUs and devices.
KERNEL = "[kernel]"
_IS_KERNEL = 0x00200000  # PF_KTHREAD
_MOST = 2048  # bytes; a line has some 300
# Places behind the name, which may hold anything.
_FLAGS, _USER, _SYSTEM, _BORN, _RESIDENT = 6, 11, 12, 19, 21


class ProcList:
    """per_second: the kernel's ticks; page: bytes of a page of memory."""

    def __init__(
        self,
        host: Host,
        *,
        per_second: float | None = None,
        page: int | None = None,
    ) -> None:
        self._host = host
        self.per_second = os.sysconf("SC_CLK_TCK") if per_second is None else per_second
        self._page = os.sysconf("SC_PAGE_SIZE") if page is None else page
        self._users = Users(host.root("/etc/passwd"))

    def pids(self) -> list[int]:
        self._users.refresh()
        return [int(name) for name in os.listdir(self._host.procfs) if name.isdecimal()]

    def read(self, pid: int) -> Process | None:
        folder = f"{self._host.procfs}/{pid}"
        try:
            descriptor = os.open(f"{folder}/stat", os.O_RDONLY | os.O_CLOEXEC)
            try:
                raw = os.read(descriptor, _MOST)
            finally:
                os.close(descriptor)
            # The folder is the user's; the files in it are root's for a program that may not be
            # looked into.
            user = self._users.name(os.stat(folder).st_uid)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return None
        return parse(raw, user, self._page)


class Users:
    """Names of users, from the host's own list: a directory service may not answer for long."""

    def __init__(self, path: str) -> None:
        self._path, self._stamp = path, (0, 0)
        self._names: dict[int, str] = {}

    def refresh(self) -> None:
        try:
            status = os.stat(self._path)
        except OSError:
            return
        if (status.st_mtime_ns, status.st_size) != self._stamp:
            self._stamp = (status.st_mtime_ns, status.st_size)
            self._names = users(read_optional(self._path) or b"")

    def name(self, number: int) -> str:
        return self._names.get(number) or str(number)


def users(raw: bytes) -> dict[int, str]:
    """/etc/passwd → names by number; of several, the first. Lines that are none are left out."""
    names = dict[int, str]()
    for line in raw.splitlines():
        fields = line.split(b":")
        if len(fields) >= 3 and fields[2].isdigit() and fields[0]:
            names.setdefault(int(fields[2]), text(fields[0]))
    return names


def parse(raw: bytes, user: str, page: int) -> Process:
    """/proc/PID/stat; page: bytes of a page. ValueError where it is cut short."""
    start, end = raw.find(b"("), raw.rfind(b")")
    fields = raw[end + 1 :].split(None, _RESIDENT + 1)
    if start < 0 or end < start or len(fields) <= _RESIDENT:
        raise ValueError(f"/proc/PID/stat: not a process: {raw[:80]!r}")
    command = KERNEL if int(fields[_FLAGS]) & _IS_KERNEL else text(raw[start + 1 : end])
    cpu = int(fields[_USER]) + int(fields[_SYSTEM])
    return Process(int(fields[_BORN]), command, user, cpu, int(fields[_RESIDENT]) * page)
