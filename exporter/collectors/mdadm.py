"""Software RAID, from /proc/mdstat.

Documentation/admin-guide/md.rst of the kernel; drivers/md/md.c writes the file.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from exporter.collectors.base import Host, NoDataError, text
from exporter.families import Found, gauge

_REQUIRED = gauge("node_md_disks_required", "Disks that the array should have", "device")
_DISKS = gauge("node_md_disks", "Disks of the array by what they do in it", "device", "state")
_STATE = gauge("node_md_state", "1 for what the array does, 0 for all else", "device", "state")
_BLOCKS = gauge("node_md_blocks", "Size of the array in blocks of 1 KiB", "device")
_SYNCED = gauge("node_md_blocks_synced", "Blocks known to be in step on all disks", "device")

_STATES = ("active", "inactive", "recovering", "resync", "check")
# What the kernel calls it → the state. An array that is being reshaped goes on as before.
_WORK = {b"recovery": "recovering", b"resync": "resync", b"check": "check", b"reshape": ""}

_BLOCK_COUNT = re.compile(rb"\s*(\d{1,19}) blocks")
_DISK = re.compile(rb"\[\d+\]")
_DISK_COUNTS = re.compile(rb"\[(\d{1,9})/(\d{1,9})\] \[")
# Either how far it is or, in capitals, what it waits for.
_PROGRESS = re.compile(
    rb"\b(recovery|resync|check|reshape)\s*=\s*(?:[\d.]+%\s*\((\d{1,19})/\d+\)|[A-Z]+)"
)
_NOT_ARRAYS = (b"Personalities", b"unused", b"read_ahead")


@dataclass(frozen=True, slots=True)
class Array:
    """Blocks are of 1 KiB. state is one of the kernel's, or what it does besides."""

    name: str
    state: str
    required: int
    active: int
    failed: int
    spare: int
    blocks: int
    synced: int


class MdadmCollector:
    """node_md_*."""

    name = "mdadm"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[Found]:
        raw = self._host.proc_or_none("mdstat")
        if raw is None:
            raise NoDataError("the kernel has no software RAID (no /proc/mdstat)")
        yield from families(parse(raw))


def families(arrays: list[Array]) -> Iterator[Found]:
    yield _REQUIRED, {(array.name,): array.required for array in arrays}
    yield (
        _DISKS,
        {
            (array.name, state): count
            for array in arrays
            for state, count in (
                ("active", array.active),
                ("failed", array.failed),
                ("spare", array.spare),
            )
        },
    )
    yield (
        _STATE,
        {(array.name, state): int(array.state == state) for array in arrays for state in _STATES},
    )
    yield _BLOCKS, {(array.name,): array.blocks for array in arrays}
    yield _SYNCED, {(array.name,): array.synced for array in arrays}


def parse(raw: bytes) -> list[Array]:
    """ValueError where a line is none of those that the kernel writes."""
    found: list[list[bytes]] = []
    for line in raw.splitlines():
        if not line.strip() or line.startswith(_NOT_ARRAYS):
            continue
        if not line[:1].isspace():
            found.append([line])
        elif found:
            found[-1].append(line)
        else:
            raise ValueError(f"/proc/mdstat: {line[:80]!r} belongs to no array")
    return [_array(head, body) for head, *body in found]


def _array(head: bytes, body: list[bytes]) -> Array:
    """Its first line names its state and its disks; the second has the numbers."""
    words = head.split()
    if len(words) < 3 or words[1] != b":":
        raise ValueError(f"/proc/mdstat: {head[:80]!r} is no array")
    state, status = text(words[2]), body[0] if body else b""
    size = _BLOCK_COUNT.match(status)
    # An array without disks has no size to tell.
    blocks = int(size[1]) if size else 0
    required, active = (0, 0) if state == "inactive" else _disks(head, status)
    work, synced = _progress(body, blocks)
    failed, spare = head.count(b"(F)"), head.count(b"(S)")
    return Array(text(words[0]), work or state, required, active, failed, spare, blocks, synced)


def _disks(head: bytes, status: bytes) -> tuple[int, int]:
    """Required and active. Arrays that can do without none of their disks do not count them."""
    counts = _DISK_COUNTS.search(status)
    if counts is not None:
        return int(counts[1]), int(counts[2])
    named = len(_DISK.findall(head))
    return named, named


def _progress(body: Iterable[bytes], blocks: int) -> tuple[str, int]:
    """What is being done, if anything, and the blocks that are in step."""
    for line in body:
        found = _PROGRESS.search(line)
        if found is not None:
            work = _WORK[found[1]]
            return work, int(found[2] or 0) if work else blocks
    return "", blocks
