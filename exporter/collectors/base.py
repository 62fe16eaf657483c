"""What all collectors share: their shape, and how they read the host."""

import errno
import os
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Protocol

from exporter.families import Found

# Asked for at once: more than nearly all attributes of /sys, which come in one piece, have; and a
# page, which is what a file of /proc comes in at the most.
_SYS_PIECE, _PROC_PIECE = 250, 4096
# For tables of which no line is longer than 3 KB: the kernel fills a page with whole lines, so that
# a piece with more room left than that is the last one, and no second look is needed to know. It
# would cost as much as the first where a table is searched anew each time, as that of UDP sockets.
SHORT_LINES = 1024
# Of the files that the process may have open, this part may be kept from page to page.
_KEPT_PART = 0.5
_KEPT_AT_MOST = 4096
# What an open file answers whose device or module left, or whose server was restarted. There may
# be another one under its name by now: what these errors mean, only opening it anew can tell.
_GONE = frozenset((errno.ENODEV, errno.ENOENT, errno.EIO, errno.ENOTCONN, errno.ESTALE))


class NoDataError(Exception):
    """This host has nothing of the kind: no success, but nothing to tell a person of."""


class Collector(Protocol):
    """One subsystem of the host."""

    @property
    def name(self) -> str:
        """As in `collect[]=` and in the label of node_scrape_collector_success."""

    def collect(self) -> Iterable[Found]:
        """Reads the host. Raises whatever goes wrong; called by one thread at a time."""


class Host:
    """Where a host's /proc, /sys and file tree are; not at / inside a container.

    Files of /proc and /sys stay open from page to page, since to open and close them costs many
    times what reading does. Not for two threads: a collector has a host of its own.
    """

    def __init__(
        self,
        procfs: str | Path = "/proc",
        sysfs: str | Path = "/sys",
        rootfs: str | Path = "/",
        *,
        udev_data: str | Path = "/run/udev/data",
        keeps: Callable[[str], bool] = os.path.ismount,
    ) -> None:
        self.procfs, self.sysfs, self.udev_data = str(procfs), str(sysfs), str(udev_data)
        self.rootfs = str(rootfs).rstrip("/")
        self._proc = Files(self.procfs, _PROC_PIECE, keeps=keeps)
        self._sys = Files(self.sysfs, _SYS_PIECE, _SYS_PIECE, keeps=keeps)
        self._inodes: dict[str, dict[str, int]] = {}  # by folder of devices: as last seen

    def proc(self, path: str, sure: int = 0) -> bytes:
        """A file below /proc, whole. OSError where there is none.

        sure: 0, or SHORT_LINES for a file that has none but short lines.
        """
        return self._proc.read(path, sure)

    def sys(self, path: str) -> bytes:
        return self._sys.read(path)

    def proc_or_none(self, path: str, sure: int = 0) -> bytes | None:
        """None where the kernel has no such file or will not tell."""
        try:
            return self._proc.read(path, sure)
        except OSError:
            return None

    def sys_or_none(self, path: str) -> bytes | None:
        """None as well for what cannot be read now; as the speed of a link that is down."""
        try:
            return self._sys.read(path)
        except OSError:
            return None

    def sys_each(self, paths: Iterable[tuple[str, str]]) -> dict[str, bytes]:
        """(name, path) of many files → by name what those hold that can be read, stripped."""
        return self._sys.each(paths)

    def list_proc(self, path: str) -> list[str]:
        return listed(f"{self.procfs}/{path}")

    def list_sys(self, path: str) -> list[str]:
        """Names in a folder below /sys, sorted; none where there is no such folder."""
        return listed(f"{self.sysfs}/{path}")

    def sys_devices(self, folder: str) -> list[str]:
        """As list_sys(), for devices that may be renamed or leave for another name space.

        Their files go with them: what is kept open of one whose name is another's now is let go.
        """
        try:
            with os.scandir(f"{self.sysfs}/{folder}") as found:
                inodes = {entry.name: entry.inode() for entry in found}
        except (FileNotFoundError, NotADirectoryError):
            inodes = {}
        last = self._inodes.get(folder, {})
        if inodes != last:
            self._inodes[folder] = inodes
            for name in last.keys() - {name for name in inodes if inodes[name] == last.get(name)}:
                self._sys.forget(f"{folder}/{name}/")
        return sorted(inodes)

    def root(self, path: str) -> str:
        """A path of the host as this process reaches it."""
        return f"{self.rootfs}{path}" or "/"


