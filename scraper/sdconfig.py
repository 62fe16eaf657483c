"""Where targets come from: static_configs, file_sd_configs, http_sd_configs, dns_sd_configs."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from fleetpulse.yamlconf import Duration, FilePath, Section
from scraper.httpconfig import HttpConfig

_SUFFIXES = (".json", ".yml", ".yaml")
_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[^\s/@?#\\:\[\]]+)(?::(\d{1,5}))?")
_DNS_NAME = re.compile(r"(?=.{1,255}$)(?:[^\s./]{1,63}\.)*[^\s./]{1,63}\.?")


def as_text(value: object) -> object:
    """YAML reads `9100` and `true` as a number and a truth value; the person meant their text."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float)) else value


Text = Annotated[str, BeforeValidator(as_text)]
Positive = Annotated[Duration, Field(gt=0)]


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


TargetLabels = Annotated[dict[str, Text], AfterValidator(_label_names)]


class TargetGroup(Section):
    """Targets with the labels they share; also an entry of a target file or an HTTP answer."""

    # What they are is known after relabelling only: the blackbox exporter's are URLs.
    targets: tuple[str, ...] = ()
    labels: TargetLabels = Field(default_factory=dict)

    @field_validator("labels", mode="before")
    @classmethod
    def _none_is_empty(cls, value: object) -> object:
        return {} if value is None else value


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


class HttpSdConfig(HttpConfig):
    """A URL that answers with target groups as JSON."""

    url: str
    refresh_interval: Positive = 60.0

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            sound = False
        if not sound or any(sign.isspace() for sign in url):
            raise ValueError("no URL to ask; write http://HOST:PORT/PATH or https://…")
        if parts.username is not None or parts.password is not None:
            raise ValueError("a URL is shown to people; put the login into basic_auth")
        return url


class DnsSdConfig(Section):
    """Names whose records are targets."""

    names: tuple[str, ...] = Field(min_length=1)
    type: Annotated[
        Literal["SRV", "A", "AAAA", "MX", "NS"],
        BeforeValidator(lambda kind: kind.upper() if isinstance(kind, str) else kind),
    ] = "SRV"
    port: int = Field(0, ge=0, lt=65536)
    refresh_interval: Positive = 30.0

    @field_validator("names")
    @classmethod
    def _are_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if _DNS_NAME.fullmatch(name) is None:
                raise ValueError(f"{name[:80]!r} is no name in the DNS")
        return names

    @model_validator(mode="after")
    def _port_where_needed(self) -> Self:
        if not self.port and self.type != "SRV":
            raise ValueError(f"records of type {self.type} name no port; give one with port")
        return self
