"""Target files: found by pattern, read when they change, remembered when they break."""

import logging
from collections.abc import Iterable, Sequence
from glob import glob
from pathlib import Path

from fleetpulse.errors import ConfigError
from scraper.config import ScraperConfig
from scraper.sdconfig import TargetGroup
from scraper.targets import Job, TargetSet, build_targets, read_target_file

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


class Discovery:
    """Answers, for the configuration of the moment, which targets there are."""

    def __init__(self, config: ScraperConfig) -> None:
        self._files = TargetFiles()
        self.configure(config)

    def configure(self, config: ScraperConfig) -> None:
        self._jobs = [Job.of(job, config) for job in config.scrape_configs]
        self._anew = True

    @property
    def broken_files(self) -> int:
        return self._files.broken

    def look(self) -> TargetSet | None:
        """The targets, or None if nothing changed since the last look."""
        changed = self._files.read(p for job in self._jobs for p in _patterns(job))
        if not (changed or self._anew):
            return None
        self._anew = False
        groups = {
            job.name: [
                *((group, "") for group in job.config.static_configs),
                *self._files.groups(_patterns(job)),
            ]
            for job in self._jobs
        }
        targets = build_targets(self._jobs, groups)
        for fault in targets.faults:
            log.error("target left out: %s", fault)
        return targets


def _patterns(job: Job) -> list[Path]:
    return [file for files in job.config.file_sd_configs for file in files.files]
