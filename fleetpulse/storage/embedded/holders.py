"""Which processes have a file locked, by name: Linux tells in /proc/locks (see proc_locks(5))."""

import os
from collections.abc import Iterable
from pathlib import Path

_PROC = Path("/proc")
_LONGEST = 60


def of(path: Path, proc: Path = _PROC) -> str:
    """`fleetpulse scraper (pid 7), …`; empty where nobody is known."""
    try:
        text = (proc / "locks").read_text()
        status = path.stat()
    except OSError:
        return ""
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    return ", ".join(f"{_name(proc, pid)} (pid {pid})" for pid in pids(text, place))


def pids(locks: str, place: str) -> list[int]:
    """Those that hold a lock on a file; place is major:minor:inode as /proc/locks has it."""
    fields: Iterable[list[str]] = (line.split() for line in locks.splitlines())
    # A waiting lock has an arrow for its second field; it holds nothing.
    found = {int(one[4]) for one in fields if len(one) == 8 and one[5] == place}
    return sorted(pid for pid in found if pid > 0)


def _name(proc: Path, pid: int) -> str:
    """The program and its first two arguments that are no options."""
    try:
        words = (proc / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "a process"
    plain = [word for word in words[1:] if word and not word.startswith("-")]
    names = [Path(word).name for word in plain[:2]] or [Path(words[0]).name]
    return " ".join(" ".join(names).split())[:_LONGEST] or "a process"
