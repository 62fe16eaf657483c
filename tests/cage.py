"""Runs a command as nobody, in a mount namespace of its own where nothing can be written; for root.

`python cage.py FOLDER… -- COMMAND…` in the place of the command, which is to reach these
folders. It has no group, no home and no other environment than where this project is.
"""

import ctypes
import os
import re
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOBODY = 65534
_NEW_MOUNTS = 0x20000  # CLONE_NEWNS, include/uapi/linux/sched.h
# include/uapi/linux/mount.h
_BIND, _REC, _PRIVATE = 4096, 1 << 14, 1 << 18
_MOUNT_SETATTR, _ATTR_RDONLY = 442, 1  # the system call has this number on nearly all machines
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_SYS_ADMIN = 21  # the capability's number


def why_not() -> str:
    """Why there can be no such thing here; empty where there can."""
    if not sys.platform.startswith("linux"):
        return "no Linux"
    version = re.findall(r"\d+", os.uname().release)
    if tuple(map(int, version[:2])) < (5, 12):
        return "the kernel has no mount_setattr"
    status = Path("/proc/self/status").read_text()
    capabilities = int(status.partition("CapEff:")[2].split()[0], 16)
    return "" if capabilities >> _SYS_ADMIN & 1 else "only root may have mounts of its own"


def mount(source: Path | None, place: Path, kind: str | None, flags: int, data: str = "") -> None:
    raw = [None if one is None else os.fsencode(one) for one in (source, place, kind)]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(*raw, flags, data.encode()) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(place))


def make_reachable(folders: Sequence[Path]) -> None:
    """Where others may not enter a folder on the way, as root's home, an empty one that holds
    nothing but these takes its place.
    """
    held = {folder: os.open(folder, os.O_PATH) for folder in folders}
    for folder in folders:
        for step in [*reversed(folder.parents), folder]:
            if step.exists() and not step.stat().st_mode & 1:
                mount(None, step, "tmpfs", 0, "mode=755")
    for folder, descriptor in held.items():
        folder.mkdir(parents=True, exist_ok=True)
        mount(Path(f"/proc/self/fd/{descriptor}"), folder, None, _BIND)
        os.close(descriptor)


def make_read_only() -> None:
    """All mounts, in one step: others may come and go meanwhile, or be silent when looked at."""
    path, wanted = os.fsencode("/"), struct.pack("=QQQQ", _ATTR_RDONLY, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, path, _AT_RECURSIVE, wanted, len(wanted)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "mount_setattr")


def enter(needed: Sequence[Path]) -> None:
    if ctypes.CDLL(None).unshare(_NEW_MOUNTS) != 0:
        raise OSError("no mount namespace can be had")
    os.umask(0o022)  # whatever came from the caller: what is made here is for others to enter
    mount(None, Path("/"), None, _REC | _PRIVATE)
    make_reachable(needed)
    make_read_only()
    os.chdir("/")
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def command(*folders: Path) -> list[str]:
    """What stands before a command of this interpreter; folders: what else it must reach."""
    needed = (Path(sys.base_prefix), Path(sys.prefix), ROOT, *folders)
    return [sys.executable, __file__, *map(str, needed), "--"]


if __name__ == "__main__":
    end = sys.argv.index("--")
    enter(list(map(Path, sys.argv[1:end])))
    inside = sys.argv[end + 1 :]
    os.execve(inside[0], inside, {"PYTHONPATH": str(ROOT)})
