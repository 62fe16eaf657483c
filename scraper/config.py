"""The scraper's own section of the configuration file. Its scrape_configs are Prometheus'."""

from typing import Self

from pydantic import ValidationInfo, field_validator, model_validator

from fleetpulse.values import ListenAddress
from fleetpulse.yamlconf import FilePath, Listen, Size
from scraper.configfiles import read_config_files
from scraper.guards import GuardsConfig
from scraper.job import Defaults, ScrapeJob, check_jobs, check_timeout
from scraper.notyet import SectionNotYet
from scraper.sdconfig import Positive, TargetGroup
from scraper.shardconfig import ShardConfig

_THIS_HOST = ScrapeJob(job_name="node", static_configs=(TargetGroup(targets=("127.0.0.1:9100",)),))


class ScraperConfig(Defaults, SectionNotYet):
    # The scraper's own metrics and health, and the state of its targets at /api/v1/targets.
    listen: Listen = ListenAddress("127.0.0.1", 9111)
    scrape_interval: Positive = 10.0
    scrape_timeout: Positive = 8.0
    # The largest page, unpacked, that is read to its end; a job may set its own.
    body_size_limit: Size = 50 << 20
    # Which of the targets are this scraper's, where several share them.
    shard: ShardConfig = ShardConfig()
    # What no target may add to the store.
    guards: GuardsConfig = GuardsConfig()
    # Files of more scrape_configs, by path or pattern, read with this one.
    scrape_config_files: tuple[FilePath, ...] = ()
    # With nothing configured, this host's exporter.
    scrape_configs: tuple[ScrapeJob, ...] = (_THIS_HOST,)

    @field_validator("scrape_timeout")
    @classmethod
    def _within_interval(cls, timeout: float, info: ValidationInfo) -> float:
        check_timeout(timeout, info.data.get("scrape_interval"))
        return timeout

    @field_validator("scrape_configs")
    @classmethod
    def _jobs_agree(
        cls, jobs: tuple[ScrapeJob, ...], info: ValidationInfo
    ) -> tuple[ScrapeJob, ...]:
        scheme = info.data.get("metric_name_validation_scheme")
        check_jobs(jobs, info.data.get("scrape_interval"), scheme)
        return jobs

    @model_validator(mode="after")
    def _with_files(self) -> Self:
        """The files' jobs join those of this section."""
        if not self.scrape_config_files:
            return self
        own = self.scrape_configs if "scrape_configs" in self.model_fields_set else ()
        jobs = read_config_files(
            self.scrape_config_files, own, self.scrape_interval, self.metric_name_validation_scheme
        )
        return self.model_copy(update={"scrape_configs": jobs})

    def interval_of(self, job: ScrapeJob) -> float:
        return job.scrape_interval or self.scrape_interval

    def timeout_of(self, job: ScrapeJob) -> float:
        return job.scrape_timeout or min(self.scrape_timeout, self.interval_of(job))

    def body_limit_of(self, job: ScrapeJob) -> int:
        return self.body_size_limit if job.body_size_limit is None else job.body_size_limit
