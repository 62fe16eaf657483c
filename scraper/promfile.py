"""Prometheus' own file, for those who ask whether it could be used: its scrape part is read."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from fleetpulse.yamlconf import FilePath, Section, Size, validate
from fleetpulse.yamldoc import Document, read_text
from scraper.configfiles import read_config_files
from scraper.job import Defaults, ScrapeJob, check_jobs, check_timeout
from scraper.sdconfig import Positive

# What the scraper has no use for; rules and the bridge have sections of their own.
NOT_READ = (
    "rule_files",
    "alerting",
    "remote_write",
    "remote_read",
    "storage",
    "tracing",
    "otlp",
    "runtime",
)


class _Global(Defaults):
    """Prometheus' global section, with its defaults."""

    scrape_interval: Positive = 60.0
    scrape_timeout: Positive | None = None
    body_size_limit: Size = 0
    evaluation_interval: Any = None
    rule_query_offset: Any = None
    external_labels: Any = None
    query_log_file: Any = None

    @field_validator("scrape_timeout")
    @classmethod
    def _within_interval(cls, timeout: float | None, info: ValidationInfo) -> float | None:
        check_timeout(timeout, info.data.get("scrape_interval"))
        return timeout


class PrometheusFile(Section):
    global_: _Global = Field(default_factory=_Global, alias="global")
    scrape_configs: tuple[ScrapeJob, ...] = ()
    scrape_config_files: tuple[FilePath, ...] = ()
    rule_files: Any = None
    alerting: Any = None
    remote_write: Any = None
    remote_read: Any = None
    storage: Any = None
    tracing: Any = None
    otlp: Any = None
    runtime: Any = None

    @field_validator("scrape_configs")
    @classmethod
    def _jobs_agree(
        cls, jobs: tuple[ScrapeJob, ...], info: ValidationInfo
    ) -> tuple[ScrapeJob, ...]:
        if "global_" in info.data:  # else it has a fault of its own
            section = info.data["global_"]
            check_jobs(jobs, section.scrape_interval, section.metric_name_validation_scheme)
        return jobs

    @model_validator(mode="after")
    def _with_files(self) -> Self:
        jobs = read_config_files(
            self.scrape_config_files,
            self.scrape_configs,
            self.global_.scrape_interval,
            self.global_.metric_name_validation_scheme,
        )
        return self.model_copy(update={"scrape_configs": jobs})


def read_prometheus_file(path: Path) -> PrometheusFile:
    """ConfigError with every fault of its scrape part. ${…} stands for itself, as it does there."""
    document = Document.parse(read_text(path), str(path))
    return validate(document, PrometheusFile, path.parent)
