"""A writer in front of a remote store: samples wait in a spool, which one thread empties."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry

from fleetpulse.model import Metadata, Page
from fleetpulse.service import STOP_DEADLINE, Periodic
from fleetpulse.storage.deadletters import DeadLetters
from fleetpulse.storage.drain import Drain
from fleetpulse.storage.sending import Send
from fleetpulse.storage.spool import Spool
from fleetpulse.storage.tally import RemoteTally

log = logging.getLogger(__name__)

_TELL = 60.0  # seconds between two log lines about a spool that is full


@dataclass(frozen=True, slots=True)
class Written:
    """items: a sample each. left_out: samples that the format has no form for."""

    items: list[bytes]
    left_out: int = 0


class Codec(Protocol):
    """How samples are written on disk. Safe from any thread."""

    def encode(self, page: Page) -> Written: ...

    def pack(self, items: Sequence[bytes]) -> bytes:
        """A payload for the spool."""

    def split(self, payload: bytes) -> list[bytes]:
        """The items of a payload; StorageError where it is none."""

    def told(self, item: bytes) -> str:
        """An item as a person reads it, in one line."""


class Batching(Protocol):
    """The settings of a remote store that matter here. Times in seconds."""

    @property
    def kind(self) -> str: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def flush_interval(self) -> float: ...
    @property
    def timeout(self) -> float: ...
    @property
    def spool_max_bytes(self) -> int: ...
    @property
    def spool_max_age(self) -> float | None: ...


Describe = Callable[[Mapping[str, Metadata]], None]


class SpooledWriter:
    """SampleWriter. write() is back once the samples are on disk; the store gets them by and by.

    The sending thread starts with the first write() or with start(), and then also sends what an
    earlier run left behind.
    """

    def __init__(
        self,
        config: Batching,
        codec: Codec,
        send: Send,
        spool_path: Path,
        registry: CollectorRegistry,
        *,
        clock: Callable[[], float] = time.monotonic,
        describe: Describe = lambda _metadata: None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._config, self._codec, self._clock = config, codec, clock
        self._describe, self._on_close = describe, on_close
        self._spool = Spool(
            spool_path, max_bytes=config.spool_max_bytes, max_age=config.spool_max_age
        )
        letters = DeadLetters(spool_path.with_name(spool_path.name + ".rejected"), codec.told)
        self._tally = RemoteTally(registry, self._spool, config.kind, letters)
        self._drain = Drain(
            self._spool,
            send,
            self._tally,
            batch_size=config.batch_size,
            timeout=config.timeout,
            split=codec.split,
            clock=clock,
        )
        self._loop = Periodic(config.kind, self._drain.turn, config.flush_interval)
        self._lock = threading.Lock()  # guards all below
        self._started = self._closed = False
        self._unsent = 0
        self._told_at, self._dropped = -_TELL, 0

    def start(self) -> None:
        """Starts to send; write() does it too."""
        with self._lock:
            if not self._started and not self._closed:
                self._started = True
                self._loop.start()

    def write(self, pages: Sequence[Page]) -> None:
        items: list[bytes] = []
        left_out = 0
        for page in pages:
            written = self._codec.encode(page)
            items += written.items
            left_out += written.left_out
        size = self._config.batch_size
        for start in range(0, len(items), size):
            part = items[start : start + size]
            self._spool.put(self._codec.pack(part), len(part))
        self._tally.queued(len(items))
        self._tally.left_out(left_out)
        self._tell_dropped()
        self.start()
        self._wake_for(len(items))

    def describe(self, metadata: Mapping[str, Metadata]) -> None:
        """Type, help and unit have no place in the format: they go where they are kept."""
        self._describe(metadata)

    def backlog(self) -> int:
        """Bytes that wait to be sent."""
        return self._spool.size_bytes

    def close(self) -> None:
        """Tries for some seconds to send the rest; what is left stays for the next start."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if self._started:
            deadline = time.monotonic() + STOP_DEADLINE
            self._drain.interrupt()
            self._loop.stop()
            self._drain.finish(max(0.0, deadline - time.monotonic()))
        self._spool.close()
        self._on_close()

    def _tell_dropped(self) -> None:
        with self._lock:
            self._dropped += self._tally.note_dropped()
            if self._dropped and self._clock() - self._told_at >= _TELL:
                log.error("the spool is full, or old: dropped %d batches", self._dropped)
                self._told_at, self._dropped = self._clock(), 0

    def _wake_for(self, items: int) -> None:
        with self._lock:
            self._unsent += items
            if self._unsent < self._config.batch_size:
                return
            self._unsent = 0
        self._loop.wake()
