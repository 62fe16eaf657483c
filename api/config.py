"""The API's own section of the configuration file."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from api.remotewrite.config import RemoteWriteConfig
from fleetpulse.values import ListenAddress, is_label_name
from fleetpulse.yamlconf import Duration, FilePath, Listen, Section, Size

_UNLIMITED = "unlimited"


def _rate(value: object) -> str:
    """`10/second`, `100/10 seconds`, a bare number of requests a second, or `unlimited`."""
    text = str(value).strip()
    if text in ("0", _UNLIMITED):
        return _UNLIMITED
    text = f"{text}/second" if text.isdigit() else text
    # Not above: other roles check this section too, and do without the library.
    from limits import parse_many

    try:
        parse_many(text)
    except ValueError as err:
        raise ValueError(
            f"{value!r} is no rate; write for example 10/second, 100/10 seconds or unlimited"
        ) from err
    return text


class PushServer(Section):
    """A server that may push. Its samples carry job="push", instance=NAME and these labels."""

    name: str = Field(min_length=1, max_length=200)
    labels: dict[str, str] = Field(default_factory=dict)

    @field_validator("labels")
    @classmethod
    def _known_labels(cls, labels: dict[str, str]) -> dict[str, str]:
        for name in labels:
            if not is_label_name(name) or name.startswith("__"):
                raise ValueError(f"{name!r} is no label name; write for example site or rack")
            if name == "instance":
                raise ValueError("instance is the server's name; choose another label")
        return labels


class PushConfig(Section):
    """What hosts that cannot be reached may send."""

    # The whitelist: a push from any other server is refused.
    servers: tuple[PushServer, ...] = ()
    # Largest request body as it comes in, compressed or not.
    max_body: Size = 5 << 20
    # Largest body after decompression.
    max_decompressed: Size = 20 << 20
    # Most samples in one push.
    max_samples: int = Field(default=50_000, ge=1)
    # How far ahead of this clock a sample's time may be.
    max_future: Duration = 600.0
    # How old a sample may be: at most what the store keeps.
    max_age: Duration = 7 * 86400.0
    # How many batch_ids of a server are remembered to tell a repeated push (in memory).
    remembered_batches: int = Field(default=2048, ge=1)

    @field_validator("servers")
    @classmethod
    def _each_once(cls, servers: tuple[PushServer, ...]) -> tuple[PushServer, ...]:
        names = [server.name for server in servers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)}: listed twice; name each server once")
        return servers


class QueryConfig(Section):
    """Bounds of a query. The engine gets them from whoever opens it."""

    # Longest time for a query, in the queue too; a request may ask for less.
    timeout: Duration = Field(default=120.0, gt=0)
    # Most samples a query may hold in memory at a time; a series counts as 16 more.
    max_samples: int = Field(default=50_000_000, ge=1)
    # Most series that one selector may match; 0: no limit but that of samples.
    max_series: int = Field(default=0, ge=0)
    # Queries evaluated at the same time; the others wait within their timeout.
    max_concurrency: int = Field(default=20, ge=1)
    # Most label sets, names or values that series, labels and label values answer with.
    max_items: int = Field(default=100_000, ge=1)
    # A line of JSON for each query goes to this file, or to standard output for "-".
    log: Annotated[Literal["-"] | FilePath | None, Field(union_mode="left_to_right")] = None
    # But only for queries that took as long, and for those that failed for what they cost.
    log_slower_than: Duration = Field(default=0.0, ge=0)


class ServersConfig(Section):
    """When a server counts as what."""

    # No sample for this long: stale.
    stale_after: Duration = 30.0
    # No sample for this long: down.
    down_after: Duration = 300.0
    # A server that was seen this long ago is still listed.
    lookback: Duration = 86400.0


class ApiConfig(Section):
    """Everything of the `api` section."""

    # On a loopback address reads need no key; on any other every request does.
    listen: Listen = ListenAddress("127.0.0.1", 8080)
    # Requests answered at the same time.
    threads: int = Field(default=8, ge=1, le=256)
    # Each key, and each address without one, may ask this often. More in one burst, at the same
    # sustained rate: 100/10 seconds (Grafana asks about twenty at once).
    rate_limit: Annotated[str, BeforeValidator(_rate)] = "10/second"
    # true: reads need a key on a loopback address too, as behind a reverse proxy.
    require_keys: bool = False
    # Host names that requests may be for; empty: on a loopback address its names (a foreign name
    # there is a DNS rebinding attack), on any other all, as keys guard it.
    allowed_hosts: tuple[str, ...] = ()
    # Origins (https://dash.example) whose pages may read answers in a browser.
    cors_origins: tuple[str, ...] = ()
    # The same as a regular expression over the whole origin, like Prometheus' --web.cors.origin.
    cors_origin_regex: str = ""
    # The scrapers that are asked for their targets; none: the one of this file.
    scrapers: tuple[Listen, ...] = ()
    # The rule runners that are asked for rules and alerts; none: the one of this file.
    rules: tuple[Listen, ...] = ()
    # Put on what is federated from here; null: those of the section rules.
    external_labels: dict[str, str] | None = None
    query: QueryConfig = QueryConfig()
    push: PushConfig = PushConfig()
    remote_write: RemoteWriteConfig = RemoteWriteConfig()
    servers: ServersConfig = ServersConfig()

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            scheme, _, rest = origin.partition("://")
            if scheme not in ("http", "https") or not rest or "/" in rest:
                raise ValueError(
                    f"{origin!r} is no origin; write for example https://dash.example:3000"
                )
        return origins

    @field_validator("cors_origin_regex")
    @classmethod
    def _pattern(cls, pattern: str) -> str:
        # Not above: other roles check this section too, and do without the library.
        from fleetpulse.regex import compile_pattern

        compile_pattern(pattern)
        return pattern

    @field_validator("external_labels")
    @classmethod
    def _names(cls, labels: dict[str, str] | None) -> dict[str, str] | None:
        for name in labels or ():
            if not is_label_name(name) or name.startswith("__"):
                raise ValueError(f"{name!r} is no label name; write for example site or rack")
        return labels

    def allows_origin(self, origin: str) -> bool:
        """Whether pages of the origin may read answers."""
        if origin in self.cors_origins:
            return True
        from fleetpulse.regex import compile_pattern

        pattern = self.cors_origin_regex
        return bool(pattern) and compile_pattern(pattern).fullmatch(origin) is not None

    @property
    def unlimited(self) -> bool:
        return self.rate_limit == _UNLIMITED

    @property
    def needs_keys(self) -> bool:
        """Whether reads need a key. The listen address decides, never the peer's address."""
        return self.require_keys or not self.listen.is_loopback
