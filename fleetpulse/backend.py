"""Opens the store that the configuration names. The only module that knows all of them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from prometheus_client import CollectorRegistry, Counter, Gauge
from pydantic import BeforeValidator, Discriminator, Field, Tag

from fleetpulse.errors import QueryError, StartError
from fleetpulse.matchers import Matcher
from fleetpulse.promql.config import PromqlConfig
from fleetpulse.promql.result import QueryEngine
from fleetpulse.storage.base import SampleWriter, SeriesReader
from fleetpulse.storage.embedded import DAMAGE_KINDS, EmbeddedStore, Keeping, Rule
from fleetpulse.storage.influxconfig import InfluxConfig
from fleetpulse.storage.metadatafile import MetadataFile
from fleetpulse.storage.promapi.config import PromApiConfig
from fleetpulse.storage.tee import Tee
from fleetpulse.yamlconf import Duration, FilePath, Section, Size

if TYPE_CHECKING:
    from fleetpulse.storage.promapi.client import PromApiClient


def _selector(value: object) -> tuple[Matcher, ...]:
    """The matchers of a PromQL selector."""
    if not isinstance(value, str):
        raise ValueError("write a selector, as in '{__name__=~\"node_cpu.*\"}'")
    # Not above: the scraper's process does without the parser where there is none to be read.
    from fleetpulse.promql.syntax import Selector, parse

    try:
        found = parse(value)
    except QueryError as err:
        raise ValueError(str(err)) from None
    if not isinstance(found, Selector) or found.offset_ms or found.at is not None:
        raise ValueError(f"{value!r} is no plain selector, as '{{job=\"db\"}}' is")
    return found.matchers


class RetentionOverride(Section):
    """For how long some series are kept; what is left out is as for all."""

    match: Annotated[tuple[Matcher, ...], BeforeValidator(_selector)]
    raw: Duration | None = Field(None, gt=0)
    tiers: Duration | None = Field(None, ge=0)


class Retention(Section):
    """How long samples are kept, and windows of five minutes made of them. First match wins."""

    raw: Duration = Field(7 * 86400.0, gt=0)
    tiers: Duration = Field(30 * 86400.0, ge=0)
    overrides: tuple[RetentionOverride, ...] = ()

    def keeping(self, max_bytes: int = 0) -> Keeping:
        rules = tuple(
            Rule(
                one.match,
                self.raw if one.raw is None else one.raw,
                self.tiers if one.tiers is None else one.tiers,
            )
            for one in self.overrides
        )
        return Keeping(self.raw, self.tiers, rules, max_bytes)


class EmbeddedConfig(Section):
    """The embedded store: one SQLite file, DATA/store.db unless path says otherwise.

    max_size: bytes of the file; where it would grow larger, the oldest goes.
    """

    kind: Literal["embedded"] = "embedded"
    path: FilePath | None = None
    retention: Retention = Retention()
    max_size: Size | None = Field(None, ge=1 << 24)


class InfluxStoreConfig(InfluxConfig):
    """InfluxDB gets every sample; recent ones are kept here too, for queries and rules."""

    retention: Retention = Retention.model_validate({"raw": "1d", "tiers": "1d"})
    max_size: Size | None = Field(None, ge=1 << 24)


def _kind(section: Any) -> str:
    found = section.get("kind", "embedded") if isinstance(section, dict) else section.kind
    return str(found)


_SIZES = {
    "bytes": "Size of the embedded store's file.",
    "free_bytes": "Bytes in the embedded store's file that wait to be used again.",
    "pages": "Pages in the embedded store that are not compacted yet.",
    "targets": "Targets that the embedded store has samples of.",
    "lines": "Different metric names with labels of a page in the embedded store.",
}

METADATA_FILE = "metadata.json"  # in the data folder

AnyStoreConfig = EmbeddedConfig | InfluxStoreConfig | PromApiConfig
StorageConfig = Annotated[
    Annotated[EmbeddedConfig, Tag("embedded")]
    | Annotated[InfluxStoreConfig, Tag("influxdb2")]
    | Annotated[PromApiConfig, Tag("victoriametrics")],
    Discriminator(
        _kind,
        custom_error_type="kind",
        custom_error_message=(
            "kind is no store known here; write embedded, influxdb2 or victoriametrics"
        ),
    ),
]


@dataclass(frozen=True, slots=True)
class Job:
    """Something that a store wants done every so many seconds."""

    name: str
    every: int
    run: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Storage:
    """An open store. A context manager: leaving it closes what was opened, writer first."""

    writer: SampleWriter
    reader: SeriesReader
    make_engine: Callable[[], QueryEngine]  # a role that asks nothing does without it
    # Compaction, retention: for one process, the scraper's, to run now and then.
    jobs: Sequence[Job]
    # How long samples can be asked for, in seconds.
    keeps: float
    closing: Sequence[Callable[[], None]]
    # Bytes that are written and not yet in the store: they wait on disk to be sent.
    backlog: Callable[[], int] = lambda: 0

    @property
    def engine(self) -> QueryEngine:
        """The one engine, made when it is first asked for."""
        return self.make_engine()

    def close(self) -> None:
        with ExitStack() as stack:
            for close in reversed(self.closing):
                stack.callback(close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What one query may cost, and how its language is taken."""

    timeout: float = 60.0
    max_samples: int = 50_000_000
    max_concurrency: int = 20
    promql: PromqlConfig = field(default_factory=PromqlConfig)


