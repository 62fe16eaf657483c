"""The last hours of what goes to a remote store, in an embedded one beside it.

Reads that lie wholly within what the copy holds are answered from there: rules go on while the
remote store is away. That is right only where all that the remote store gets comes from roles that
share one data folder; it is the scraper who vouches for that (CopyMark).
"""

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from fleetpulse.errors import StorageError
from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Metadata, Page, Series
from fleetpulse.storage.base import Hints, MatcherSets, SampleWriter, SeriesReader

log = logging.getLogger(__name__)

# The scraper says each minute that it is there; without a word for so long it is not.
KEPT_UP_SECONDS = 60
_SILENT_SECONDS = 300.0
# A page may be older than the moment it is written at.
_MARGIN_MS = 300_000


class CopyMark:
    """Since when the copy has all that was written: a file, which the processes of a host share."""

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self._path, self._now = path, now

    def keep_up(self) -> None:
        """For the scraper, now and then. Begins where there is no mark, or an old one."""
        since = self.since()
        self._write(self._now() if since is None else since)

    def broken(self) -> None:
        """Something is missing in the copy: it begins anew."""
        if self._path.exists():
            self._write(self._now())

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)

    def since(self) -> float | None:
        """Unix time; None where nobody keeps the copy up."""
        now = self._now()
        try:
            since, kept_up = map(float, json.loads(self._path.read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return since if since <= now and abs(now - kept_up) <= _SILENT_SECONDS else None

    def _write(self, since: float) -> None:
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        fresh.write_text(json.dumps([since, self._now()]))
        os.replace(fresh, self._path)


class CountsFailures(Protocol):
    def inc(self) -> None: ...


class CopyingWriter:
    """SampleWriter in front of a remote store and its copy, which others close.

    The remote store's word counts. A copy that fails is told of, counted, and begins anew.
    """

    def __init__(
        self, remote: SampleWriter, copy: SampleWriter, mark: CopyMark, failures: CountsFailures
    ) -> None:
        self._remote, self._copy, self._mark, self._failures = remote, copy, mark, failures

    def write(self, pages: Sequence[Page]) -> None:
        if self._mark.since() is not None:
            # First: what is in the copy alone comes to the remote store at the next attempt.
            try:
                self._copy.write(pages)
            except StorageError as err:
                self._failures.inc()
                log.error("the local copy begins anew, for it cannot be written: %s", err)
                self._begin_anew()
        self._remote.write(pages)

    def describe(self, metadata: Mapping[str, Metadata]) -> None:
        self._remote.describe(metadata)

    def close(self) -> None:
        """Nothing: see above."""

    def _begin_anew(self) -> None:
        try:
            self._mark.broken()
        except OSError:
            self._mark.remove()  # which takes no room on a full disk


class CopyFirst:
    """SeriesReader over both. Safe from any thread. seconds: for how long the copy keeps."""

    def __init__(
        self,
        copy: SeriesReader,
        remote: SeriesReader,
        mark: CopyMark,
        seconds: float,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._copy, self._remote, self._mark = copy, remote, mark
        self._seconds, self._now = seconds, now
        self.concurrent: int = getattr(remote, "concurrent", 1)

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, hints: Hints
    ) -> Sequence[Series]:
        # The copy has no windows.
        reader = self._remote if hints.tier == "5m" else self._reader(start_ms)
        return reader.select(matchers, start_ms, end_ms, hints)

    def labels(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        return self._reader(start_ms).labels(sets, start_ms, end_ms)

    def label_values(self, name: str, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        return self._reader(start_ms).label_values(name, sets, start_ms, end_ms)

    def series(self, sets: MatcherSets, start_ms: int, end_ms: int) -> list[Labels]:
        return self._reader(start_ms).series(sets, start_ms, end_ms)

    def metadata(self) -> Mapping[str, Metadata]:
        return self._remote.metadata()

    def _reader(self, start_ms: int) -> SeriesReader:
        since = self._mark.since()
        if since is None:
            return self._remote
        whole_ms = max(since * 1000 + _MARGIN_MS, (self._now() - self._seconds) * 1000)
        return self._copy if start_ms >= whole_ms else self._remote
