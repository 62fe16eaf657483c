"""Metrics that other programs leave in files: `*.prom` in the folders of the configuration."""

import glob
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from exporter.families import Found, Rows, gauge
from fleetpulse.errors import ExpositionError

if TYPE_CHECKING:
    from exporter.sources.promfile import Known, Told

log = logging.getLogger(__name__)

_MTIME = gauge(
    "node_textfile_mtime_seconds",
    "When the file was last changed; of files that were read.",
    "file",
)
_ERROR = gauge(
    "node_textfile_scrape_error",
    "Whether a folder or file could not be read (1), or something in it not be told, or not (0).",
)
_OWN = (_MTIME.name, _ERROR.name)

_MB = 1 << 20
_SETTLED = 1.0  # seconds after which a file that is written to again shows it in its time
_ATTEMPTS = 3  # at reading a file that changes meanwhile
_NANO = 10**9

# What a change of a file changes: time, size, inode, device.
_Stamp = tuple[int, int, int, int]


@dataclass(slots=True, eq=False)
class File:
    """A file as it was read. known: see promfile.parse."""

    stamp: _Stamp | None
    settled: bool
    told: "list[Told]" = field(default_factory=list)
    fault: str = ""
    known: "Known" = field(default_factory=dict)

    @property
    def samples(self) -> int:
        return sum([len(told.samples) for told in self.told])


class TextfileCollector:
    """node_textfile_mtime_seconds, node_textfile_scrape_error and all that the files tell.

    directories may be patterns; without any, the files are looked for in otherwise, if there is
    such a folder. A file that is not as it should be is left out whole and logged,
    and so is what contradicts an earlier file; the rest is told all the same. max_series is for
    all files together; what is above a limit is left out.
    """

    name = "textfile"
    # Names of other collectors are theirs, whoever tells them first.
    guest = True

    def __init__(
        self,
        directories: Sequence[str] = (),
        *,
        max_bytes: int = 10 * _MB,
        max_series: int = 20_000,
        max_files: int = 200,
        otherwise: str = "",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._directories = tuple(directory for directory in directories if directory)
        self._max_bytes, self._max_series, self._max_files = max_bytes, max_series, max_files
        self._otherwise, self._now = otherwise, now
        self._files: dict[str, File] = {}
        self._merged: tuple[list[File], list[Found], list[str]] = ([], [], [])
        self._logged: set[str] = set()

    def collect(self) -> Iterator[Found]:
        paths, faults = self._paths()
        self._files = {path: self._file(path) for path in paths}
        faults += [f"{path}: {file.fault}" for path, file in self._files.items() if file.fault]
        found, conflicts = self._families()
        self._log([*faults, *conflicts])
        yield from found
        mtimes: Rows = {
            (_shown(path),): file.stamp[0] // _NANO
            for path, file in self._files.items()
            if file.stamp is not None and not file.fault
        }
        yield _MTIME, mtimes
        yield _ERROR, int(bool(faults or conflicts))

    def _paths(self) -> tuple[list[str], list[str]]:
        """The files there are, and what is wrong with the folders."""
        found: dict[str, None] = {}
        faults: list[str] = []
        for folder in self._folders():
            try:
                names = sorted(os.listdir(folder))
            except OSError as err:
                faults.append(f"{folder}: {err.strerror}")
                continue
            found.update(
                (os.path.join(folder, name), None) for name in names if name.endswith(".prom")
            )
        if len(found) > self._max_files:
            faults.append(f"of {len(found)} files only {self._max_files} are read")
        return list(found)[: self._max_files], faults

    def _folders(self) -> Iterator[str]:
        if not self._directories and self._otherwise and os.path.isdir(self._otherwise):
            yield self._otherwise
        for directory in self._directories:
            if glob.has_magic(directory):
                found = sorted(glob.glob(directory, include_hidden=True))
                # One that matches nothing may be a name, however odd.
                yield from map(os.path.normpath, found or [directory])
            else:
                yield os.path.normpath(directory)

    def _file(self, path: str) -> File:
        """As it was last read, if it has not changed since."""
        last = self._files.get(path)
        try:
            if last is not None and last.settled and last.stamp == _stamp(os.stat(path)):
                return last
            body, stamp = read(path, self._max_bytes)
        except (OSError, ValueError) as err:
            return File(None, settled=False, fault=getattr(err, "strerror", None) or str(err))
        # One that was changed just now may change again without a later time.
        settled = abs(self._now() - stamp[0] / _NANO) > _SETTLED
        return self._parsed(body, File(stamp, settled, known=last.known if last else {}))

    def _parsed(self, body: bytes, file: File) -> File:
        # Not before it is needed: most hosts have no such files.
        from exporter.sources.promfile import parse

        try:
            file.told = parse(body, most=self._max_series, known=file.known)
        except ExpositionError as err:
            file.fault = str(err)
        if len(file.known) > 2 * file.samples:
            file.known = {}  # what the file no longer tells is not to pile up
        return file

    def _families(self) -> tuple[list[Found], list[str]]:
        """What the files tell together; made anew only when one of them has changed."""
        files = list(self._files.values())
        if files != self._merged[0]:
            self._merged = (files, *self._merge())
        return self._merged[1:]

    def _merge(self) -> tuple[list[Found], list[str]]:
        from exporter.sources.promfamilies import merge

        taken, crowded, room = [], [], self._max_series
        for path, file in self._files.items():
            if file.samples <= room:
                room -= file.samples
                taken.append((path, file.told))
            else:
                crowded.append(f"{path}: more than {self._max_series} samples in all files")
        found, faults = merge(taken, _OWN)
        return found, crowded + faults

    def _log(self, faults: Sequence[str]) -> None:
        """Each fault once, for as long as it lasts."""
        for fault in faults:
            if fault not in self._logged:
                log.warning("textfile: %s", fault)
        self._logged = set(faults)


def read(path: str, max_bytes: int) -> tuple[bytes, _Stamp]:
    """A regular file, whole: not half of it before and half after a change.

    OSError where it cannot be read; ValueError where it is no file, too large, or never at rest.
    """
    for _ in range(_ATTEMPTS):
        # Anyone's pipe of that name must not keep us waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise ValueError("no file")
            if before.st_size > max_bytes:
                raise ValueError(f"{before.st_size} bytes, more than {max_bytes}")
            body = os.read(descriptor, before.st_size + 1)
            stamp = _stamp(os.fstat(descriptor))
        finally:
            os.close(descriptor)
        if stamp == _stamp(before) and len(body) == before.st_size:
            return body, stamp
    raise ValueError("it changes all the time")


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev


def _shown(path: str) -> str:
    return os.fsencode(path).decode(errors="replace")