class Files:
    """Small files below a folder, read again and again.

    Only of a kernel's file system are they kept open: there, the path goes on to mean the same
    file, and reading at 0 makes it tell the present. A device that left answers with an error; one
    that may be renamed has to be watched, see Host.sys_devices().

    piece: bytes asked for at once. sure: a first piece that is shorter is all there is.
    keeps: whether a folder's files are kept open.
    """

    kept_in_all = 0

    def __init__(
        self,
        folder: str,
        piece: int,
        sure: int = 0,
        *,
        keeps: Callable[[str], bool] = os.path.ismount,
        pread: Callable[[int, int, int], bytes] | None = None,
    ) -> None:
        self._folder, self._piece, self._sure = folder, piece, sure
        # Not as the default: this module is imported on systems without it, too.
        self._may_keep, self._pread = keeps, pread or os.pread
        self._open: dict[str, int] = {}
        self._keeps: bool | None = None  # not known before the first read
        self._missed = 0  # files opened anew for want of room

    def read(self, path: str, sure: int = 0) -> bytes:
        """The file, whole. OSError where there is none or the kernel will not tell."""
        sure = sure or self._sure
        descriptor = self._open.get(path)
        if descriptor is not None:
            try:
                return self._whole(descriptor, sure)
            except OSError as err:
                if err.errno not in _GONE:  # as of a link that is down: it may be up later
                    raise
                self._forget(path)
        descriptor = os.open(f"{self._folder}/{path}", os.O_RDONLY | os.O_CLOEXEC)
        if self._keep(path, descriptor):
            return self._whole(descriptor, sure)
        try:
            return self._whole(descriptor, sure)
        finally:
            os.close(descriptor)

    def each(self, paths: Iterable[tuple[str, str]]) -> dict[str, bytes]:
        # What read() does, in one loop: hosts have thousands of these, of a few bytes each.
        found, kept, piece, pread = {}, self._open, self._piece, self._pread
        for name, path in paths:
            try:
                content = pread(kept[path], piece, 0)
                if len(content) == piece:
                    content = self.read(path)
            except OSError as err:
                if err.errno not in _GONE:
                    continue
                content = self._read_or_nothing(path)
            except KeyError:
                content = self._read_or_nothing(path)
            if content:
                found[name] = content.strip()
        return found

    def _read_or_nothing(self, path: str) -> bytes:
        try:
            return self.read(path)
        except OSError:
            return b""

    def _whole(self, descriptor: int, sure: int) -> bytes:
        content = self._pread(descriptor, self._piece, 0)
        if len(content) < sure:
            return content
        return content + _rest(descriptor, len(content))

    def _keep(self, path: str, descriptor: int) -> bool:
        if self._keeps is None:
            self._keeps = self._may_keep(self._folder)
        if not self._keeps:
            return False
        if Files.kept_in_all >= most_kept():
            # What is open may be of devices that went; if much is opened anew, it is given up.
            self._missed += 1
            if self._missed > 10 * len(self._open):
                self.close()
                self._missed = 0
            return False
        self._open[path] = descriptor
        Files.kept_in_all += 1
        return True

    def _forget(self, path: str) -> None:
        os.close(self._open.pop(path))
        Files.kept_in_all -= 1

    def forget(self, start: str) -> None:
        """Closes what is kept open of paths that begin so."""
        for path in [path for path in self._open if path.startswith(start)]:
            self._forget(path)

    def close(self) -> None:
        for path in list(self._open):
            self._forget(path)

    def __del__(self) -> None:
        self.close()


@cache
def most_kept() -> int:
    import resource  # not on every system; those have no /proc to keep open either

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(_KEPT_AT_MOST, int(soft * _KEPT_PART)) if soft > 0 else _KEPT_AT_MOST


def _rest(descriptor: int, start: int = 0) -> bytes:
    """All from start on. Files of /proc come in pieces that end with a record, of any length."""
    content = b""
    while more := os.pread(descriptor, _PROC_PIECE, start + len(content)):
        content += more
    return content


def read(path: str) -> bytes:
    """Any other file, whole. OSError where there is none."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _rest(descriptor)
    finally:
        os.close(descriptor)


def read_optional(path: str) -> bytes | None:
    try:
        return read(path)
    except OSError:
        return None


def listed(path: str) -> list[str]:
    """Names in a folder, sorted; none where there is no such folder."""
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []


def text(raw: bytes) -> str:
    """Names in /proc are bytes; a page must be UTF-8."""
    return raw.decode(errors="replace")


def integer(raw: bytes) -> int:
    """A number as the kernel writes it: decimal, or hexadecimal after 0x."""
    return int(raw, 0 if raw[:2] == b"0x" else 10)
