"""Opens the store that the configuration names. The only module that knows all of them."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from prometheus_client import CollectorRegistry, Counter, Gauge

from fleetpulse.promql.config import PromqlConfig
from fleetpulse.promql.result import QueryEngine
from fleetpulse.storage.base import SampleWriter, SeriesReader
from fleetpulse.storage.embedded import DAMAGE_KINDS, EmbeddedStore, Keeping
from fleetpulse.storage.influx.config import Influx1Config, Influx2Config
from fleetpulse.storage.metadatafile import MetadataFile
from fleetpulse.storageconfig import AnyStore, EmbeddedConfig

_SIZES = {
    "bytes": "Size of the embedded store's file.",
    "free_bytes": "Bytes in the embedded store's file that wait to be used again.",
    "pages": "Pages in the embedded store that are not compacted yet.",
    "targets": "Targets that the embedded store has samples of.",
    "lines": "Different metric names with labels of a page in the embedded store.",
}


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
    """What one query may cost, and how its language is taken."""

    timeout: float = 120.0
    max_samples: int = 50_000_000
    max_concurrency: int = 20
    promql: PromqlConfig = field(default_factory=PromqlConfig)
    max_series: int = 0


def open_storage(
    config: AnyStore,
    data_dir: Path,
    role: str,
    registry: CollectorRegistry,
    limits: EngineLimits = EngineLimits(),
) -> Storage:
    """Opens the store for a role. StorageError or StartError where it cannot be."""
    if isinstance(config, EmbeddedConfig):
        keeping = config.retention.keeping(config.max_size or 0)
        return _open_embedded(config.path or data_dir / "store.db", keeping, registry, limits)
    # Each role queues for itself: a queue has one sender.
    spool = data_dir / "spool" / f"{role}.db"
    return _open_influx(config, spool, MetadataFile(data_dir / "metadata.json"), registry, limits)


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


def _open_influx(
    config: Influx1Config | Influx2Config,
    spool: Path,
    metadata: MetadataFile,
    registry: CollectorRegistry,
    limits: EngineLimits,
) -> Storage:
    # Not above: only here are its libraries worth their memory.
    from fleetpulse.storage.influx.reader import open_reader
    from fleetpulse.storage.influx.writer import open_writer

    writer = open_writer(config, spool, registry, metadata.describe)
    reader = open_reader(config, metadata.load)
    engine = cache(lambda: _engine(reader, limits))
    keeps = config.retention.raw
    return Storage(writer, reader, engine, (), keeps, closing=(reader.close, writer.close))


def _engine(reader: SeriesReader, limits: EngineLimits) -> QueryEngine:
    # Not above: the scraper's process does without the parser and all functions.
    from fleetpulse.promql.engine import Engine

    return Engine(
        reader,
        timeout=limits.timeout,
        max_samples=limits.max_samples,
        max_concurrency=limits.max_concurrency,
        max_series=limits.max_series,
        lookback_ms=round(limits.promql.lookback * 1000),
        experimental=limits.promql.experimental,
        delayed_name_removal=limits.promql.delayed_name_removal,
    )
