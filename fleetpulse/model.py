"""The nouns that all parts share. No I/O, and nothing here needs the server's libraries.

Times are Unix milliseconds (int) inside the program; seconds (float) only at its edges.
"""

import math
import struct
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Self

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

METRIC_NAME = "__name__"

# Prometheus' mark for "this series ended here" (model/value/value.go): a NaN of its own bits.
STALE_BITS = 0x7FF0000000000002
STALE_NAN: float = struct.unpack("<d", struct.pack("<Q", STALE_BITS))[0]


def is_stale(value: float) -> bool:
    """Whether value is the staleness marker, and not just any NaN."""
    return bool(math.isnan(value)) and struct.pack("<d", value) == struct.pack("<Q", STALE_BITS)


class Labels(tuple[tuple[str, str], ...]):
    """A label set as (name, value) pairs in the order of the names.

    Build it with of() or from_pairs(), which sort and leave out empty values: a label with an
    empty value and a missing label are the same thing. Lines of a Layout alone may keep an empty
    value, which there takes a target's label away (see merged()).
    """

    __slots__ = ()

    @classmethod
    def of(cls, mapping: Mapping[str, str] = {}, /, **more: str) -> Self:
        return cls.from_pairs([*mapping.items(), *more.items()])

    @classmethod
    def from_pairs(cls, pairs: Iterable[tuple[str, str]]) -> Self:
        return cls(sorted(pair for pair in pairs if pair[1]))

    def get(self, name: str, default: str = "") -> str:
        for key, value in self:
            if key == name:
                return value
        return default

    @property
    def name(self) -> str:
        """The metric name, or an empty string."""
        return self.get(METRIC_NAME)

    def as_dict(self) -> dict[str, str]:
        return dict(self)

    def with_(self, **changes: str) -> "Labels":
        """A copy with labels set; an empty value removes one."""
        return Labels.of({**dict(self), **changes})

    def without(self, *names: str) -> "Labels":
        return Labels(pair for pair in self if pair[0] not in names)

    def only(self, *names: str) -> "Labels":
        return Labels(pair for pair in self if pair[0] in names)

    def merged(self, line: "Labels") -> "Labels":
        """A series' full labels: this target's, overridden by those of a line of its page."""
        both = dict(self)
        both.update(line)
        if len(both) == len(self) + len(line) and "" not in both.values():
            return Labels(sorted((*self, *line)))  # their pairs are used, and not copied
        return Labels.of(both)

    def __str__(self) -> str:
        inner = ", ".join(
            f'{name}="{_escape(value)}"' for name, value in self if name != METRIC_NAME
        )
        return f"{self.name}{{{inner}}}" if inner or not self.name else self.name


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


MetricType = Literal[
    "counter", "gauge", "untyped", "histogram", "summary", "info", "stateset", "gaugehistogram"
]


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a page says of a metric: its TYPE, HELP and UNIT lines."""

    type: MetricType = "untyped"
    help: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True)
class FamilySample:
    """One value of a family; name differs from the family's only for _bucket, _sum, _count."""

    labels: Mapping[str, str]
    value: float


@dataclass(slots=True)
class MetricFamily:
    """What a collector yields: one metric with its samples, under its exposed name."""

    name: str
    help: str
    type: Literal["counter", "gauge", "untyped"]
    samples: list[FamilySample] = field(default_factory=list)

    def add(self, value: float, **labels: str) -> Self:
        self.samples.append(FamilySample(labels, float(value)))
        return self


def gauge(name: str, help_text: str, value: float | None = None) -> MetricFamily:
    """A gauge, with its only sample if value is given."""
    family = MetricFamily(name, help_text, "gauge")
    return family if value is None else family.add(value)


def counter(name: str, help_text: str, value: float | None = None) -> MetricFamily:
    """A counter under its full name, `_total` included."""
    family = MetricFamily(name, help_text, "counter")
    return family if value is None else family.add(value)


def untyped(name: str, help_text: str, value: float | None = None) -> MetricFamily:
    family = MetricFamily(name, help_text, "untyped")
    return family if value is None else family.add(value)


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one series at one time."""

    labels: Labels
    at_ms: int
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """A series' samples: times_ms int64 and values float64, of equal length, times rising."""

    labels: Labels
    times_ms: "NDArray[np.int64]"
    values: "NDArray[np.float64]"


@dataclass(frozen=True)
class Layout:
    """The ordered lines of a page: each a metric name with the labels that the page gives it.

    Targets of the same shape share one Layout object, and processes recognise each other's by the
    digest. A line label with an empty value takes that label of the target away.
    """

    lines: tuple[Labels, ...]

    @cached_property
    def digest(self) -> bytes:
        """16 bytes that are equal for equal lines in equal order, in any process."""
        import hashlib  # not above: it brings 3.5 MB of OpenSSL, which the exporter does without

        hasher = hashlib.blake2b(digest_size=16)
        for line in self.lines:
            for name, value in line:
                # \xff never occurs in UTF-8, so it can part what it parts.
                hasher.update(name.encode() + b"\xff" + value.encode() + b"\xff")
            hasher.update(b"\xff\xff")
        return hasher.digest()

    def __len__(self) -> int:
        return len(self.lines)


class Part(Layout):
    """Some lines of a layout, in any order and as often as there are values of them.

    For pages that hold now these and now those lines of a target: a store may keep the whole
    layout, once, and the columns. To whoever does not it is a layout like any other.
    """

    whole: Layout
    columns: "array[int]"  # 'i'; places in whole.lines

    def __init__(self, whole: Layout, columns: "array[int]") -> None:
        # Not through the base: the lines are made only for a store that asks for them.
        object.__setattr__(self, "whole", whole)
        object.__setattr__(self, "columns", columns)

    @cached_property
    def lines(self) -> tuple[Labels, ...]:
        return tuple(map(self.whole.lines.__getitem__, self.columns))

    def __len__(self) -> int:
        return len(self.columns)


@dataclass(frozen=True, slots=True)
class Page:
    """One scrape of one target, or a push, a rule's result or a piece of an import.

    values has a float per line of the layout ('d'). times_ms is None when all were taken at
    at_ms; a page that brought its own timestamps has one per line ('q').
    A series' labels are target.merged(line).
    """

    target: Labels
    layout: Layout
    at_ms: int
    values: "array[float]"
    times_ms: "array[int] | None" = None

    def __post_init__(self) -> None:
        if len(self.values) != len(self.layout) or (
            self.times_ms is not None and len(self.times_ms) != len(self.layout)
        ):
            raise ValueError(f"{len(self.values)} values for {len(self.layout)} lines")

    @classmethod
    def of(cls, target: Labels, at_ms: int, lines: Mapping[Labels, float]) -> "Page":
        """A page from a few lines and their values, where nothing is shared with a last one."""
        return cls(target, Layout(tuple(lines)), at_ms, array("d", lines.values()))


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert as rules send and the bridge receives it (Alertmanager API v2). Times in seconds."""

    labels: Labels
    annotations: Labels
    starts_at: float
    ends_at: float | None = None
    generator_url: str = ""

    def resolved(self, now: float) -> bool:
        return self.ends_at is not None and self.ends_at <= now


def lines_of(series: Sequence[Mapping[str, str]]) -> tuple[Labels, ...]:
    """Label sets for a Layout's lines, empty values kept (they take a target's label away)."""
    return tuple(Labels(sorted(labels.items())) for labels in series)
