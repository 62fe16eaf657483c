"""Interrupts of each CPU by their source, from /proc/interrupts."""

import re
from collections.abc import Iterator

from exporter.collectors.base import Host, text
from exporter.families import Found, counter
from exporter.filters import Filter

_INTERRUPTS = counter(
    "node_interrupts_total",
    "Interrupts that the CPU handled, by number or name (type), controller and pin, and devices.",
    "cpu",
    "devices",
    "info",
    "type",
)

_Key = tuple[str, ...]
_Rows = dict[_Key, float]
_MOST_SOURCES = 20_000  # whose labels are remembered; devices come and go


class InterruptsCollector:
    """node_interrupts_total. A pattern is searched for in `TYPE;INFO;DEVICES`."""

    name = "interrupts"

    def __init__(
        self,
        host: Host,
        include: re.Pattern[str] | None = None,
        exclude: re.Pattern[str] | None = None,
        *,
        include_zeros: bool = True,
    ) -> None:
        self._host, self._include_zeros = host, include_zeros
        self._labels = Labels(Filter(include, exclude))

    def collect(self) -> Iterator[Found]:
        rows = parse(self._host.proc("interrupts"), self._labels)
        if not self._include_zeros:
            rows = {key: count for key, count in rows.items() if count}
        yield _INTERRUPTS, rows


class Labels:
    """The labels of each line of the file, for each of its CPUs; they are made once."""

    def __init__(self, wanted: Filter) -> None:
        self._wanted = wanted
        self._cpus: tuple[str, ...] = ()
        self._known: dict[tuple[bytes, bytes], tuple[_Key, ...]] = {}

    def use(self, cpus: tuple[str, ...]) -> None:
        """The CPUs of the file's heading: those that are online."""
        if cpus != self._cpus or len(self._known) > _MOST_SOURCES:
            self._cpus, self._known = cpus, {}

    def of(self, source: bytes, what: bytes) -> tuple[_Key, ...]:
        """Nothing for a source that is not wanted."""
        keys = self._known.get((source, what))
        if keys is None:
            keys = self._known[source, what] = self._make(source, what)
        return keys

    def _make(self, source: bytes, what: bytes) -> tuple[_Key, ...]:
        kind, words = text(source).strip(), text(what).split()
        # A numbered one has its controller, then what hangs on it; a named one is described.
        told = 1 if kind.isdecimal() else len(words)
        info, devices = " ".join(words[:told]), " ".join(words[told:])
        if not self._wanted(f"{kind};{info};{devices}"):
            return ()
        return tuple((cpu, devices, info, kind) for cpu in self._cpus)


def parse(raw: bytes, labels: Labels) -> _Rows:
    """A heading of CPUs, then lines `SOURCE: COUNT… WHAT`. Counts by labels.

    Lines with fewer counts than CPUs, or with nothing after them, are not of single CPUs.
    """
    heading, _, lines = raw.partition(b"\n")
    cpus = tuple(text(word).removeprefix("CPU") for word in heading.split())
    if not cpus:
        raise ValueError("/proc/interrupts: no CPU in its heading")
    labels.use(cpus)
    rows = _Rows()
    for line in lines.splitlines():
        source, _, rest = line.partition(b":")
        words = rest.split(None, len(cpus))
        if len(words) > len(cpus):
            what = words.pop()
            rows.update(zip(labels.of(source, what), map(int, words), strict=False))
    return rows
