"""Space and inodes of mounted file systems: the mounts from /proc, the rest from statvfs(2).

The mounts are those of the first process: the exporter's own may have been made read-only, or
hidden, for it alone.
"""

import logging
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.collectors.base import Host, text
from exporter.families import Family, Found, gauge
from exporter.statvfs.asker import Asker
from exporter.statvfs.mounts import Mount, may_hang, parse
from exporter.statvfs.process import Answer, Figures, statvfs

log = logging.getLogger(__name__)

_SAID = 10  # mounts that are named in the log at a time

Pattern = re.Pattern[str]


def _family(name: str, help_text: str, whole: Family | None = None) -> Family:
    labels = ("device", "fstype", "mountpoint")
    return gauge(f"node_filesystem_{name}", help_text, *labels, least=0.0, whole=whole)


_SIZE = _family("size_bytes", "Bytes that the file system holds, used or free.")
_FILES = _family("files", "Inodes that the file system has, used or free.")
# In the order of Figures.
_FAMILIES = (
    _SIZE,
    _family("free_bytes", "Bytes that are free, those kept for root included.", _SIZE),
    _family("avail_bytes", "Bytes that are free for users other than root.", _SIZE),
    _FILES,
    _family("files_free", "Inodes that are free.", _FILES),
)
_READONLY = _family("readonly", "Whether the file system is mounted read-only (1) or not (0).")
_ERROR = _family(
    "device_error", "Whether the file system failed to tell its figures, or to do so in time (1)."
)


@dataclass(frozen=True, slots=True)
class _Table:
    """What is made of /proc/mounts for as long as it stays the same. Paths are as reached here."""

    raw: bytes
    told: Sequence[tuple[Mount, bytes]]
    local: Collection[bytes]  # asked here
    remote: Mapping[bytes, tuple[Mount, ...]]  # asked by a child; with what is mounted there


class FilesystemCollector:
    """node_filesystem_*.

    A mount that fails, or is not heard of within mount_timeout (seconds, of all such mounts
    together), has node_filesystem_device_error 1 and no figures. No pattern: nothing is left out.
    """

    name = "filesystem"

    def __init__(
        self,
        host: Host,
        mount_points_exclude: Pattern | None = None,
        fs_types_exclude: Pattern | None = None,
        mount_timeout: float = 2.0,
        *,
        mount_points_include: Pattern | None = None,
        fs_types_include: Pattern | None = None,
        local: Callable[[bytes], Figures] = statvfs,
        asker: Asker | None = None,
    ) -> None:
        self._host, self._local = host, local
        self._root = os.fsencode(host.rootfs)
        self._asker = asker or Asker(mount_timeout)
        self._places = mount_points_include, mount_points_exclude
        self._types = fs_types_include, fs_types_exclude
        self._table = _Table(b"", (), (), {})
        self._errors: dict[bytes, str] = {}  # by path, as they were logged

    def collect(self) -> Iterator[Found]:
        raw = self._read()
        if raw != self._table.raw:
            self._table = self._table_of(raw)
        table = self._table
        answers = {path: self._ask(path) for path in table.local}
        answers |= self._asker.ask(table.remote)
        self._tell(answers)
        return families([(mount, answers[path]) for mount, path in table.told])

    def close(self) -> None:
        """Ends the child processes; collect() then fails where it needs one."""
        self._asker.close()

    def _read(self) -> bytes:
        first = self._host.proc_or_none("1/mounts")  # /proc may hide it (hidepid)
        return self._host.proc("self/mounts") if first is None else first

    def _table_of(self, raw: bytes) -> _Table:
        mounts = parse(raw, self._root)
        told = [(mount, self._root + mount.path) for mount in mounts if self._is_told(mount)]
        paths = dict.fromkeys(path for _, path in told)
        # One that is not told may be on the way to one that is.
        hanging = {self._root + path for path in may_hang(mounts)}
        remote = {
            path: tuple(mount for mount in mounts if self._root + mount.path == path)
            for path in paths
            if path in hanging
        }
        return _Table(raw, told, [path for path in paths if path not in hanging], remote)

    def _is_told(self, mount: Mount) -> bool:
        _, fstype, place = mount.key
        return _passes(place, *self._places) and _passes(fstype, *self._types)

    def _ask(self, path: bytes) -> Answer:
        try:
            return self._local(path)
        except OSError as err:
            return err

    def _tell(self, answers: Mapping[bytes, Answer]) -> None:
        """Logs what befalls a mount when it is new, and its end."""
        errors = {
            path: str(answer.strerror)
            for path, answer in answers.items()
            if isinstance(answer, OSError)
        }
        if errors == self._errors:
            return
        news = [
            f"{text(path)}: {error}"
            for path, error in errors.items()
            if error != self._errors.get(path)
        ]
        back = [text(path) for path in self._errors if path in answers and path not in errors]
        self._errors = errors
        # With a server, thousands of mounts may go or come back; the page tells which.
        for line in news[:_SAID]:
            log.warning("mount %s", line)
        if len(news) > _SAID:
            log.warning("and %d further mounts fail", len(news) - _SAID)
        for line in back[:_SAID]:
            log.info("mount %s answers again", line)
        if len(back) > _SAID:
            log.info("and %d further mounts answer again", len(back) - _SAID)


def families(found: Sequence[tuple[Mount, Answer]]) -> Iterator[Found]:
    good = [(mount.key, figures) for mount, figures in found if isinstance(figures, Figures)]
    for place, family in enumerate(_FAMILIES):
        yield family, {key: figures[place] for key, figures in good}
    yield _READONLY, {mount.key: int(mount.readonly) for mount, _ in found}
    yield _ERROR, {mount.key: int(isinstance(answer, OSError)) for mount, answer in found}


def _passes(name: str, include: Pattern | None, exclude: Pattern | None) -> bool:
    if include is not None and not include.search(name):
        return False
    return exclude is None or not exclude.search(name)
