"""Metrics in the text format 0.0.4 that others wrote: files of the textfile collector.

Read with fleetpulse.openmetrics, which is as strict as Prometheus; stricter still in what would
spoil the page that the metrics are to stand on, or shows that the writer is not done.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from exporter.families import Type
from fleetpulse.errors import ExpositionError
from fleetpulse.linereader import LineReader
from fleetpulse.model import METRIC_NAME, Labels, Metadata
from fleetpulse.openmetrics import TEXT

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_COMMENT = re.compile(rb"#[ \t]+(HELP|TYPE)[ \t]+([^ \t]+)(.*)", re.DOTALL)
# What the names of a type's samples have behind the family's.
_SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("_sum", "_count"),
}
_TYPES: Mapping[str, Type] = {
    "counter": "counter", "gauge": "gauge", "histogram": "histogram", "summary": "summary",
}  # fmt: skip

Pairs = tuple[tuple[str, str], ...]
# A metric's name and its labels, those that are empty left out.
Series = tuple[str, Pairs]
Known = dict[bytes, Series]


@dataclass(slots=True)
class Told:
    """A family as one file tells it. samples: suffix of the name, labels, value."""

    name: str
    type: Type
    help: str | None
    samples: list[tuple[str, Pairs, float]] = field(default_factory=list)


def parse(body: bytes, *, most: int, known: Known) -> list[Told]:
    """Families in the order of their first samples. ExpositionError for anything wrong.

    most: samples that a file may have. known is kept from one reading to the next, since files
    mostly change in their values alone; it grows with each series never seen.
    """
    if body and not body.endswith(b"\n"):
        raise ExpositionError(body.count(b"\n") + 1, "no line end: the file was cut short")
    reader, families = LineReader(TEXT, _series, lambda _type: known), _Families()
    lines = families.checked(body.split(b"\n"))
    for total, (number, _, series, value, time_ms) in enumerate(reader.read(lines), 1):
        if time_ms is not None:
            raise ExpositionError(number, "a timestamp, which a file must not have")
        if total > most:
            raise ExpositionError(number, f"more than {most} samples")
        families.add(series, value, reader.comments.metadata)
    return families.told(reader.comments.metadata)


class _Families:
    """Those of one file, as it is read."""

    def __init__(self) -> None:
        self._found: dict[str, Told] = {}
        self._comments: set[tuple[bytes, str]] = set()  # HELP or TYPE, and of which family

    def checked(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """The lines; ExpositionError where the reader would take what the format forbids."""
        for number, line in enumerate(lines, 1):
            comment = _COMMENT.fullmatch(line) if line[:1] == b"#" else None
            if comment is None:
                yield line
                continue
            keyword, name, rest = comment.groups()
            family = name.decode(errors="replace")
            if (keyword, family) in self._comments:
                raise ExpositionError(number, f"a second {keyword.decode()} of {family}")
            if keyword == b"TYPE" and family in self._found:
                raise ExpositionError(number, f"the TYPE of {family} comes after its samples")
            self._comments.add((keyword, family))
            # In capitals, a type is taken by others.
            yield line if keyword == b"HELP" else b"# TYPE " + name + rest.lower()

    def add(self, series: Series, value: float, metadata: Mapping[str, Metadata]) -> None:
        name, pairs = series
        family, suffix = _split(name, metadata)
        told = self._found.get(family)
        if told is None:
            kind = metadata[family].type if family in metadata else "untyped"
            told = self._found[family] = Told(family, _TYPES.get(kind, "untyped"), None)
        told.samples.append((suffix, pairs, value))

    def told(self, metadata: Mapping[str, Metadata]) -> list[Told]:
        for family in self._found.values():
            if (b"HELP", family.name) in self._comments:
                family.help = metadata[family.name].help
        return list(self._found.values())


def _split(name: str, metadata: Mapping[str, Metadata]) -> tuple[str, str]:
    """The name of a sample's family, and what the sample's own has behind it."""
    for suffix in ("_bucket", "_sum", "_count"):
        if name.endswith(suffix):
            family = name.removesuffix(suffix)
            if family in metadata and suffix in _SUFFIXES.get(metadata[family].type, ()):
                return family, suffix
    return name, ""


def _series(labels: Labels) -> Series:
    name = labels.name
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a metric here")
    pairs = tuple(pair for pair in labels if pair[0] != METRIC_NAME and pair[1])
    for label, _ in pairs:
        if not _LABEL_NAME.fullmatch(label):
            raise ValueError(f"{label!r} is no name for a label here")
    return name, pairs
