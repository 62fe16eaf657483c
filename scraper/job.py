"""A scrape job: an entry of Prometheus' scrape_configs, and what all jobs may leave out."""

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from fleetpulse.values import format_duration
from fleetpulse.yamlconf import FaultAtError, FilePath, Size
from scraper.httpconfig import HttpConfig
from scraper.notyet import DefaultsNotYet, JobNotYet
from scraper.protocols import EscapingScheme, Protocol, Protocols, ValidationScheme
from scraper.relabel import RelabelConfig
from scraper.sdconfig import (
    DnsSdConfig,
    FileSdConfig,
    HttpSdConfig,
    Positive,
    TargetGroup,
    Text,
    address_faults,
)

_CONTRADICTION = (
    "asks for UTF-8 names, which metric_name_validation_scheme legacy refuses; "
    "write underscores, dots or values"
)
Count = Annotated[int, Field(ge=0)]


class Defaults(DefaultsNotYet):
    """What a job may leave out: Prometheus' global section, and a part of each job.

    0 stands for no limit; in a job, as in Prometheus, 0 and None alike take the section's value.
    """

    scrape_protocols: Protocols | None = None
    sample_limit: Count = 0
    target_limit: Count = 0
    label_limit: Count = 0
    label_name_length_limit: Count = 0
    label_value_length_limit: Count = 0
    keep_dropped_targets: Count = 0
    metric_name_validation_scheme: ValidationScheme | None = None
    metric_name_escaping_scheme: EscapingScheme | None = None
    extra_scrape_metrics: bool | None = None
    scrape_failure_log_file: FilePath | None = None

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        asked = self.metric_name_escaping_scheme
        if self.metric_name_validation_scheme == "legacy" and asked == "allow-utf-8":
            raise ValueError(f"metric_name_escaping_scheme {_CONTRADICTION}")
        return self


class ScrapeJob(Defaults, HttpConfig, JobNotYet):
    """One entry of scrape_configs. None takes the value of the section around it."""

    job_name: str = Field(min_length=1)
    scrape_interval: Positive | None = None
    scrape_timeout: Positive | None = None
    relabel_configs: tuple[RelabelConfig, ...] = ()  # first: it decides what a target may be
    static_configs: tuple[TargetGroup, ...] = ()
    file_sd_configs: tuple[FileSdConfig, ...] = ()
    http_sd_configs: tuple[HttpSdConfig, ...] = ()
    dns_sd_configs: tuple[DnsSdConfig, ...] = ()
    metric_relabel_configs: tuple[RelabelConfig, ...] = ()
    scheme: Literal["http", "https"] = "http"
    metrics_path: str = Field("/metrics", pattern="^/")
    params: dict[str, tuple[Text, ...]] = Field(default_factory=dict)
    fallback_scrape_protocol: Protocol | None = None
    honor_labels: bool = False
    honor_timestamps: bool = True
    track_timestamps_staleness: bool = False
    enable_compression: bool = True
    # The only limit whose 0 is no limit in a job too, as the section's default is one.
    body_size_limit: Size | None = None

    @field_validator("static_configs")
    @classmethod
    def _addresses(
        cls, groups: tuple[TargetGroup, ...], info: ValidationInfo
    ) -> tuple[TargetGroup, ...]:
        """As in Prometheus: with relabelling a target may be anything before it."""
        faults = [] if info.data.get("relabel_configs") else address_faults(groups)
        if faults:
            raise ValueError("; ".join(faults))
        return groups


def check_jobs(
    jobs: Iterable[ScrapeJob],
    interval: float | None,
    scheme: ValidationScheme | None,
    taken: Iterable[str] = (),
) -> None:
    """FaultAtError the first job that does not fit: to those of names taken, or to the section.

    interval, scheme: the section's, for jobs that have none of their own.
    """
    names = set(taken)
    for place, job in enumerate(jobs):
        if job.job_name in names:
            message = f"the job_name {job.job_name!r} is there twice; each needs its own"
            raise FaultAtError((place, "job_name"), message)
        names.add(job.job_name)
        try:
            check_timeout(job.scrape_timeout, job.scrape_interval or interval)
        except ValueError as err:
            raise FaultAtError((place, "scrape_timeout"), str(err)) from None
        if job.metric_name_escaping_scheme == "allow-utf-8" and (
            (job.metric_name_validation_scheme or scheme) == "legacy"
        ):
            raise FaultAtError((place, "metric_name_escaping_scheme"), _CONTRADICTION)


def check_timeout(timeout: float | None, interval: float | None) -> None:
    if timeout and interval and timeout > interval:
        raise ValueError(
            f"{format_duration(timeout)} outlasts the {format_duration(interval)} interval"
        )
