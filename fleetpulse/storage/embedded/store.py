"""The embedded store's front: one object that writes, reads and looks after its file."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Metadata, Page, Series
from fleetpulse.storage.base import Hints, MatcherSets
from fleetpulse.storage.embedded.catalogue import Catalogue
from fleetpulse.storage.embedded.database import Database
from fleetpulse.storage.embedded.reader import Reader
from fleetpulse.storage.embedded.writer import Writer


class EmbeddedStore:
    """SampleWriter and SeriesReader on one SQLite file. Safe from any thread.

    Any number of processes may have the same file open; each opens its own store, after any fork.
    """

    def __init__(
        self, path: Path, *, read_only: bool = False, now: Callable[[], float] = time.time
    ) -> None:
        """StorageError where the file cannot be opened, is damaged or not ours.

        It is made where it does not exist, unless read_only; then the error is retriable.
        """
        self.path, self._now = path, now
        catalogue = Catalogue()
        self._database = Database(path, read_only=read_only)
        self._catalogue = catalogue
        self._reader = Reader(self._database, catalogue)
        self._writer = Writer(self._database, catalogue)

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

    def close(self) -> None:
        """Closes the file. May be called again; every other call then is a StorageError."""
        self._database.close()