def open_storage(
    config: AnyStoreConfig,
    data_dir: Path,
    role: str,
    registry: CollectorRegistry,
    limits: EngineLimits = EngineLimits(),
) -> Storage:
    """Opens the store for a role. StorageError or StartError where it cannot be."""
    if isinstance(config, PromApiConfig):
        return _open_promapi(config, data_dir, role, registry, limits)
    path = config.path if isinstance(config, EmbeddedConfig) else None
    keeping = config.retention.keeping(config.max_size or 0)
    local = _open_embedded(path or data_dir / "store.db", keeping, registry, limits)
    if isinstance(config, EmbeddedConfig):
        return local
    # Not above: only here is its library worth its memory.
    from fleetpulse.storage.influx import InfluxWriter

    try:
        # Each role queues for itself: a queue has one sender.
        remote = InfluxWriter(config, data_dir / "spool" / f"{role}.db", registry)
    except BaseException:
        local.close()
        raise
    return replace(local, writer=Tee(local.writer, remote), closing=(remote.close, local.close))


@contextmanager
def open_reader(config: AnyStoreConfig, data_dir: Path) -> Iterator[SeriesReader]:
    """A store for reading alone: nothing is made, and no queue is opened."""
    if isinstance(config, PromApiConfig):
        from fleetpulse.storage.promapi.client import PromApiClient
        from fleetpulse.storage.promapi.reader import PromApiReader

        client = PromApiClient(config)
        try:
            beside = MetadataFile(data_dir / METADATA_FILE)
            yield PromApiReader(client, client.store, beside)
        finally:
            client.close()
        return
    path = (config.path if isinstance(config, EmbeddedConfig) else None) or data_dir / "store.db"
    if not path.exists():
        raise StartError(f"{path}: no store there; name its folder with --data-dir")
    store = EmbeddedStore(path, read_only=True)
    try:
        yield store
    finally:
        store.close()


def _open_promapi(
    config: PromApiConfig,
    data_dir: Path,
    role: str,
    registry: CollectorRegistry,
    limits: EngineLimits,
) -> Storage:
    # Not above: these libraries are for those who use them.
    from fleetpulse.storage.promapi.client import PromApiClient
    from fleetpulse.storage.promapi.reader import PromApiReader
    from fleetpulse.storage.promapi.writer import PromApiWriter

    client = PromApiClient(config)
    try:
        # By protocol: what waits in one cannot be sent in the other.
        path = data_dir / "spool" / f"{role}-victoriametrics-{config.protocol}.db"
        beside = MetadataFile(data_dir / METADATA_FILE)
        writer = PromApiWriter(config, path, registry, client, beside)
    except BaseException:
        client.close()
        raise
    reader = PromApiReader(client, client.store, beside)

    def engine() -> QueryEngine:
        if config.engine == "own":
            return _engine(reader, limits)
        return _pass_through(client, limits)

    if writer.backlog():
        writer.start()
    return Storage(
        writer,
        reader,
        cache(engine),
        jobs=(),
        keeps=config.retention_period,
        closing=(writer.close, client.close),
        backlog=writer.backlog,
    )


def _pass_through(client: "PromApiClient", limits: EngineLimits) -> QueryEngine:
    from fleetpulse.promql.passthrough import PassThrough

    usual = limits.promql.lookback == PromqlConfig().lookback
    return PassThrough(
        client,
        client.store,
        timeout=limits.timeout,
        max_concurrency=limits.max_concurrency,
        # The store's own ways, unless somebody has said otherwise.
        lookback_ms=None if usual else round(limits.promql.lookback * 1000),
    )


def _open_embedded(
    path: Path, keeping: Keeping, registry: CollectorRegistry, limits: EngineLimits
) -> Storage:
    damaged = Counter(
        "fleetpulse_store_damaged_blobs_total",
        "Blobs of the embedded store whose checksum was wrong, each counted once: left out.",
        ["kind"],
        registry=registry,
    )
    for kind in DAMAGE_KINDS:
        damaged.labels(kind)
    store = EmbeddedStore(path, on_damage=lambda kind: damaged.labels(kind).inc())
    sizes = {
        field: Gauge(f"fleetpulse_store_{field}", help_text, registry=registry)
        for field, help_text in _SIZES.items()
    }

    def compact() -> None:
        store.compact(tiers=keeping.tiers_wanted)
        store.cap(keeping.max_bytes)
        stats = store.stats()
        for name, size in sizes.items():
            size.set(getattr(stats, name))

    def expire() -> None:
        store.expire(keeping)

    # Compaction is cheap when little is due; each expiry makes all processes read the index anew.
    jobs = (Job("compaction", 60, compact), Job("retention", 3600, expire))
    engine = cache(lambda: _engine(store, limits))
    return Storage(store, store, engine, jobs, keeping.longest, closing=(store.close,))


def _engine(reader: SeriesReader, limits: EngineLimits) -> QueryEngine:
    # Not above: the scraper's process does without the parser and all functions.
    from fleetpulse.promql.engine import Engine

    return Engine(
        reader,
        timeout=limits.timeout,
        max_samples=limits.max_samples,
        max_concurrency=limits.max_concurrency,
        lookback_ms=round(limits.promql.lookback * 1000),
        experimental=limits.promql.experimental,
        delayed_name_removal=limits.promql.delayed_name_removal,
    )
