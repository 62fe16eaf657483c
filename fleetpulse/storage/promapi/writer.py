"""SampleWriter in front of a store that takes remote write or line protocol.

Samples wait in a spool, which one thread empties.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry

from fleetpulse.model import Metadata, Page
from fleetpulse.service import STOP_DEADLINE, Periodic
from fleetpulse.storage.drain import Drain, Send
from fleetpulse.storage.metadatafile import MetadataFile
from fleetpulse.storage.promapi.client import PromApiClient
from fleetpulse.storage.promapi.codec import codec_of
from fleetpulse.storage.promapi.config import PromApiConfig
from fleetpulse.storage.promapi.sender import NameCheck, Sender
from fleetpulse.storage.promapi.tally import PromApiTally
from fleetpulse.storage.spool import Spool


class PromApiWriter:
    """Takes pages. write() is back once they are safe on disk; the store gets them by and by.

    The sending thread starts with the first write() or with start(), and then also sends what an
    earlier run left behind.
    """

    def __init__(
        self,
        config: PromApiConfig,
        spool_path: Path,
        registry: CollectorRegistry,
        client: PromApiClient,
        metadata: MetadataFile,
        *,
        send: Send | None = None,
        check: NameCheck | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config, self._codec, self._metadata = config, codec_of(config), metadata
        self._spool = Spool(
            spool_path, max_bytes=config.spool.max_bytes, max_age=config.spool.max_age
        )
        self._tally = PromApiTally(registry, self._spool, self._codec.told)
        self._post = send or Sender(config, self._codec, client.session)
        self._check = check or NameCheck(client)
        self._drain = Drain(
            self._spool,
            self._send,
            self._tally,
            batch_size=config.batch_size,
            timeout=config.timeout,
            split=self._codec.split,
            clock=clock,
        )
        self._loop = Periodic("victoriametrics", self._drain.turn, config.flush_interval)
        self._lock = threading.Lock()  # guards the two below
        self._started = self._closed = False
        self._unsent = 0

    def start(self) -> None:
        """Starts to send; write() does it too."""
        with self._lock:
            if not self._started and not self._closed:
                self._started = True
                self._loop.start()

    def write(self, pages: Sequence[Page]) -> None:
        items: list[bytes] = []
        left_out = nan = 0
        for page in pages:
            written = self._codec.encode(page)
            items += written.items
            left_out, nan = left_out + written.left_out, nan + written.nan
        for start in range(0, len(items), self._config.batch_size):
            part = items[start : start + self._config.batch_size]
            self._tally.dropped(self._spool.put(self._codec.pack(part)))
        self._tally.encoded(left_out, nan)
        self.start()
        self._wake_for(len(items))

    def describe(self, metadata: Mapping[str, Metadata]) -> None:
        """Beside the spool: Debian's VictoriaMetrics has no place for them."""
        self._metadata.add(metadata)

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

    def _wake_for(self, items: int) -> None:
        with self._lock:
            self._unsent += items
            if self._unsent < self._config.batch_size:
                return
            self._unsent = 0
        self._loop.wake()

    def _send(self, lines: bytes, timeout: float) -> None:
        if self._config.protocol == "influx":  # remote write has names as they are
            self._check.check(lambda line: self._post(line, timeout))
        self._post(lines, timeout)
