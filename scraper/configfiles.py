"""scrape_config_files: files of more scrape_configs, each fault under the file's own name."""

import os
from collections.abc import Iterable, Sequence
from glob import glob
from pathlib import Path
from typing import NamedTuple

from fleetpulse.errors import ConfigError
from fleetpulse.yamlconf import FaultAtError, OtherFilesError, Section, validate
from fleetpulse.yamldoc import Document, read_text
from scraper.job import ScrapeJob, check_jobs
from scraper.protocols import ValidationScheme


class _ConfigFile(Section):
    scrape_configs: tuple[ScrapeJob, ...] = ()


def read_config_files(
    patterns: Iterable[Path],
    own: Sequence[ScrapeJob],
    interval: float,
    scheme: ValidationScheme | None,
) -> tuple[ScrapeJob, ...]:
    """own and the jobs of all files; OtherFilesError has the faults of every file.

    interval, scheme: of jobs that have none of their own.
    """
    jobs = list(own)
    faults: list[str] = []
    for path in find_config_files(patterns):
        try:
            found = _read(path)
            check_jobs(found.jobs, interval, scheme, [job.job_name for job in jobs])
        except ConfigError as err:
            faults.extend(err.faults)
        except FaultAtError as err:
            faults.append(found.document.fault(("scrape_configs", *err.path), str(err)))
        else:
            jobs.extend(found.jobs)
    if faults:
        raise OtherFilesError(faults)
    return tuple(jobs)


class _Read(NamedTuple):
    document: Document
    jobs: tuple[ScrapeJob, ...]


def _read(path: Path) -> _Read:
    document = Document.parse(read_text(path), str(path), os.environ)
    return _Read(document, validate(document, _ConfigFile, path.parent).scrape_configs)


def find_config_files(patterns: Iterable[Path]) -> list[Path]:
    """The files in the order of their patterns, each once. A path without * must exist."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        plain = not set("*?[") & set(pattern.name)
        found |= dict.fromkeys([pattern] if plain else map(Path, sorted(glob(str(pattern)))))
    return list(found)
