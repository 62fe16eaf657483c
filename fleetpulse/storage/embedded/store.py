"""The embedded store's front: one object that writes, reads and looks after its file."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from fleetpulse.errors import StorageError
from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Metadata, Page, Series
from fleetpulse.storage.base import Cardinality, Hints, MatcherSets
from fleetpulse.storage.embedded.catalogue import Catalogue
from fleetpulse.storage.embedded.census import Census
from fleetpulse.storage.embedded.census import take as take_census
from fleetpulse.storage.embedded.compaction import Compaction, CompactionLimits, Compactor
from fleetpulse.storage.embedded.damage import DamageLog
from fleetpulse.storage.embedded.database import Database
from fleetpulse.storage.embedded.deletion import Deletion
from fleetpulse.storage.embedded.housekeeping import alone
from fleetpulse.storage.embedded.keeping import Keeping
from fleetpulse.storage.embedded.reader import Reader
from fleetpulse.storage.embedded.recent import RecentPages
from fleetpulse.storage.embedded.retention import Expiry, Retention
from fleetpulse.storage.embedded.sealing import Sealer
from fleetpulse.storage.embedded.stats import Stats, read_stats
from fleetpulse.storage.embedded.tiering import Tiering
from fleetpulse.storage.embedded.writer import Writer

_LIMITS = CompactionLimits()


class EmbeddedStore:
    """SampleWriter and SeriesReader on one SQLite file. Safe from any thread.

    Any number of processes may have the same file open; each opens its own store, after any fork.
    """

    def __init__(
        self,
        path: Path,
        *,
        read_only: bool = False,
        now: Callable[[], float] = time.time,
        on_damage: Callable[[str], None] = lambda _kind: None,
        recent: RecentPages | None = None,
    ) -> None:
        """StorageError where the file cannot be opened, is damaged or not ours.

        It is made where it does not exist, unless read_only; then the error is retriable.
        on_damage: called with the kind (damage.KINDS) of each damaged blob when it is first met.
        recent: what it keeps in memory of pages, for who wants other than the usual limits.
        """
        self.path, self._now = path, now
        damage = DamageLog(path, on_damage)
        catalogue = Catalogue(damage)
        self._database = Database(path, read_only=read_only)
        self._catalogue = catalogue
        self._reader = Reader(self._database, catalogue, damage, recent)
        self._writer = Writer(self._database, catalogue)
        self._compactor = Compactor(self._database, catalogue, damage)
        self._retention = Retention(self._database, catalogue)
        self._tiering = Tiering(self._database, catalogue, damage, self._retention)
        self._deletion = Deletion(self._database, catalogue, self._compactor)
        self._sealer = Sealer(self._database)
        self._lock_path = path.with_name(f"{path.name}.lock")

    def write(self, pages: Sequence[Page]) -> None:
        self._writer.write(pages)

    def describe(self, metadata: Mapping[str, Metadata]) -> None:
        self._writer.describe(metadata)

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
    ) -> Sequence[Series]:
        return self._reader.select(matchers, start_ms, end_ms, hints)

    def labels(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        return self._reader.labels(sets, start_ms, end_ms)

    def label_values(self, name: str, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        return self._reader.label_values(name, sets, start_ms, end_ms)

    def series(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[Labels]:
        return self._reader.series(sets, start_ms, end_ms)

    def metadata(self) -> Mapping[str, Metadata]:
        return self._reader.metadata()

    def compact(self, limits: CompactionLimits = _LIMITS, *, tiers: bool = True) -> Compaction:
        """Folds old pages into chunks and, if tiers, days that are over into tiers.

        Call it every few minutes, in any one process.
        """
        with self._alone() as free:
            if not free:
                return Compaction(busy=True)
            done = self._compactor.run(self._now(), limits)
            if tiers:
                done.tiers = self._tiering.run(self._now(), limits).rows
            self._sealer.run(limits.max_seconds)
            return done

    def expire(self, keeping: Keeping | float) -> Expiry:
        """Deletes what is older than it says, two hours of samples and days of tiers at a time.

        A number is seconds: samples and tiers alike. Call it every hour or so.
        """
        if not isinstance(keeping, Keeping):
            keeping = Keeping(keeping, keeping)
        with self._alone() as free:
            now_ms = int(self._now() * 1000)
            return self._retention.run(keeping, now_ms) if free else Expiry(busy=True)

    def cap(self, max_bytes: int) -> int:
        """Deletes the oldest until the file is no larger than max_bytes; how many rows went."""
        with self._alone() as free:
            return self._retention.cap(max_bytes) if free else 0

    def delete(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> int:
        """Deletes samples of matching series, both ends included; how many they were.

        A retriable StorageError while another process compacts.
        """
        with self._alone() as free:
            if not free:
                raise StorageError(f"{self.path}: being compacted; try again", retriable=True)
            return self._deletion.run(matchers, start_ms, end_ms)

    def vacuum(self) -> None:
        """Gives all free space in the file back to the file system, in small steps."""
        with self._alone() as free:
            if free:
                self._retention.shrink(0)

    def census(self) -> Census:
        """Counts all there is; for a person, as it takes its time."""
        return take_census(self._database, self._catalogue)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether nobody else is compacting or expiring; StorageError where it may not write."""
        self._database.writer()
        with alone(self._lock_path) as free:
            yield free

    def stats(self) -> Stats:
        """Sizes and counts, cheap enough to be asked for at every scrape."""
        with self._database.reading() as db:
            self._catalogue.refresh(db)
            return read_stats(db, self.path, self._catalogue.counts())

    def cardinality(self, limit: int) -> Cardinality:
        stats = self.stats()
        return self._catalogue.count(limit, stats)

    def close(self) -> None:
        """Closes the file. May be called again; every other call then is a StorageError."""
        self._database.close()
