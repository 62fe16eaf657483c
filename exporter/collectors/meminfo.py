"""Memory, all fields of /proc/meminfo; psutil knows only some of them."""

import re
from collections.abc import Iterator
from functools import lru_cache

from exporter.collectors.base import Host
from exporter.families import Family, Found, gauge

_FIELD = re.compile(rb"^([^:\s]+):\s+(\d+)( kB)?\s*$", re.MULTILINE)
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

    def collect(self) -> Iterator[Found]:
        yield from found(self._host.proc("meminfo"))


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


def found(raw: bytes) -> Iterator[Found]:
    """`Active(anon):  12 kB` is 12288 of node_memory_Active_anon_bytes. ValueError for no field."""
    fields = _FIELD.findall(raw)
    if not fields:
        raise ValueError("/proc/meminfo: no field in it")
    for name, amount, kilobytes in fields:
        yield _family(name, kilobytes), int(amount) * 1024 if kilobytes else int(amount)
