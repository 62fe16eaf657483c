"""The scraper's own section of the configuration file. Its scrape_configs are Prometheus'."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from fleetpulse.values import ListenAddress, format_duration
from fleetpulse.yamlconf import Duration, FilePath, Listen, Secret, Section, Size
from scraper.notyet import JobNotYet, TlsNotYet
from scraper.relabel import RelabelConfig

_SUFFIXES = (".json", ".yml", ".yaml")


_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[^\s/@?#\\:\[\]]+)(?::(\d{1,5}))?")


def check_address(address: str) -> str:
    """A target's host and port; ValueError says what else it seems to be."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ValueError(f"{address!r} is no target; write host:port, without scheme or path")
    if found[1] and not 0 < int(found[1]) < 65536:
        raise ValueError(f"{address!r} is no target; a port is a number from 1 to 65535")
    return address


def address_faults(groups: Iterable["TargetGroup"]) -> list[str]:
    """What is wrong with the targets, where no relabelling makes addresses of them."""
    faults = []
    for address in (address for group in groups for address in group.targets):
        try:
            check_address(address)
        except ValueError as err:
            faults.append(str(err))
    return faults


def _label_names(labels: dict[str, str]) -> dict[str, str]:
    for name in labels:
        if not name or name == "__name__":
            raise ValueError(f"{name!r} cannot be a target's label name")
    return labels


TargetLabels = Annotated[dict[str, str], AfterValidator(_label_names)]
Positive = Annotated[Duration, Field(gt=0)]


class TargetGroup(Section):
    """Targets with the labels they share; also an entry of a file_sd file."""

    # What they are is known after relabelling only: the blackbox exporter's are URLs.
    targets: tuple[str, ...] = ()
    labels: TargetLabels = Field(default_factory=dict)

    @field_validator("labels", mode="before")
    @classmethod
    def _as_text(cls, value: object) -> object:
        """YAML reads `rack: 7` as a number; a label's value is its text."""
        if not isinstance(value, dict):
            return {} if value is None else value
        return {name: _label_text(text) for name, text in value.items()}


