"""How InfluxDB is reached. Apart from what talks to it: influxdb-client takes 20 MB."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from fleetpulse.yamlconf import Duration, FilePath, Secret, Section, Size


def _is_http(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is no URL; write for example http://127.0.0.1:8086")
    if parts.username or parts.password:
        raise ValueError("holds a password; put credentials into keys of their own")
    if parts.query or parts.fragment:
        raise ValueError("has a query; write scheme, host, port and at most a path")
    return url.rstrip("/")


Url = Annotated[str, AfterValidator(_is_http)]


class InfluxRetention(Section):
    """How long samples are kept, and windows of five minutes made of them. tiers 0: none."""

    raw: Duration = Field(default=7 * 86400.0, ge=3600)
    tiers: Duration = Field(default=30 * 86400.0, ge=0)


class InfluxConfig(Section):
    """What both versions have in common."""

    # http://HOST:8086, without a path of the API.
    url: Url
    # Who is trusted instead of the system's authorities, and whether nobody need be.
    ca_file: FilePath | None = None
    insecure_skip_verify: bool = False
    # A batch goes out when it has so many samples … (benchmarks/influx_write.py: 100 at a time cost
    # ten times the processor time here and three times there; 5,000 a fifth more here, a tenth
    # there. What is more than the server takes at once is halved.)
    batch_size: int = Field(default=20_000, ge=1, le=100_000)
    # … or after this long.
    flush_interval: Duration = Field(default=5.0, gt=0)
    # Longest time for one write.
    timeout: Duration = Field(default=10.0, gt=0)
    # Whether request bodies are compressed: saves network, costs processor time.
    gzip: bool = False
    # Samples that wait while the store is away; when there are more, or they are older, the oldest
    # are dropped and counted.
    spool_max_bytes: Size = Field(default=1 << 30, ge=1 << 10)
    spool_max_age: Duration | None = Field(default=None, gt=0)
    # Longest time for one read, and its longest answer.
    query_timeout: Duration = Field(default=60.0, gt=0)
    max_response: Size = Field(default=1 << 30, ge=1 << 20)
    # For how long samples are kept here as well, so that rules go on while the store is away; 0 is
    # not at all. For a single host alone: all that the store gets has to pass through here.
    local_copy: Duration = Field(default=0.0, ge=0, le=30 * 86400)
    # What `fleetpulse influx setup` sees to, and what reads go by.
    retention: InfluxRetention = Field(default_factory=InfluxRetention)
    # Gone: known only to be refused with a word on what is there instead.
    max_size: object = Field(default=None, exclude=True)

    @field_validator("max_size")
    @classmethod
    def _no_size(cls, _value: object) -> object:
        raise ValueError("is gone; local_copy: 1d keeps the last day here as well")

    @field_validator("local_copy")
    @classmethod
    def _long_enough(cls, value: float) -> float:
        if 0 < value < 3600:
            raise ValueError("is too short to be of use; write at least 1h, or 0 for no copy")
        return value


class Influx2Config(InfluxConfig):
    """storage: {kind: influxdb2, …}"""

    kind: Literal["influxdb2"]
    org: str = Field(min_length=1)
    bucket: str = Field(min_length=1)
    # A token that may read and write the bucket; token_file wins.
    token: Secret | None = None
    token_file: FilePath | None = None
    # Where windows of five minutes are; empty is the bucket's name with _5m behind it.
    tier_bucket: str = ""

    @property
    def windows_bucket(self) -> str:
        return self.tier_bucket or f"{self.bucket}_5m"

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        _only_one(self, "token", "token_file")
        return self


class Influx1Config(InfluxConfig):
    """storage: {kind: influxdb1, …}"""

    kind: Literal["influxdb1"]
    database: str = Field(min_length=1)
    # Where samples go; empty is the database's default policy.
    retention_policy: str = ""
    # Where windows of five minutes are.
    tier_policy: str = Field(default="5m", min_length=1)
    username: str = ""
    password: Secret | None = None
    password_file: FilePath | None = None
    # Of a cluster: how many nodes must have a sample.
    consistency: Literal["", "any", "one", "quorum", "all"] = ""

    @model_validator(mode="after")
    def _whole_login(self) -> Self:
        if not self.username and (self.password is not None or self.password_file is not None):
            raise ValueError("password without username; write both")
        _only_one(self, "password", "password_file")
        return self


def _only_one(config: Section, one: str, other: str) -> None:
    if getattr(config, one) is not None and getattr(config, other) is not None:
        raise ValueError(f"{one} and {other} are both there; keep one")
