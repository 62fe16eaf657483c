"""GET /api/v1/status/top_queries: what is asked most, and what takes longest."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, request

from api import params
from api.queryrecord import QueryRecord
from api.respond import plain

_KEPT = 20_000
_MAX_BYTES = 16 << 20
_SHORTEST = 0.001  # seconds; anything quicker is not kept
_TOP, _LIFETIME = 20, 600.0


@dataclass(frozen=True, slots=True)
class _Kind:
    """Queries that count as the same: of one text, over a time of one length."""

    query: str
    seconds: int


@dataclass(slots=True)
class _Sum:
    count: int = 0
    seconds: float = 0.0

    @property
    def mean(self) -> float:
        return self.seconds / self.count


class TopQueries:
    """The last 20,000 queries, and at most so many bytes of text, as VictoriaMetrics has them.

    Safe from any thread.
    """

    def __init__(self, now: Callable[[], float] = time.time, max_bytes: int = _MAX_BYTES) -> None:
        self._now, self._max_bytes = now, max_bytes
        self._lock = threading.Lock()  # guards all below
        self._ended: deque[tuple[float, _Kind, float]] = deque()
        self._kinds: dict[_Kind, tuple[_Kind, int]] = {}  # the one that is kept; how many times
        self._bytes = 0

    def note(self, record: QueryRecord) -> None:
        if record.seconds < _SHORTEST or record.status == "bad_data":
            return
        kind = _Kind(record.query, (record.end_ms - record.start_ms) // 1000)
        with self._lock:
            kept, count = self._kinds.get(kind, (kind, 0))
            self._kinds[kept] = kept, count + 1
            self._bytes += len(kind.query) * (count == 0)
            self._ended.append((record.at, kept, record.seconds))
            while len(self._ended) > _KEPT or self._bytes > self._max_bytes:
                self._forget_first()

    def _forget_first(self) -> None:
        _, kind, _ = self._ended.popleft()
        _, count = self._kinds[kind]
        if count == 1:
            del self._kinds[kind]
            self._bytes -= len(kind.query)
        else:
            self._kinds[kind] = kind, count - 1

    def document(self, top: int, lifetime: float) -> dict[str, Any]:
        sums = self._sums(self._now() - lifetime).items()
        by_count = _first(top, sums, lambda found: found.count)
        by_mean = _first(top, sums, lambda found: found.mean)
        by_sum = _first(top, sums, lambda found: found.seconds)
        return {
            "topN": str(top),
            "maxLifetime": _go_duration(lifetime),
            "search.queryStats.lastQueriesCount": _KEPT,
            "search.queryStats.minQueryDuration": "1ms",
            "topByCount": [{**_shown(kind), "count": found.count} for kind, found in by_count],
            "topByAvgDuration": [
                {**_shown(kind), "avgDurationSeconds": round(found.mean, 3), "count": found.count}
                for kind, found in by_mean
            ],
            "topBySumDuration": [
                {
                    **_shown(kind),
                    "sumDurationSeconds": round(found.seconds, 3),
                    "count": found.count,
                }
                for kind, found in by_sum
            ],
        }

    def _sums(self, since: float) -> dict[_Kind, _Sum]:
        found: dict[_Kind, _Sum] = {}
        with self._lock:
            for at, kind, seconds in self._ended:
                if at >= since:
                    one = found.setdefault(kind, _Sum())
                    one.count += 1
                    one.seconds += seconds
        return found


def _first(
    top: int, sums: Iterable[tuple[_Kind, _Sum]], by: Callable[[_Sum], float]
) -> list[tuple[_Kind, _Sum]]:
    return sorted(sums, key=lambda one: (-by(one[1]), one[0].query, one[0].seconds))[:top]


def _shown(kind: _Kind) -> dict[str, Any]:
    return {"query": kind.query, "timeRangeSeconds": kind.seconds}


def _go_duration(seconds: float) -> str:
    """As Go writes a duration of a second or more: 600 → `10m0s`."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    before = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{before}{rest:g}s"


def blueprint(queries: TopQueries) -> Blueprint:
    bp = Blueprint("top_queries", __name__)

    @bp.get("/status/top_queries")
    def top_queries() -> Response:
        top = params.limit(request, "topN") or _TOP
        lifetime = params.duration(request, "maxLifetime", default=_LIFETIME)
        if lifetime <= 0:
            raise params.invalid("maxLifetime", "write a time above zero")
        # Not in Prometheus' envelope, which VictoriaMetrics' own clients would not look into.
        return plain(queries.document(top, lifetime), 200)

    return bp
