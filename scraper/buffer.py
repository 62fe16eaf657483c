"""Pages on their way to the store: kept for a moment, written together, bounded.

Nothing that happens to the store reaches the scrape loop. When the store fails, pages wait; when
too many wait, the oldest are dropped and counted.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from fleetpulse.errors import StorageError
from fleetpulse.model import Metadata, Page
from fleetpulse.service import STOP_DEADLINE
from fleetpulse.storage.base import SampleWriter
from scraper.metrics import BufferMetrics

log = logging.getLogger(__name__)

_MAX_WAIT = 30.0  # seconds between two attempts on a store that fails
_TELL = 60.0  # seconds between two log lines about a store that fails
_MAX_BATCH = 2_000_000  # samples handed to the store at once


class PageBuffer:
    """add() from any thread; a thread of its own writes about every flush_interval seconds.

    max_samples: how many samples may wait; 5 million take about 50 MB.
    """

    name = "page buffer"

    def __init__(
        self,
        writer: SampleWriter,
        metrics: BufferMetrics,
        *,
        flush_interval: float = 1.0,
        max_samples: int = 5_000_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer, self._metrics, self._clock = writer, metrics, clock
        self._interval, self._max_samples = flush_interval, max_samples
        self._lock = threading.Lock()  # guards the next four, and _dropped
        self._pages: deque[Page] = deque()
        self._samples = 0
        self._metadata: dict[str, Metadata] = {}
        self._described: dict[str, Metadata] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._failures = 0
        self._told_at: float | None = None
        self._dropped = 0

    def add(self, pages: Iterable[Page]) -> None:
        with self._lock:
            for page in pages:
                self._pages.append(page)
                self._samples += len(page.values)
            self._drop_oldest()

    def describe(self, metadata: Mapping[str, Metadata]) -> None:
        """Passes on what the store has not been told yet."""
        with self._lock:
            for name, said in metadata.items():
                if self._described.get(name) != said:
                    self._described[name] = self._metadata[name] = said

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Writes what waits, once, and ends."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_DEADLINE)
        with self._lock:
            left = len(self._pages)
        if left:
            log.error("the store did not take %d pages before the end; they are lost", left)
            self._metrics.dropped.inc(left)
            self._pages.clear()

    def _run(self) -> None:
        wait = self._interval
        while not self._stopping.wait(wait):
            wait = self._interval if self.flush() else self._back_off()
        self.flush()

    def _back_off(self) -> float:
        self._failures += 1
        return min(_MAX_WAIT, self._interval * 2.0 ** min(self._failures, 10))

    def flush(self) -> bool:
        """Writes what waits; False where the store asks for another try later."""
        batch: Sequence[Page] = ()
        try:
            while batch := self._take():
                if not self._write(batch):
                    return False
            self._flush_metadata()
        except Exception:  # the thread must go on; the pages of this turn are lost
            log.exception("writing pages failed")
            self._metrics.failures.inc()
            self._metrics.dropped.inc(len(batch))
        if self._failures:
            self._failures = 0
        if self._told_at is not None:
            log.warning("the store takes pages again; %d were dropped meanwhile", self._dropped)
            self._told_at, self._dropped = None, 0
        return True

    def _take(self) -> list[Page]:
        batch: list[Page] = []
        size = 0
        with self._lock:
            while self._pages and size < _MAX_BATCH:
                page = self._pages.popleft()
                batch.append(page)
                size += len(page.values)
            self._samples -= size
            self._note_waiting()
        return batch

    def _write(self, batch: Sequence[Page]) -> bool:
        try:
            self._writer.write(batch)
        except StorageError as err:
            self._metrics.failures.inc()
            if err.retriable:
                self._put_back(batch, err)
                return False
            return self._write_apart(batch, err)
        self._metrics.written.inc(len(batch))
        return True

    def _write_apart(self, batch: Sequence[Page], err: StorageError) -> bool:
        """A batch refused for good is halved until only the page at fault is lost."""
        if len(batch) == 1:
            log.error("page of %s dropped: the store refuses it: %s", batch[0].target, err)
            self._metrics.dropped.inc()
            return True
        middle = len(batch) // 2
        if self._write(batch[:middle]):
            return self._write(batch[middle:])
        self._put_back(batch[middle:], None)
        return False

    def _put_back(self, batch: Sequence[Page], err: StorageError | None) -> None:
        with self._lock:
            self._pages.extendleft(reversed(batch))
            self._samples += sum(len(page.values) for page in batch)
            self._drop_oldest()
            waiting, dropped = len(self._pages), self._dropped
        now = self._clock()
        if err is not None and (self._told_at is None or now - self._told_at >= _TELL):
            self._told_at = now
            log.error(
                "the store does not take pages now; %d wait, %d were dropped: %s",
                waiting,
                dropped,
                err,
            )

    def _drop_oldest(self) -> None:
        dropped = 0
        while self._samples > self._max_samples and len(self._pages) > 1:
            self._samples -= len(self._pages.popleft().values)
            dropped += 1
        self._note_waiting()
        if dropped:
            self._dropped += dropped
            self._metrics.dropped.inc(dropped)

    def _note_waiting(self) -> None:
        self._metrics.waiting.set(self._samples)
        self._metrics.waiting_pages.set(len(self._pages))

    def _flush_metadata(self) -> None:
        with self._lock:
            told, self._metadata = self._metadata, {}
        if not told:
            return
        try:
            self._writer.describe(told)
        except StorageError as err:
            log.error("the store did not take metadata of %d metrics: %s", len(told), err)
            with self._lock:  # what came meanwhile is newer
                self._metadata = {**told, **self._metadata} if err.retriable else self._metadata
