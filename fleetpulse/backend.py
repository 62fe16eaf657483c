"""Opens the store that the configuration names. The only module that knows all of them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from prometheus_client import CollectorRegistry, Counter, Gauge

from fleetpulse.errors import StartError
from fleetpulse.promql.config import PromqlConfig
from fleetpulse.promql.result import QueryEngine
from fleetpulse.storage.base import SampleWriter, SeriesReader
from fleetpulse.storage.embedded import DAMAGE_KINDS, EmbeddedStore, Keeping
from fleetpulse.storage.influx.config import Influx1Config, Influx2Config
from fleetpulse.storage.localcopy import KEPT_UP_SECONDS, CopyFirst, CopyingWriter, CopyMark
from fleetpulse.storage.metadatafile import MetadataFile
from fleetpulse.storage.promapi.config import PromApiConfig
from fleetpulse.storageconfig import AnyStore, EmbeddedConfig

if TYPE_CHECKING:
    from fleetpulse.storage.promapi.client import PromApiClient

_METADATA = "metadata.json"  # in the data folder

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
    spools, beside = data_dir / "spool", MetadataFile(data_dir / _METADATA)
    if isinstance(config, PromApiConfig):
        # By protocol: what waits in one cannot be sent in the other.
        spool = spools / f"{role}-{config.kind}-{config.protocol}.db"
        return _open_promapi(config, spool, beside, registry, limits)
    storage = _open_influx(config, spools / f"{role}.db", beside, registry, limits)
    mark = CopyMark(data_dir / "copy.json")
    if not config.local_copy:
        if role == "scraper":
            mark.remove()
        return storage
    try:
        keeping = Keeping(config.local_copy, 0)
        local = _open_embedded(data_dir / "copy.db", keeping, registry, limits)
    except BaseException:
        storage.close()
        raise
    return _with_copy(storage, local, mark, keeping.raw, role, registry, limits)


@contextmanager
def open_reader(config: AnyStore, data_dir: Path) -> Iterator[SeriesReader]:
    """A store for reading alone: nothing is made, and no queue is opened."""
    with ExitStack() as closing:
        yield _reader(config, data_dir, closing)


def _reader(config: AnyStore, data_dir: Path, closing: ExitStack) -> SeriesReader:
    beside = MetadataFile(data_dir / _METADATA)
    if isinstance(config, EmbeddedConfig):
        path = config.path or data_dir / "store.db"
        if not path.exists():
            raise StartError(f"{path}: no store there; name its folder with --data-dir")
        store = EmbeddedStore(path, read_only=True)
        closing.callback(store.close)
        return store
    if isinstance(config, PromApiConfig):
        from fleetpulse.storage.promapi.client import PromApiClient
        from fleetpulse.storage.promapi.reader import PromApiReader

        client = PromApiClient(config)
        closing.callback(client.close)
        return PromApiReader(client, client.store, beside.load)
    from fleetpulse.storage.influx.reader import open_reader

    reader = open_reader(config, beside.load)
    closing.callback(reader.close)
    return reader


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
    closing = (reader.close, writer.close)
    return Storage(writer, reader, engine, (), keeps, closing, writer.backlog)


def _with_copy(
    storage: Storage,
    local: Storage,
    mark: CopyMark,
    seconds: float,
    role: str,
    registry: CollectorRegistry,
    limits: EngineLimits,
) -> Storage:
    failures = Counter(
        "fleetpulse_storage_copy_failures_total",
        "Writes to the local copy that failed: it begins anew then.",
        registry=registry,
    )
    reader = CopyFirst(local.reader, storage.reader, mark, seconds)
    jobs: tuple[Job, ...] = ()
    if role == "scraper":
        mark.keep_up()
        jobs = (*local.jobs, Job("copy", KEPT_UP_SECONDS, mark.keep_up))
    return replace(
        storage,
        writer=CopyingWriter(storage.writer, local.writer, mark, failures),
        reader=reader,
        make_engine=cache(lambda: _engine(reader, limits)),
        jobs=jobs,
        closing=(*local.closing, *storage.closing),
    )


def _open_promapi(
    config: PromApiConfig,
    spool: Path,
    metadata: MetadataFile,
    registry: CollectorRegistry,
    limits: EngineLimits,
) -> Storage:
    # Not above: these libraries are for those who use them.
    from fleetpulse.storage.promapi.client import PromApiClient
    from fleetpulse.storage.promapi.reader import PromApiReader
    from fleetpulse.storage.promapi.writer import open_writer

    client = PromApiClient(config)
    try:
        writer = open_writer(config, spool, registry, client, metadata.describe)
    except BaseException:
        client.close()
        raise
    reader = PromApiReader(client, client.store, metadata.load)

    def engine() -> QueryEngine:
        own = config.engine == "own"
        return _engine(reader, limits) if own else _pass_through(client, limits)

    if writer.backlog():
        writer.start()
    closing, keeps = (writer.close, client.close), config.retention_period
    return Storage(writer, reader, cache(engine), (), keeps, closing, writer.backlog)


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
