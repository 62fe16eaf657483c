"""storage: {kind: victoriametrics, …}: where the store is, who we are, what is asked of it."""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from fleetpulse.yamlconf import Duration, FilePath, Secret, Section, Size

_TENANT = re.compile(r"\d{1,10}(:\d{1,10})?")
_MAX_ID = (1 << 32) - 1


def _is_http(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("is no URL; write for example http://127.0.0.1:8428")
    if parts.username or parts.password:
        raise ValueError("holds a password; put it into username and password_file")
    if parts.query or parts.fragment:
        raise ValueError("has a query; write scheme, host, port and at most a path")
    return url.rstrip("/")


def _is_tenant(text: object) -> object:
    if isinstance(text, int) and not isinstance(text, bool):
        return _is_tenant(str(text))  # `tenant: 7`
    if not isinstance(text, str):
        return text
    ids = text.split(":")
    if text and (not _TENANT.fullmatch(text) or any(int(one) > _MAX_ID for one in ids)):
        raise ValueError("is no tenant; write accountID or accountID:projectID, as in 7 or 7:2")
    return text


Url = Annotated[str, AfterValidator(_is_http)]
Protocol = Literal["remote_write", "influx"]


class PromApiConfig(Section):
    """A store that answers PromQL. Either url, or insert_url and select_url of a cluster."""

    kind: Literal["victoriametrics"]
    # A single node: http://HOST:8428.
    url: Url | None = None
    # A cluster: http://VMINSERT:8480 and http://VMSELECT:8481, before /insert and /select.
    insert_url: Url | None = None
    select_url: Url | None = None
    # accountID or accountID:projectID; empty: the two URLs are used as they stand.
    tenant: Annotated[str, BeforeValidator(_is_tenant)] = "0"
    # Either user name and password or a token.
    username: str = ""
    password: Secret | None = None
    password_file: FilePath | None = None
    token: Secret | None = None
    token_file: FilePath | None = None
    # TLS: who is trusted instead of the system's authorities, and who we are.
    ca_file: FilePath | None = None
    cert_file: FilePath | None = None
    key_file: FilePath | None = None
    insecure_skip_verify: bool = False
    # remote_write loses nothing; line protocol has no staleness markers and no NaN.
    protocol: Protocol = "remote_write"
    # own: our engine over raw samples. passthrough: the store's own answer, in its own dialect.
    engine: Literal["own", "passthrough"] = "own"
    # A batch goes out when it has so many samples …
    batch_size: int = Field(default=10_000, ge=1, le=100_000)
    # … or after this long.
    flush_interval: Duration = Field(default=5.0, gt=0)
    # Longest time for one write.
    timeout: Duration = Field(default=10.0, gt=0)
    # Longest time for one read that has no limit of its own.
    query_timeout: Duration = Field(default=60.0, gt=0)
    # Longest answer, unpacked.
    max_response: Size = Field(default=1 << 30, ge=1 << 20)
    # Whether line protocol and answers are compressed; remote write always is.
    gzip: bool = False
    # Samples that wait while the store is away; when there are more, or they are older, the oldest
    # are dropped and counted.
    spool_max_bytes: Size = Field(default=1 << 30, ge=1 << 10)
    spool_max_age: Duration | None = Field(default=None, gt=0)
    # The store's -retentionPeriod: pushes of older samples are refused here, not lost there.
    retention_period: Duration = Field(default=31 * 86400.0, gt=0)

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if self.url is not None and (self.insert_url or self.select_url):
            raise ValueError("url is for a single node; give either it or insert_url, select_url")
        if self.url is None and not (self.insert_url and self.select_url):
            raise ValueError("give url, or for a cluster both insert_url and select_url")
        return self

    @model_validator(mode="after")
    def _one_identity(self) -> Self:
        given = {name for name in type(self).model_fields if getattr(self, name) is not None}
        for one in ("password", "token"):
            if {one, f"{one}_file"} <= given:
                raise ValueError(f"{one} and {one}_file are both there; keep one")
        if self.username and {"token", "token_file"} & given:
            raise ValueError("username is for a password, which goes without a token; keep one")
        if not self.username and {"password", "password_file"} & given:
            raise ValueError("password without username; write both")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together; write both")
        return self

    @property
    def cluster(self) -> bool:
        """Whether paths name a tenant."""
        return self.url is None and bool(self.tenant)

    @property
    def write_url(self) -> str:
        """Where samples go, in the protocol that was chosen."""
        path = "/api/v1/write" if self.protocol == "remote_write" else "/api/v2/write"
        if not self.cluster:
            return f"{self.url or self.insert_url}{path}"
        door = "prometheus" if self.protocol == "remote_write" else "influx"
        return f"{self.insert_url}/insert/{self.tenant}/{door}{path}"

    @property
    def read_url(self) -> str:
        """What stands before /api/v1/query and its like."""
        if not self.cluster:
            return str(self.url or self.select_url)
        return f"{self.select_url}/select/{self.tenant}/prometheus"