def _label_text(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value


class FileSdConfig(Section):
    """Target files: JSON or YAML, by path or pattern, read again as soon as they change."""

    files: tuple[FilePath, ...] = Field(min_length=1)
    # Accepted for Prometheus' sake: changes are seen within seconds anyway.
    refresh_interval: Positive = 300.0

    @field_validator("files")
    @classmethod
    def _known_kind(cls, files: tuple[Path, ...]) -> tuple[Path, ...]:
        for file in files:
            if file.suffix not in _SUFFIXES or "*" in str(file.parent):
                raise ValueError(
                    f"{file.name!r}: write a path that ends in .json, .yml or .yaml; "
                    f"only the file's name may hold a *"
                )
        return files


class TlsConfig(TlsNotYet):
    """How a target proves who it is, and how the scraper does."""

    ca_file: FilePath | None = None
    cert_file: FilePath | None = None
    key_file: FilePath | None = None
    server_name: str = ""
    insecure_skip_verify: bool = False
    min_version: Literal["TLS10", "TLS11", "TLS12", "TLS13"] = "TLS12"
    max_version: Literal["TLS10", "TLS11", "TLS12", "TLS13"] | None = None

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together")
        return self


class BasicAuth(Section):
    username: str = ""
    username_file: FilePath | None = None
    password: Secret | None = None
    password_file: FilePath | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if self.username and self.username_file:
            raise ValueError("give username or username_file, not both")
        if not self.username and not self.username_file:
            raise ValueError("give username or username_file")
        if ":" in self.username:
            raise ValueError("a user name holds no colon")
        if self.password is not None and self.password_file:
            raise ValueError("give password or password_file, not both")
        return self


class Authorization(Section):
    type: str = Field("Bearer", min_length=1)
    credentials: Secret | None = None
    credentials_file: FilePath | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if self.type.strip().lower() == "basic":
            raise ValueError("for the type Basic use basic_auth")
        if (self.credentials is None) == (self.credentials_file is None):
            raise ValueError("give either credentials or credentials_file")
        return self


class ScrapeJob(JobNotYet):
    """One entry of scrape_configs. None takes the value of the section around it."""

    job_name: str = Field(min_length=1)
    scrape_interval: Positive | None = None
    scrape_timeout: Positive | None = None
    relabel_configs: tuple[RelabelConfig, ...] = ()  # first: it decides what a target may be
    static_configs: tuple[TargetGroup, ...] = ()
    file_sd_configs: tuple[FileSdConfig, ...] = ()
    metric_relabel_configs: tuple[RelabelConfig, ...] = ()
    scheme: Literal["http", "https"] = "http"
    metrics_path: str = Field("/metrics", pattern="^/")
    params: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    tls_config: TlsConfig = TlsConfig()
    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    bearer_token: Secret | None = None
    bearer_token_file: FilePath | None = None
    honor_labels: bool = False
    honor_timestamps: bool = True
    track_timestamps_staleness: bool = False
    follow_redirects: bool = True
    enable_http2: bool = True
    enable_compression: bool = True
    # 0 stands for no limit, as in Prometheus.
    body_size_limit: Size | None = None
    sample_limit: int = Field(0, ge=0)
    target_limit: int = Field(0, ge=0)
    label_limit: int = Field(0, ge=0)
    label_name_length_limit: int = Field(0, ge=0)
    label_value_length_limit: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _one_credential(self) -> Self:
        ways = [self.basic_auth, self.authorization, self.bearer_token, self.bearer_token_file]
        if sum(way is not None for way in ways) > 1:
            raise ValueError("give one of basic_auth, authorization and bearer_token")
        return self

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


_THIS_HOST = ScrapeJob(job_name="node", static_configs=(TargetGroup(targets=("127.0.0.1:9100",)),))


class ScraperConfig(Section):
    # The scraper's own metrics and health, and the state of its targets at /api/v1/targets.
    listen: Listen = ListenAddress("127.0.0.1", 9111)
    scrape_interval: Positive = 10.0
    scrape_timeout: Positive = 8.0
    # The largest page, unpacked, that is read to its end; a job may set its own.
    body_size_limit: Size = 50 << 20
    # With nothing configured, this host's exporter.
    scrape_configs: tuple[ScrapeJob, ...] = (_THIS_HOST,)

    @field_validator("scrape_timeout")
    @classmethod
    def _within_interval(cls, timeout: float, info: ValidationInfo) -> float:
        _check_timeout(timeout, info.data.get("scrape_interval"))
        return timeout

    @field_validator("scrape_configs")
    @classmethod
    def _jobs_agree(
        cls, jobs: tuple[ScrapeJob, ...], info: ValidationInfo
    ) -> tuple[ScrapeJob, ...]:
        names = [job.job_name for job in jobs]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"the job_name {doubled[0]!r} is there twice; each needs its own")
        for job in jobs:
            interval = job.scrape_interval or info.data.get("scrape_interval")
            try:
                _check_timeout(job.scrape_timeout, interval)
            except ValueError as err:
                raise ValueError(f"scrape_timeout of job {job.job_name!r}: {err}") from None
        return jobs

    def interval_of(self, job: ScrapeJob) -> float:
        return job.scrape_interval or self.scrape_interval

    def timeout_of(self, job: ScrapeJob) -> float:
        return job.scrape_timeout or min(self.scrape_timeout, self.interval_of(job))

    def body_limit_of(self, job: ScrapeJob) -> int:
        return self.body_size_limit if job.body_size_limit is None else job.body_size_limit


def _check_timeout(timeout: float | None, interval: float | None) -> None:
    if timeout and interval and timeout > interval:
        raise ValueError(
            f"{format_duration(timeout)} outlasts the {format_duration(interval)} interval"
        )
