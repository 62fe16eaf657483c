"""How InfluxDB 2 is reached. Apart from the writer: its library takes 20 MB."""

from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from fleetpulse.yamlconf import Duration, FilePath, Secret, Section, Size


class InfluxConfig(Section):
    """storage: {kind: influxdb2, …}"""

    kind: Literal["influxdb2"]
    # http://HOST:8086, without a path of the API.
    url: str
    org: str
    bucket: str
    # A token that may write to the bucket; token_file wins.
    token: Secret | None = None
    token_file: FilePath | None = None
    # A batch goes out when it has so many samples …
    batch_size: int = Field(default=5_000, ge=1, le=100_000)
    # … or after this long.
    flush_interval: Duration = Field(default=5.0, gt=0)
    # Longest time for one request.
    timeout: Duration = Field(default=10.0, gt=0)
    # Whether request bodies are compressed: saves network, costs processor time.
    gzip: bool = False
    # Samples that wait while the store is away; when full, the oldest are dropped and counted.
    spool_max_bytes: Size = 1 << 30

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("is no URL; write for example http://127.0.0.1:8086")
        if parts.username or parts.password:
            raise ValueError("holds a password; put credentials into token or token_file")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _one_token(self) -> "InfluxConfig":
        if self.token is not None and self.token_file is not None:
            raise ValueError("token and token_file are both there; keep one")
        return self
