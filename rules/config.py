"""The section `rules` of the configuration file."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from fleetpulse.values import ListenAddress, is_label_name
from fleetpulse.yamlconf import Duration, Listen, Section


def _positive(seconds: float) -> float:
    if seconds <= 0:
        raise ValueError("must be longer than 0s; write for example 10s or 1m")
    return seconds


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("write a URL such as http://127.0.0.1:9093")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("write only scheme, host, port and path, without user, ? or #")
    return text.rstrip("/")


def _label_names(labels: dict[str, str]) -> dict[str, str]:
    for name in labels:
        if not is_label_name(name) or name.startswith("__"):
            raise ValueError(f"{name!r} is no label name; use letters, digits and _")
    return labels


Url = Annotated[str, AfterValidator(_http_url)]
Interval = Annotated[Duration, AfterValidator(_positive)]


class RulesConfig(Section):
    """Every key with its default. Durations are in seconds once read."""

    listen: Listen = Field(
        ListenAddress("127.0.0.1", 9112),
        description="Address of /metrics, /-/ready, /api/v1/rules and /api/v1/alerts.",
    )
    shipped: bool = Field(
        True, description="Evaluate the rules that come with FleetPulse (rules/defaults)."
    )
    rule_files: list[str] = Field(
        default_factory=list,
        description="Prometheus rule files: paths or globs, relative to the configuration file.",
    )
    evaluation_interval: Interval = Field(
        10.0, description="How often a group without an interval of its own is evaluated."
    )
    evaluation_timeout: Interval = Field(
        30.0, description="How long one rule's query may take before the rule counts as failed."
    )
    external_labels: Annotated[dict[str, str], AfterValidator(_label_names)] = Field(
        default_factory=dict,
        description="Labels put on every alert that is sent, if it lacks them.",
    )
    external_url: Url = Field(
        "http://127.0.0.1:8080", description="Where people reach the API: the alerts' source links."
    )
    bridge_urls: list[Url] = Field(
        default_factory=lambda: ["http://127.0.0.1:9093"],
        description="Bridges or Alertmanagers; each gets every alert.",
    )
    bridge_timeout: Interval = Field(10.0, description="How long one request to a bridge may take.")
    resend_delay: Interval = Field(
        60.0, description="How often an alert that still fires is sent again."
    )
    for_outage_tolerance: Duration = Field(
        3600.0, description="How long the rules may have been down for alerts to be remembered."
    )
    for_grace_period: Duration = Field(
        600.0, description="What is left of a restored alert's `for` is at least this long."
    )
    concurrency: int = Field(
        4, ge=1, le=64, description="How many groups are evaluated at the same time."
    )
