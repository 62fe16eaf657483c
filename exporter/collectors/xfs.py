"""What each XFS file system did since it was mounted, from /sys/fs/xfs/*/stats/stats.

https://docs.kernel.org/admin-guide/xfs.html; the names are those of xfs.org's Runtime Stats.
"""

from collections.abc import Iterator, Mapping, Sequence

from exporter.collectors.base import Host, text
from exporter.families import Family, Found, Rows, counter

_BTREE = {
    "lookups": "look-ups in it",
    "compares": "comparisons of records in it",
    "records_inserted": "records put into it",
    "records_deleted": "records taken out of it",
}

# By the first word of the file's line: the rest of the name, and the figures in their order.
# More figures may follow; vnodes had no eighth one in old kernels.
_LINES: dict[str, tuple[str, str, Mapping[str, str]]] = {
    "extent_alloc": ("extent_allocation", "Extents", {
        "extents_allocated": "extents that were allocated",
        "blocks_allocated": "blocks that were allocated",
        "extents_freed": "extents that were freed",
        "blocks_freed": "blocks that were freed",
    }),
    "abt": ("allocation_btree", "B-tree of free space", _BTREE),
    "blk_map": ("block_mapping", "Map of a file's blocks", {
        "reads": "look-ups to read",
        "writes": "look-ups to write",
        "unmaps": "blocks taken out",
        "extent_list_insertions": "extents put into a file's list",
        "extent_list_deletions": "extents taken out of a file's list",
        "extent_list_lookups": "look-ups in a file's list of extents",
        "extent_list_compares": "comparisons in a file's list of extents",
    }),
    "bmbt": ("block_map_btree", "B-tree of a file's blocks", _BTREE),
    "dir": ("directory_operation", "Directories", {
        "lookup": "names looked for that were not in the kernel's cache",
        "create": "entries that were made",
        "remove": "entries that were removed",
        "getdents": "readings of a directory",
    }),
    "ig": ("inode_operation", "Cache of inodes", {
        "attempts": "inodes looked for",
        "found": "inodes that were there",
        "recycled": "inodes that were there, but on their way out",
        "missed": "inodes that were not there",
        "duplicates": "inodes that another process put there first",
        "reclaims": "inodes thrown out to free memory",
        "attribute_changes": "changes of an inode's attributes that a program asked for",
    }),
    "rw": ("", "System calls", {
        "write_calls": "writes to files",
        "read_calls": "reads of files",
    }),
    "vnodes": ("vnode", "Vnodes", {
        "active": "those in use now",
        "allocate": "those allocated",
        "get": "those taken",
        "hold": "those held",
        "release": "those released",
        "reclaim": "those reclaimed",
        "remove": "those removed",
    }),
}  # fmt: skip

# Called a counter, but it is what is in use now: it may fall.
_FALLS = "node_xfs_vnode_active_total"


def _families(prefix: str, subject: str, figures: Mapping[str, str]) -> list[Family]:
    names = [f"node_xfs_{prefix}_{name}" if prefix else f"node_xfs_{name}" for name in figures]
    return [
        counter(f"{name}_total", f"{subject}: {what}.", "device", guarded=f"{name}_total" == _FALLS)
        for name, what in zip(names, figures.values(), strict=True)
    ]


_FAMILIES = {line.encode(): _families(*rest) for line, rest in _LINES.items()}

# Beside the devices: the sums of all, which are none of ours.
_ALL = "stats"

Stats = Mapping[bytes, Sequence[int]]


class XfsCollector:
    """node_xfs_*_total, by device. A host without XFS tells nothing, and that is no failure."""

    name = "xfs"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[Found]:
        devices: dict[tuple[str], Stats] = {}
        for device in self._host.list_sys("fs/xfs"):
            if device == _ALL:
                continue
            raw = self._host.sys_or_none(f"fs/xfs/{device}/stats/stats")
            if raw is not None:
                devices[(text(device.encode(errors="surrogateescape")),)] = parse(raw)
        if devices:
            yield from figures(devices)


def parse(raw: bytes) -> Stats:
    """The figures of each line that we know, by its first word. ValueError for too few."""
    stats = dict[bytes, Sequence[int]]()
    for line in raw.splitlines():
        label, *words = line.split() or [b""]
        if label in _FAMILIES:
            stats[label] = list(map(int, words))
            if len(words) < len(_FAMILIES[label]):
                raise ValueError(f"xfs: {len(words)} figures, too few: {line!r}")
    return stats


def figures(devices: Mapping[tuple[str], Stats]) -> Iterator[Found]:
    """A figure whose line is missing is 0."""
    for label, families in _FAMILIES.items():
        nothing = [0] * len(families)
        columns = [(key, stats.get(label, nothing)) for key, stats in devices.items()]
        for place, family in enumerate(families):
            rows: Rows = {key: row[place] for key, row in columns}
            yield family, rows
