"""The bridge's own section of the configuration file."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from fleetpulse.values import ListenAddress
from fleetpulse.yamlconf import Duration, FilePath, Listen, Section, Size


def _url(value: str) -> str:
    if urlsplit(value).scheme not in ("http", "https"):
        raise ValueError("write a URL that begins with http:// or https://")
    return value.rstrip("/")


class BridgeConfig(Section):
    """Section `bridge`."""

    listen: Listen = Field(
        default=ListenAddress("127.0.0.1", 9093),
        description="Where the Alertmanager API is served. It asks for no password: on any other "
        "address than loopback, everyone who reaches it may silence and send alerts.",
    )
    config_file: FilePath | None = Field(
        default=None,
        description="A file in Alertmanager's format: routes, receivers, inhibition. Without one, "
        "alerts are kept in the history only.",
    )
    external_url: Annotated[str, AfterValidator(_url)] | None = Field(
        default=None, description="The bridge's address as people reach it, for links."
    )
    allowed_hosts: list[str] = Field(
        default=[],
        description="Further host names by which the bridge may be called. On loopback, only "
        "localhost and addresses are taken otherwise.",
    )
    threads: int = Field(default=8, ge=1, le=64, description="Requests served at once.")
    max_body: Size = Field(default=10 << 20, description="The largest request taken.")
    max_alerts: int = Field(
        default=100_000, ge=1, description="Different alerts kept at once; more are refused."
    )
    max_silences: int = Field(default=10_000, ge=1, description="Silences kept at once.")
    max_pending: int = Field(
        default=1_000,
        ge=1,
        description="Messages that may wait for one receiver; beyond, the oldest is dropped.",
    )
    give_up_after: Duration = Field(
        default=86_400.0, description="A message that could not be sent for so long is dropped."
    )
    history_retention: Duration = Field(
        default=90 * 86_400.0, description="How long alerts and messages stay in the history."
    )

    @property
    def url(self) -> str:
        return self.external_url or self.listen.url
