"""What a store refused, kept beside the spool for whoever looks into it.

A text file: of each line the reason, as a comment, and the line itself. Bounded: when it is full it
becomes `<name>.1`, of which there is one.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

_MAX_BYTES = 10 << 20
_LOGGED = 10  # lines, and then one of …
_LOGGED_EVERY = 100


class DeadLetters:
    """told: a refused line as a person reads it. Of one thread. Never raises."""

    def __init__(
        self,
        path: Path,
        told: Callable[[bytes], str] = lambda line: line.decode("utf-8", "replace"),
        *,
        max_bytes: int = _MAX_BYTES,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path, self._told, self._max, self._now = path, told, max_bytes, now
        self._seen = 0

    def keep(self, line: bytes, reason: str) -> None:
        text, reason = self._told(line).rstrip("\n"), " ".join(reason.split())
        self._seen += 1
        if self._seen <= _LOGGED or self._seen % _LOGGED_EVERY == 0:
            log.error("set aside in %s: %s: %s", self._path, text[:300], reason)
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._now()))
        try:
            self._append(f"# {at} {reason}\n{text}\n")
        except OSError as err:
            log.error("%s: %s; lost: %s", self._path, err.strerror, text[:300])

    def _append(self, entry: str) -> None:
        with self._path.open("a", encoding="utf-8") as stream:
            if stream.tell() == 0 or stream.tell() + len(entry) <= self._max:
                stream.write(entry)
                return
        self._path.replace(self._path.with_name(self._path.name + ".1"))
        self._append(entry)
