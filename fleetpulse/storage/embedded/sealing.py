"""Gives chunks and clocks of format 1 their checksums, some thousand in a transaction.

The counter `unsealed` holds the first span that may have any without; it is gone when all is done.
A kill costs no more than looking through one span again.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

from fleetpulse.storage.embedded.checksums import mix
from fleetpulse.storage.embedded.codec import is_sealed, seal
from fleetpulse.storage.embedded.database import Database

_BATCH = 2000

_NEXT_SPAN = "SELECT min(span) FROM chunk WHERE span >= (SELECT value FROM counter WHERE name = ?)"
_CHUNKS = """
    SELECT span, line, target, clock, vals FROM chunk
    WHERE span = ? AND (line, target) > (?, ?) ORDER BY line, target LIMIT ?
"""
_CLOCKS = """
    SELECT span, target, n, samples, times FROM clock
    WHERE span = ? AND (target, n) > (?, ?) ORDER BY target, n LIMIT ?
"""
_SEAL_CHUNK = "UPDATE chunk SET vals = ? WHERE span = ? AND line = ? AND target = ?"
_SEAL_CLOCK = "UPDATE clock SET times = ? WHERE span = ? AND target = ? AND n = ?"


class Sealer:
    """Call it under the housekeeping lock."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database, self._clock = database, clock

    def run(self, max_seconds: float) -> int:
        """How many blobs have got a checksum; once all have, looking costs one seek."""
        until, sealed = self._clock() + max_seconds, 0
        while (span := self._next_span()) is not None:
            for query, update in ((_CLOCKS, _SEAL_CLOCK), (_CHUNKS, _SEAL_CHUNK)):
                after: tuple[int, int] | None = (-1, -1)
                while after is not None:
                    count, after = self._batch(query, update, span, after)
                    sealed += count
                    if self._clock() >= until:
                        return sealed
            self._mark(span + 1)
        return sealed

    def _next_span(self) -> int | None:
        with self._database.reading() as db:
            span: int | None = db.execute(_NEXT_SPAN, ("unsealed",)).fetchone()[0]
            marked = db.execute("SELECT 1 FROM counter WHERE name = 'unsealed'").fetchone()
        if span is None and marked:
            with self._database.writing() as db:
                db.execute("DELETE FROM counter WHERE name = 'unsealed'")
        return span

    def _mark(self, span: int) -> None:
        with self._database.writing() as db:
            db.execute("UPDATE counter SET value = ? WHERE name = 'unsealed'", (span,))

    def _batch(
        self, query: str, update: str, span: int, after: tuple[int, int]
    ) -> tuple[int, tuple[int, int] | None]:
        """How many were sealed, and the key to go on after; None at the end of the span."""
        with self._database.writing() as db:
            rows = db.execute(query, (span, *after, _BATCH)).fetchall()
            sealed = list(_sealed(rows))
            db.executemany(update, sealed)
        last = rows[-1][1:3] if len(rows) == _BATCH else None
        return len(sealed), last


def _sealed(rows: Iterable[tuple[Any, ...]]) -> Iterable[tuple[Any, ...]]:
    for first, second, third, fourth, blob in rows:
        if blob and not is_sealed(blob):
            yield seal(blob, mix(first, second, third, fourth)), first, second, third
