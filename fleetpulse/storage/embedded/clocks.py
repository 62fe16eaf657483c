"""The timestamps of chunks: decoded once, and kept for the next selection."""

import threading
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fleetpulse.storage.embedded.checksums import mix
from fleetpulse.storage.embedded.codec import DAMAGE, Times, decode_times
from fleetpulse.storage.embedded.damage import Finding

# Of decoded times; all clocks of a thousand targets over two hours at ten seconds are 6 MB.
_KEPT_BYTES = 16 << 20

Key = tuple[int, int, int]  # span, target, n


@dataclass(frozen=True, slots=True)
class _Known:
    blob: bytes
    times: Times
    first: int
    last: int


class ClockCache:
    """Times by their blob: where the row has another one now, it is decoded anew.

    Safe from any thread.
    """

    def __init__(self, max_bytes: int = _KEPT_BYTES) -> None:
        self._max_bytes, self._bytes = max_bytes, 0
        self._lock = threading.Lock()  # guards the sizes; a dict's own operations are whole
        self._known: dict[Key, _Known] = {}

    def get(self, key: Key, samples: int, blob: bytes) -> _Known:
        """One of DAMAGE where the blob is not what was written for the key."""
        known = self._known.get(key)
        if known is not None and known.blob == blob and len(known.times) == samples:
            return known
        times = decode_times(blob, samples, mix(*key, samples))
        known = _Known(blob, times, int(times[0]), int(times[-1]))
        with self._lock:
            if self._bytes > self._max_bytes:
                self._known, self._bytes = {}, 0
            self._known[key] = known
            self._bytes += times.nbytes + len(blob)
        return known


@dataclass(slots=True)
class Clock:
    """The timestamps of some chunks: of its samples those at wanted are, and their times."""

    samples: int
    wanted: slice | NDArray[np.intp]
    times: Times


@dataclass(slots=True)
class Clocks:
    """Those of one selection as they are asked for; None where it is damaged.

    With step_ms only the newest sample at each step is wanted.
    """

    rows: dict[Key, tuple[int, bytes]]
    start_ms: int
    end_ms: int
    step_ms: int
    cache: ClockCache
    known: dict[Key, Clock | None] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def get(self, key: Key) -> Clock | None:
        if key not in self.known:
            self.known[key] = self._decoded(key)
        return self.known[key]

    def live_spans(self) -> list[int]:
        """Those with any samples in the time asked for.

        The span of the moment mostly has none: its chunks end where the pages begin.
        """
        live = set()
        for key in self.rows:
            clock = self.get(key)
            if clock is not None and len(clock.times):
                live.add(key[0])
        return sorted(live)

    def _decoded(self, key: Key) -> Clock | None:
        try:
            known = self.cache.get(key, *self.rows[key])
        except DAMAGE:
            self.findings.append(Finding("clock", key))
            return None
        times = known.times
        if known.last < self.start_ms or known.first > self.end_ms:
            return Clock(len(times), _NONE, times[_NONE])
        wanted = self._wanted(known)
        return Clock(len(times), wanted, times[wanted])

    def _wanted(self, known: _Known) -> slice | NDArray[np.intp]:
        times, begin, end = known.times, 0, len(known.times)
        if known.first < self.start_ms or known.last > self.end_ms:
            begin, end = times.searchsorted([self.start_ms, self.end_ms + 1]).tolist()
        if not self.step_ms:
            return slice(begin, end)
        # Of the samples between two steps only the last is ever the newest at a step.
        ages = (self.end_ms - times[begin:end]) // self.step_ms
        newest = np.flatnonzero(np.append(ages[1:] != ages[:-1], True)[: end - begin])
        return begin + newest if len(newest) < end - begin else slice(begin, end)


_NONE = slice(0, 0)
