"""Memory, all fields of /proc/meminfo; psutil knows only some of them."""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from exporter.collectors.base import Host
from exporter.families import Family, Found, gauge

_FIELD = re.compile(rb"([^:\s]+):\s+\d+( kB)?\s*")
# A part of memory, and the whole that it can never exceed.
_WHOLES = {
    "MemAvailable_bytes": "MemTotal_bytes",
    "MemFree_bytes": "MemTotal_bytes",
    "SwapFree_bytes": "SwapTotal_bytes",
    "HugePages_Free": "HugePages_Total",
}


class MeminfoCollector:
    """node_memory_*: in bytes, but for the counts of huge pages."""

    name = "meminfo"

    def __init__(self, host: Host) -> None:
        self._host = host
        self._fields = Fields()

    def collect(self) -> Iterator[Found]:
        return self._fields.told(self._host.proc("meminfo"))


class Fields:
    """What the file's fields are told as; found out once, as only the figures change."""

    def __init__(self) -> None:
        self._labels: tuple[bytes, ...] = ()
        self._words = 0
        self._pick_labels: Any = None
        self._pick_figures: Any = None
        self._told: list[tuple[Family, int]] = []  # with what a unit of it is in bytes

    def told(self, raw: bytes) -> Iterator[Found]:
        """`Active(anon):  12 kB` is 12288 of node_memory_Active_anon_bytes.

        ValueError for a line that is no field, or where there is none.
        """
        words = raw.split()
        if len(words) != self._words or self._pick_labels(words) != self._labels:
            self._learn(raw, words)
        for (family, unit), figure in zip(self._told, self._pick_figures(words), strict=True):
            yield family, int(figure) * unit

    def _learn(self, raw: bytes, words: Sequence[bytes]) -> None:
        matches = [(_FIELD.fullmatch(line), line) for line in raw.splitlines()]
        for match, line in matches:
            if match is None:
                raise ValueError(f"/proc/meminfo: not a field: {line!r}")
        if len(matches) < 2:
            raise ValueError("/proc/meminfo: hardly a field in it")
        figures = [place for place, word in enumerate(words) if word.isdigit()]
        labels = [place for place in range(len(words)) if place not in set(figures)]
        self._told = [
            (_family(match[1], match[2] or b""), 1024 if match[2] else 1)
            for match, _ in matches
            if match is not None
        ]
        self._pick_labels, self._pick_figures = itemgetter(*labels), itemgetter(*figures)
        self._labels, self._words = self._pick_labels(words), len(words)


@lru_cache(maxsize=1024)
def _family(field: bytes, kilobytes: bytes) -> Family:
    """`Active(anon)` in ` kB` → node_memory_Active_anon_bytes."""
    name = field.decode().replace("(", "_").replace(")", "")
    return _named(f"{name}_bytes" if kilobytes else name)


@lru_cache(maxsize=1024)
def _named(name: str) -> Family:
    whole = _named(_WHOLES[name]) if name in _WHOLES else None
    what = name.removesuffix("_bytes")
    return gauge(f"node_memory_{name}", f"{what} of /proc/meminfo.", whole=whole)
