"""From what is configured and found in files to the targets that are scraped.

The labels that relabelling sees, and what becomes of them, are Prometheus' (scrape/target.go).
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import quote, urlencode

from pydantic import ValidationError

from fleetpulse.errors import ConfigError
from fleetpulse.model import Labels
from fleetpulse.values import format_duration, parse_duration
from fleetpulse.yamldoc import Document, read_text
from scraper.config import ScraperConfig
from scraper.job import Defaults, ScrapeJob
from scraper.protocols import DEFAULT_PROTOCOLS, accept_header
from scraper.relabel import Rule, compile_rules, relabel
from scraper.sdconfig import TargetGroup, address_faults, check_address

_PARAM = "__param_"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a job allows, 0 for anything: bytes of a body, samples of a page, targets of the job,
    labels of a series, bytes of a label's name and value, dropped targets that are remembered.
    """

    body: int = 0
    samples: int = 0
    targets: int = 0
    labels: int = 0
    name_length: int = 0
    value_length: int = 0
    dropped: int = 0

    @classmethod
    def of(cls, config: ScrapeJob, section: ScraperConfig) -> "Limits":
        return cls(
            section.body_limit_of(config),
            config.sample_limit or section.sample_limit,
            config.target_limit or section.target_limit,
            config.label_limit or section.label_limit,
            config.label_name_length_limit or section.label_name_length_limit,
            config.label_value_length_limit or section.label_value_length_limit,
            config.keep_dropped_targets or section.keep_dropped_targets,
        )


@dataclass(frozen=True)
class Job:
    """A scrape job with the section's values filled in and its rules ready."""

    config: ScrapeJob
    interval: float
    timeout: float
    limits: Limits
    accept: str  # the header's value
    legacy_names: bool  # names of metrics and labels are those of before UTF-8
    extra_metrics: bool  # three more report series
    failure_log: Path | None
    rules: tuple[Rule, ...] = field(compare=False)
    metric_rules: tuple[Rule, ...] = field(compare=False)

    @classmethod
    def of(cls, config: ScrapeJob, section: ScraperConfig) -> "Job":
        scheme = config.metric_name_validation_scheme or section.metric_name_validation_scheme
        extra = config.extra_scrape_metrics
        protocols = config.scrape_protocols or section.scrape_protocols or DEFAULT_PROTOCOLS
        legacy = scheme == "legacy"
        return cls(
            config,
            section.interval_of(config),
            section.timeout_of(config),
            Limits.of(config, section),
            accept_header(protocols, _escaping(config, section)),
            legacy,
            bool(section.extra_scrape_metrics if extra is None else extra),
            config.scrape_failure_log_file or section.scrape_failure_log_file,
            compile_rules(config.relabel_configs, legacy=legacy),
            compile_rules(config.metric_relabel_configs, legacy=legacy),
        )

    @property
    def name(self) -> str:
        return self.config.job_name


def _escaping(config: ScrapeJob, section: ScraperConfig) -> str:
    """How a target is asked to write names; a job's own validation scheme has its own default."""
    deciding: Defaults = config
    if not (config.metric_name_escaping_scheme or config.metric_name_validation_scheme):
        deciding = section
    default = "underscores" if deciding.metric_name_validation_scheme == "legacy" else "allow-utf-8"
    return deciding.metric_name_escaping_scheme or default


@dataclass(frozen=True)
class Target:
    """One page to be scraped.

    labels go with every series; discovered are those before relabelling.
    """

    job: Job
    labels: Labels
    discovered: Labels
    url: str
    interval: float
    timeout: float
    refusal: str = ""  # why it is not to be contacted at all, for target_limit

    @property
    def key(self) -> tuple[str, Labels, str]:
        """Targets with equal keys are the same target, whatever else was configured anew."""
        return self.job.name, self.labels, self.url

    @cached_property
    def offset(self) -> float:
        """Its place within the interval, in 0 to 1, the same after every restart."""
        text = f"{self.url}\xff{self.labels}".encode()
        digest = hashlib.blake2b(text, digest_size=8).digest()
        return int.from_bytes(digest, "big") / (1 << 64)


@dataclass(frozen=True)
class TargetSet:
    """What is to be scraped now.

    dropped: job and discovered labels of the targets that rules dropped, at most
    keep_dropped_targets a job. dropped_counts: all of them, by job. faults: of those that cannot
    be. elsewhere: how many are other shards'.
    """

    active: tuple[Target, ...] = ()
    dropped: tuple[tuple[str, Labels], ...] = ()
    dropped_counts: Mapping[str, int] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    elsewhere: int = 0


def build_targets(
    jobs: Iterable[Job], groups: Mapping[str, Sequence[tuple[TargetGroup, str]]]
) -> TargetSet:
    """All targets of all jobs. groups: by job, target groups and where each came from.

    A target that cannot be (an address without a host, say) becomes a fault; the others go on.
    """
    active: dict[tuple[str, Labels, str], Target] = {}
    dropped: list[tuple[str, Labels]] = []
    counts: Counter[str] = Counter()
    faults: list[str] = []
    for job in jobs:
        found: dict[tuple[str, Labels, str], Target] = {}
        for group, origin in groups.get(job.name, ()):
            for address in group.targets:
                before = discovered_labels(job, group, address, origin)
                try:
                    target = make_target(job, before)
                except ValueError as err:
                    faults.append(f"job {job.name}, target {address}: {err}")
                    continue
                if target is not None:
                    found.setdefault(target.key, target)
                    continue
                counts[job.name] += 1
                if not job.limits.dropped or counts[job.name] <= job.limits.dropped:
                    dropped.append((job.name, before))
        active.update((t.key, t) for t in _limited(job, list(found.values())))
    return TargetSet(tuple(active.values()), tuple(dropped), counts, tuple(faults))


