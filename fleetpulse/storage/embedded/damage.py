"""Blobs that are not what was written: left out of answers, counted, and told once each."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

# The metric has a series each from the start.
KINDS = ("page", "chunk", "clock", "tier", "layout", "target", "line")

_KNOWN_MAX = 100_000

# What a key's numbers are, for people.
_KEYS = {
    "page": ("id",),
    "chunk": ("span", "line", "target"),
    "clock": ("span", "target", "n"),
    "tier": ("level", "span", "line", "target"),
    "layout": ("id",),
    "target": ("id",),
    "line": ("id",),
}


class Finding(NamedTuple):
    """One damaged blob: the table it is in and its row's key there."""

    kind: str
    key: tuple[int, ...]

    def __str__(self) -> str:
        names = _KEYS.get(self.kind, ())
        where = ", ".join(f"{name} {n}" for name, n in zip(names, self.key, strict=False))
        return f"{self.kind} ({where})"


class DamageLog:
    """What reads have found. Safe from any thread.

    tell: called with the kind of each damaged blob the first time that it is met.
    """

    def __init__(self, path: Path, tell: Callable[[str], None] = lambda _kind: None) -> None:
        self._path, self._tell = path, tell
        self._lock = threading.Lock()  # guards the next two
        self._known: set[Finding] = set()
        self._counts: Counter[str] = Counter()

    def report(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            if self._is_new(finding):
                log.error(
                    "%s: %s is damaged and left out; `fleetpulse store verify` lists all",
                    self._path,
                    finding,
                )
                self._tell(finding.kind)

    def _is_new(self, finding: Finding) -> bool:
        with self._lock:
            if finding in self._known or len(self._known) >= _KNOWN_MAX:
                return False
            self._known.add(finding)
            self._counts[finding.kind] += 1
            return True

    def counts(self) -> Mapping[str, int]:
        """Different damaged blobs by kind, since this process opened the store."""
        with self._lock:
            return dict(self._counts)
