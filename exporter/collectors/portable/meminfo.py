"""Memory and swap, under Linux' names; for macOS under those of its node_exporter as well."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psutil

from exporter.families import Family, Found, counter, gauge


def _bytes(name: str, what: str) -> Family:
    return gauge(f"node_memory_{name}_bytes", f"{what}, in bytes.")


# By the field of psutil that has them; a system lacks some.
_MEMORY = (
    ("total", _bytes("MemTotal", "Memory in all")),
    ("available", _bytes("MemAvailable", "Memory that programs can have without swapping")),
    ("free", _bytes("MemFree", "Memory that is used for nothing")),
    ("buffers", _bytes("Buffers", "Memory that holds blocks of devices")),
    ("cached", _bytes("Cached", "Memory that holds contents of files")),
    ("active", _bytes("Active", "Memory that was used of late")),
    ("inactive", _bytes("Inactive", "Memory that was not used for a while")),
)
_SWAP = (
    ("total", _bytes("SwapTotal", "Swap space in all")),
    ("free", _bytes("SwapFree", "Swap space that is not in use")),
)
_DARWIN_MEMORY = (
    ("total", _bytes("total", "Memory in all")),
    ("free", _bytes("free", "Memory that is used for nothing")),
    ("active", _bytes("active", "Memory that was used of late")),
    ("inactive", _bytes("inactive", "Memory that was not used for a while")),
    ("wired", _bytes("wired", "Memory that cannot be swapped out")),
)
_DARWIN_SWAP = (
    ("total", _bytes("swap_total", "Swap space in all")),
    ("used", _bytes("swap_used", "Swap space in use")),
    ("sin", counter("node_memory_swapped_in_bytes_total", "Bytes read back into memory.")),
    ("sout", counter("node_memory_swapped_out_bytes_total", "Bytes written out of memory.")),
)
_Table = Sequence[tuple[str, Family]]


class MeminfoCollector:
    name = "meminfo"

    def __init__(
        self,
        read_memory: Callable[[], Any] = psutil.virtual_memory,
        read_swap: Callable[[], Any] = psutil.swap_memory,
    ) -> None:
        self._read_memory, self._read_swap = read_memory, read_swap

    def collect(self) -> Iterator[Found]:
        memory, swap = self._read_memory(), self._read_swap()
        yield from told(memory, _MEMORY)
        yield from told(swap, _SWAP)
        if hasattr(memory, "wired"):
            yield from told(memory, _DARWIN_MEMORY)
            yield from told(swap, _DARWIN_SWAP)


def told(fields: Any, table: _Table) -> Iterator[Found]:
    """psutil leaves out, rather than zeroes, what a system lacks."""
    for field, family in table:
        value = getattr(fields, field, None)
        if value is not None:
            yield family, value
