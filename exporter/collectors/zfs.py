"""What ZFS counts, from /proc/spl/kstat/zfs: the module's own figures, and those of each pool.

https://openzfs.github.io/openzfs-docs/man/master/4/spl.4.html
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache

from exporter.collectors.base import Host, NoDataError, text
from exporter.families import Family, Found, Rows, gauge, untyped

_FOLDER = "spl/kstat/zfs"
# File → what node_exporter calls it. A version of ZFS has some of them.
_FILES = {
    "abdstats": "abd",
    "arcstats": "arc",
    "dbufstats": "dbuf",
    "dmu_tx": "dmu_tx",
    "dnodestats": "dnode",
    "fm": "fm",
    "vdev_cache_stats": "vdev_cache",
    "vdev_mirror_stats": "vdev_mirror",
    "xuio_stats": "xuio",
    "zfetchstats": "zfetch",
    "zil": "zil",
}
_STATES = ("online", "degraded", "faulted", "offline", "removed", "unavail", "suspended")
_POOL_STATE = gauge(
    "node_zfs_zpool_state", "Whether the pool is in this state (1) or not (0).", "state", "zpool"
)

_HEADING = re.compile(rb"^name +type +data *\n", re.MULTILINE)
_INT64, _UINT64 = b"3", b"4"  # KSTAT_DATA_INT64 and KSTAT_DATA_UINT64
_UNFIT = re.compile(r"[^a-zA-Z0-9_]")
_MOST_FAMILIES = 2048

_IO_COLUMNS = 12

Figures = Mapping[bytes, int]
Labels = tuple[str, ...]
Pools = Sequence[tuple[str, list[str]]]  # each with the names of its files
Wanted = Callable[[str], bool]


class ZfsCollector:
    """node_zfs_*: untyped, since the files do not say which of them count."""

    name = "zfs"

    def __init__(self, host: Host) -> None:
        self._host = host

    def collect(self) -> Iterator[Found]:
        names = self._host.list_proc(_FOLDER)
        if not names:
            raise NoDataError("ZFS is not loaded")
        for file, called in _FILES.items():
            raw = self._host.proc_or_none(f"{_FOLDER}/{file}") if file in names else None
            if raw is not None:
                yield from gathered(called, (), [((), parse(raw))])
        pools = [(name, self._host.list_proc(f"{_FOLDER}/{name}")) for name in names]
        yield from gathered("zpool", ("zpool",), self._io(pools))
        yield from gathered("zpool_dataset", ("dataset", "zpool"), self._datasets(pools))
        yield _POOL_STATE, dict(self._states(pools))

    def _io(self, pools: Pools) -> Iterator[tuple[Labels, Figures]]:
        for pool, raw in self._files(pools, lambda name: name == "io"):
            yield (_shown(pool),), parse_io(raw)

    def _datasets(self, pools: Pools) -> Iterator[tuple[Labels, Figures]]:
        for pool, raw in self._files(pools, lambda name: name.startswith("objset-")):
            yield (dataset(raw), _shown(pool)), parse(raw)

    def _states(self, pools: Pools) -> Iterator[tuple[Labels, int]]:
        for pool, raw in self._files(pools, lambda name: name == "state"):
            now = text(raw).strip().lower()
            yield from (((state, _shown(pool)), int(state == now)) for state in _STATES)

    def _files(self, pools: Pools, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
        """Contents by pool. A pool may be exported while we look."""
        for pool, files in pools:
            for file in filter(wanted, files):
                raw = self._host.proc_or_none(f"{_FOLDER}/{pool}/{file}")
                if raw is not None:
                    yield pool, raw


def parse(raw: bytes) -> Figures:
    """`NAME TYPE VALUE` below a heading. Of the types only 64-bit integers are figures."""
    heading = _HEADING.search(raw)
    if heading is None:
        raise ValueError(f"kstat: no heading `name type data` in {raw[:100]!r}")
    figures = dict[bytes, int]()
    for line in raw[heading.end() :].splitlines():
        words = line.split(None, 2)
        if len(words) == 3 and words[1] in (_INT64, _UINT64):
            figures[words[0]] = int(words[2].split()[0])
    return figures


def dataset(raw: bytes) -> str:
    """The name in an objset's file; it may hold spaces."""
    found = re.search(rb"^dataset_name +\d+ +(.+?) *$", raw, re.MULTILINE)
    if found is None:
        raise ValueError("kstat: an objset without its dataset's name")
    return text(found[1])


def parse_io(raw: bytes) -> Figures:
    """A line of names from nread on, and a line of figures; nothing where there are none."""
    lines = iter(raw.splitlines())
    for line in lines:
        names = line.split()
        if len(names) >= _IO_COLUMNS and names[0] == b"nread":
            return dict(zip(names, map(int, next(lines, b"").split()), strict=True))
    return {}


def gathered(
    called: str, label_names: Labels, found: Iterable[tuple[Labels, Figures]]
) -> Iterator[Found]:
    """A family a figure, with a row for each pool or dataset that has it."""
    families: dict[Family, dict[Labels, float]] = {}
    for labels, figures in found:
        for name, value in figures.items():
            families.setdefault(_family(called, name, label_names), {})[labels] = value
    for family, rows in families.items():
        yield family, _bare(rows)


def _bare(rows: dict[Labels, float]) -> Rows:
    return rows.get((), rows)


@lru_cache(maxsize=_MOST_FAMILIES)
def _family(called: str, name: bytes, label_names: Labels) -> Family:
    """One for names that a page cannot tell apart."""
    return _named(f"node_zfs_{called}_{_UNFIT.sub('_', text(name))}", label_names)


@lru_cache(maxsize=_MOST_FAMILIES)
def _named(name: str, label_names: Labels) -> Family:
    return untyped(name, f"{name.removeprefix('node_zfs_')} of ZFS's kstat.", *label_names)


def _shown(name: str) -> str:
    return text(name.encode(errors="surrogateescape"))
