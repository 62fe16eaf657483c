"""scrape_config_files: files of more scrape_configs, each fault under the file's own name."""

import os
from collections.abc import Iterable, Sequence
from glob import glob
from pathlib import Path

from fleetpulse.errors import ConfigError
from fleetpulse.yamlconf import Section, validate
from fleetpulse.yamldoc import Document, read_text
from scraper.job import ScrapeJob, check_job


class _ConfigFile(Section):
    scrape_configs: tuple[ScrapeJob, ...] = ()


def read_config_files(
    patterns: Iterable[Path], own: Sequence[ScrapeJob], interval: float
) -> tuple[ScrapeJob, ...]:
    """own and the jobs of all files; ConfigError has every fault of every file.

    interval: seconds, of jobs that have none of their own.
    """
    jobs = list(own)
    taken = {job.job_name for job in own}
    faults: list[str] = []
    for path in find_config_files(patterns):
        try:
            document = Document.parse(read_text(path), str(path), os.environ)
            found = validate(document, _ConfigFile, path.parent).scrape_configs
        except ConfigError as err:
            faults.extend(err.faults)
            continue
        for place, job in enumerate(found):
            where = ("scrape_configs", place, "job_name")
            faults.extend(document.fault(where, one) for one in _misfits(job, taken, interval))
            taken.add(job.job_name)
        jobs.extend(found)
    if faults:
        raise ConfigError(faults)
    return tuple(jobs)


def find_config_files(patterns: Iterable[Path]) -> list[Path]:
    """The files in the order of their patterns, each once. A path without * must exist."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        plain = not set("*?[") & set(pattern.name)
        found |= dict.fromkeys([pattern] if plain else map(Path, sorted(glob(str(pattern)))))
    return list(found)


def _misfits(job: ScrapeJob, taken: set[str], interval: float) -> Iterable[str]:
    if job.job_name in taken:
        yield f"the job_name {job.job_name!r} is there twice; each needs its own"
    try:
        check_job(job, interval)
    except ValueError as err:
        yield str(err)
