"""Target files: found by pattern, read when they change, remembered when they break."""

import logging
from collections.abc import Iterable, Sequence
from glob import glob
from pathlib import Path

from fleetpulse.errors import ConfigError
from scraper.sdconfig import TargetGroup
from scraper.targets import read_target_file

log = logging.getLogger(__name__)

Stamp = tuple[int, int, int]


class TargetFiles:
    """The groups of each target file. A file that breaks keeps the groups it had."""

    def __init__(self) -> None:
        self._groups: dict[Path, tuple[TargetGroup, ...]] = {}
        self._stamps: dict[Path, Stamp] = {}
        self._broken: dict[Path, str] = {}

    @property
    def broken(self) -> int:
        """How many files cannot be read now."""
        return len(self._broken)

    def read(self, patterns: Iterable[Path]) -> bool:
        """Reads what came or changed and forgets what went; whether the groups are others now."""
        files = {path for pattern in patterns for path in find_files(pattern)}
        changed = False
        for path in self._stamps.keys() - files:
            changed = True
            del self._stamps[path]
            self._groups.pop(path, None)
            self._broken.pop(path, None)
        for path in sorted(files):
            stamp = _stamp(path)
            if stamp is not None and stamp != self._stamps.get(path):
                self._stamps[path] = stamp
                changed |= self._read_one(path)
        return changed

    def _read_one(self, path: Path) -> bool:
        try:
            groups = read_target_file(path)
        except ConfigError as err:
            self._broken[path] = str(err)
            kept = sum(len(group.targets) for group in self._groups.get(path, ()))
            log.error("target file not taken, its %d last targets are kept:\n%s", kept, err)
            return False
        self._broken.pop(path, None)
        changed = groups != self._groups.get(path)
        self._groups[path] = groups
        return changed

    def groups(self, patterns: Sequence[Path]) -> list[tuple[TargetGroup, str]]:
        """The groups of all files of some patterns, each with its file's name."""
        files = {path for pattern in patterns for path in find_files(pattern)}
        return [
            (group, str(path)) for path in sorted(files) for group in self._groups.get(path, ())
        ]


def find_files(pattern: Path) -> list[Path]:
    return [Path(name) for name in glob(str(pattern))]


def _stamp(path: Path) -> Stamp | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
