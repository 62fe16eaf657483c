"""Which targets there are: of the configuration itself, of files, of HTTP servers, of the DNS."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from scraper.config import ScraperConfig
from scraper.sdconfig import TargetGroup
from scraper.shard import own_targets
from scraper.sources import SdConfig, Sources
from scraper.targetfiles import TargetFiles
from scraper.targets import Job, TargetSet, build_targets

log = logging.getLogger(__name__)


class Discovery:
    """Answers, for the configuration of the moment, which targets there are."""

    def __init__(self, config: ScraperConfig, sources: Sources) -> None:
        self._files, self._sources = TargetFiles(), sources
        self.configure(config)

    def configure(self, config: ScraperConfig) -> None:
        self._shard = config.shard
        self._jobs = [Job.of(job, config) for job in config.scrape_configs]
        self._sources.configure([config for job in self._jobs for config in _asked(job)])
        self._anew = True

    @property
    def broken_files(self) -> int:
        return self._files.broken

    @property
    def broken_sources(self) -> int:
        return self._sources.broken

    def look(self) -> TargetSet | None:
        """The targets, or None if nothing changed since the last look. Waits for no answer."""
        self._sources.ask_due()
        answered = self._sources.changed()
        changed = self._files.read(p for job in self._jobs for p in _patterns(job))
        if not (changed or answered or self._anew):
            return None
        self._anew = False
        groups = {job.name: list(self._groups(job)) for job in self._jobs}
        targets = build_targets(self._jobs, groups)
        for fault in targets.faults:
            log.error("target left out: %s", fault)
        own = own_targets(targets.active, self._shard)
        return replace(targets, active=own, elsewhere=len(targets.active) - len(own))

    def close(self) -> None:
        self._sources.close()

    def _groups(self, job: Job) -> Iterator[tuple[TargetGroup, str]]:
        """A job's groups, each with the name of its file if it has one."""
        yield from ((group, "") for group in job.config.static_configs)
        yield from self._files.groups(_patterns(job))
        for config in _asked(job):
            yield from ((group, "") for group in self._sources.groups(config))


def _patterns(job: Job) -> list[Path]:
    return [file for files in job.config.file_sd_configs for file in files.files]


def _asked(job: Job) -> tuple[SdConfig, ...]:
    return (*job.config.http_sd_configs, *job.config.dns_sd_configs)
