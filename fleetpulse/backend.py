"""Opens the store that the configuration names. The only module that knows all of them."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, Self

from prometheus_client import CollectorRegistry, Gauge
from pydantic import Discriminator, Field, Tag

from fleetpulse.promql.result import QueryEngine
from fleetpulse.storage.base import SampleWriter, SeriesReader
from fleetpulse.storage.embedded import EmbeddedStore
from fleetpulse.storage.influxconfig import InfluxConfig
from fleetpulse.storage.tee import Tee
from fleetpulse.yamlconf import Duration, FilePath, Section


class Retention(Section):
    """How long samples are kept."""

    raw: Duration = Field(7 * 86400.0, gt=0)


class EmbeddedConfig(Section):
    """The embedded store: one SQLite file, DATA/store.db unless path says otherwise."""

    kind: Literal["embedded"] = "embedded"
    path: FilePath | None = None
    retention: Retention = Retention()


class InfluxStoreConfig(InfluxConfig):
    """InfluxDB gets every sample; recent ones are kept here too, for queries and rules."""

    retention: Retention = Retention.model_validate({"raw": "1d"})


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

StorageConfig = Annotated[
    Annotated[EmbeddedConfig, Tag("embedded")] | Annotated[InfluxStoreConfig, Tag("influxdb2")],
    Discriminator(
        _kind,
        custom_error_type="kind",
        custom_error_message="kind is no store known here; write embedded or influxdb2",
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
    """What one query may cost."""

    timeout: float = 60.0
    max_samples: int = 50_000_000
    max_concurrency: int = 20


def open_storage(
    config: EmbeddedConfig | InfluxStoreConfig,
    data_dir: Path,
    role: str,
    registry: CollectorRegistry,
    limits: EngineLimits = EngineLimits(),
) -> Storage:
    """Opens the store for a role. StorageError or StartError where it cannot be."""
    path = config.path if isinstance(config, EmbeddedConfig) else None
    local = _open_embedded(path or data_dir / "store.db", config.retention, registry, limits)
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


def _open_embedded(
    path: Path, retention: Retention, registry: CollectorRegistry, limits: EngineLimits
) -> Storage:
    store = EmbeddedStore(path)
    sizes = {
        field: Gauge(f"fleetpulse_store_{field}", help_text, registry=registry)
        for field, help_text in _SIZES.items()
    }

    def compact() -> None:
        store.compact()
        stats = store.stats()
        for field, size in sizes.items():
            size.set(getattr(stats, field))

    def expire() -> None:
        store.expire(retention.raw)

    # Compaction is cheap when little is due; each expiry makes all processes read the index anew.
    jobs = (Job("compaction", 60, compact), Job("retention", 3600, expire))
    engine = cache(lambda: _engine(store, limits))
    return Storage(store, store, engine, jobs, retention.raw, closing=(store.close,))


def _engine(reader: SeriesReader, limits: EngineLimits) -> QueryEngine:
    # Not above: the scraper's process does without the parser and all functions.
    from fleetpulse.promql.engine import Engine

    return Engine(
        reader,
        timeout=limits.timeout,
        max_samples=limits.max_samples,
        max_concurrency=limits.max_concurrency,
    )