def _limited(job: Job, targets: list[Target]) -> list[Target]:
    """As in Prometheus, one target too many fails all of the job."""
    limit = job.limits.targets
    if not limit or len(targets) <= limit:
        return targets
    reason = f"target_limit exceeded: {len(targets)} targets, at most {limit} are allowed"
    return [
        Target(t.job, t.labels, t.discovered, t.url, t.interval, t.timeout, reason) for t in targets
    ]


def discovered_labels(job: Job, group: TargetGroup, address: str, origin: str) -> Labels:
    """The labels of a target before relabelling; origin is its file, or empty."""
    labels = {
        "job": job.name,
        "__address__": address,
        "__scheme__": job.config.scheme,
        "__metrics_path__": job.config.metrics_path,
        "__scrape_interval__": format_duration(job.interval),
        "__scrape_timeout__": format_duration(job.timeout),
    }
    labels |= {_PARAM + name: values[0] for name, values in job.config.params.items() if values}
    labels |= {name: value for name, value in group.labels.items() if value}
    if origin:
        labels["__meta_filepath"] = origin
    labels["__address__"] = address
    return Labels.of(labels)


def make_target(job: Job, discovered: Labels) -> Target | None:
    """The target after relabelling, or None if it was dropped. ValueError: it cannot be."""
    labels = discovered.as_dict()
    if not relabel(labels, job.rules):
        return None
    address = labels.get("__address__", "")
    if not address:
        raise ValueError("no __address__ is left after relabelling")
    check_address(address)
    interval, timeout = _times(labels)
    labels.setdefault("instance", address)
    shown = Labels.of({k: v for k, v in labels.items() if not k.startswith("__")})
    return Target(job, shown, discovered, _url(job, labels), interval, timeout)


def _times(labels: Mapping[str, str]) -> tuple[float, float]:
    interval = parse_duration(labels.get("__scrape_interval__", ""))
    timeout = parse_duration(labels.get("__scrape_timeout__", ""))
    if interval <= 0 or timeout <= 0:
        raise ValueError("the scrape interval and timeout must be above zero")
    if timeout > interval:
        raise ValueError(
            f"its timeout of {format_duration(timeout)} outlasts "
            f"its interval of {format_duration(interval)}"
        )
    return interval, timeout


def _url(job: Job, labels: Mapping[str, str]) -> str:
    scheme = labels.get("__scheme__", "")
    if scheme not in ("http", "https"):
        raise ValueError(f"its __scheme__ is {scheme!r}; http and https are known")
    params = {name: list(values) for name, values in job.config.params.items()}
    for label, value in labels.items():
        if label.startswith(_PARAM):
            name = label.removeprefix(_PARAM)
            params[name] = [value, *params.get(name, [])[1:]]
    query = urlencode(sorted(params.items()), doseq=True)
    path = quote(labels.get("__metrics_path__", ""), safe="/%:@!$&'()*+,;=~?")
    path, _, own_query = path.partition("?")
    query = "&".join(part for part in (own_query, query) if part)
    slash = "" if path.startswith("/") else "/"
    return f"{scheme}://{labels['__address__']}{slash}{path}{'?' + query if query else ''}"


def read_target_file(path: Path) -> tuple[TargetGroup, ...]:
    """The groups of a file_sd file; ConfigError with every fault."""
    return _groups(Document.parse(read_text(path), str(path)))


def _groups(document: Document, *, relabelled: bool = True) -> tuple[TargetGroup, ...]:
    path, data = document.file, [] if document.data is None else document.data
    if not isinstance(data, list):
        raise ConfigError([f"{path}:1: write a list of groups, as in `- targets: [host:9100]`"])
    groups: list[TargetGroup] = []
    faults: list[str] = []
    for place, entry in enumerate(data):
        try:
            group = TargetGroup.model_validate(entry)
            if not relabelled:
                faults.extend(
                    document.fault((place, "targets"), f) for f in address_faults([group])
                )
            groups.append(group)
        except ValidationError as err:
            faults.extend(_faults(document, place, err))
    if faults:
        raise ConfigError(faults)
    return tuple(groups)


def _faults(document: Document, place: int, err: ValidationError) -> list[str]:
    return [
        document.fault((place, *detail["loc"]), detail["msg"].removeprefix("Value error, "))
        for detail in err.errors(include_url=False, include_input=False)
    ]


def check_target_file(path: Path, *, relabelled: bool = False) -> Sequence[str]:
    """The faults of a file_sd file, as `file:line: path: message`; none if it is fine.

    relabelled: the job has relabel_configs, so that its targets need not be addresses yet.
    """
    try:
        _groups(Document.parse(read_text(path), str(path)), relabelled=relabelled)
    except ConfigError as err:
        return err.faults
    return ()
