"""Opens the store that the configuration names. The only module that knows all of them."""

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, Self

from prometheus_client import CollectorRegistry, Gauge
from pydantic import Discriminator, Field, Tag

from fleetpulse.promql.engine import Engine
from fleetpulse.promql.result import QueryEngine
from fleetpulse.storage.base import SampleWriter, SeriesReader
from fleetpulse.storage.embedded import EmbeddedStore
from fleetpulse.storage.influx import InfluxConfig, InfluxWriter
from fleetpulse.storage.writeonly import WriteOnly
from fleetpulse.yamlconf import Duration, FilePath, Section


class Retention(Section):
    """How long samples are kept."""

    raw: Duration = Field(7 * 86400.0, gt=0)


class EmbeddedConfig(Section):
    """The embedded store: one SQLite file, DATA/store.db unless path says otherwise."""

    kind: Literal["embedded"] = "embedded"
    path: FilePath | None = None
    retention: Retention = Retention()


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
    Annotated[EmbeddedConfig, Tag("embedded")] | Annotated[InfluxConfig, Tag("influxdb2")],
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


@dataclass(slots=True)
class Storage:
    """An open store. A context manager: leaving it closes what was opened, writer first."""

    writer: SampleWriter
    reader: SeriesReader
    engine: QueryEngine
    # Compaction, retention: for one process, the scraper's, to run now and then.
    jobs: Sequence[Job]
    # How long samples are kept, in seconds; infinite where that is not ours to say.
    keeps: float
    _closing: ExitStack

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.close()


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What one query may cost."""

    timeout: float = 60.0
    max_samples: int = 50_000_000
    max_concurrency: int = 20


def open_storage(
    config: EmbeddedConfig | InfluxConfig,
    data_dir: Path,
    role: str,
    registry: CollectorRegistry,
    limits: EngineLimits = EngineLimits(),
) -> Storage:
    """Opens the store for a role. StorageError or StartError where it cannot be."""
    if isinstance(config, EmbeddedConfig):
        return _open_embedded(config, data_dir, registry, limits)
    return _open_influx(config, data_dir, role, registry, limits)


def _open_embedded(
    config: EmbeddedConfig, data_dir: Path, registry: CollectorRegistry, limits: EngineLimits
) -> Storage:
    closing = ExitStack()
    store = EmbeddedStore(config.path or data_dir / "store.db")
    closing.callback(store.close)
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
        store.expire(config.retention.raw)

    # Compaction is cheap when little is due; each expiry makes all processes read the index anew.
    jobs = (Job("compaction", 60, compact), Job("retention", 3600, expire))
    return Storage(store, store, _engine(store, limits), jobs, config.retention.raw, closing)


def _open_influx(
    config: InfluxConfig,
    data_dir: Path,
    role: str,
    registry: CollectorRegistry,
    limits: EngineLimits,
) -> Storage:
    closing = ExitStack()
    # Each role queues for itself: a queue has one sender.
    writer = InfluxWriter(config, data_dir / "spool" / f"{role}.db", registry)
    closing.callback(writer.close)
    reader = WriteOnly("influxdb2")
    return Storage(writer, reader, _engine(reader, limits), (), math.inf, closing)


def _engine(reader: SeriesReader, limits: EngineLimits) -> Engine:
    return Engine(
        reader,
        timeout=limits.timeout,
        max_samples=limits.max_samples,
        max_concurrency=limits.max_concurrency,
    )
