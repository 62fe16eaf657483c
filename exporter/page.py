"""Families and values as text: the text format 0.0.4 and OpenMetrics 1.0.

What the same families, labels and order have in common is made once and kept as a template; a page
is then one formatting operation a collector, with nothing done a sample.

https://prometheus.io/docs/instrumenting/exposition_formats/
https://github.com/prometheus/OpenMetrics/blob/v1.0.0/specification/OpenMetrics.md
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from exporter.families import Family

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})
_TOTAL = "_total"
_BOUNDS = {"histogram": "le", "summary": "quantile"}

Key = tuple[str, ...]
# A family, then the keys of its rows; then the next family.
Slots = Sequence[Family | Key]


@dataclass(frozen=True, slots=True)
class Style:
    """How a page is written. labels are added to each series that has none such."""

    openmetrics: bool = False
    labels: tuple[tuple[str, str], ...] = ()

    @classmethod
    def labelled(cls, labels: Mapping[str, str]) -> "Style":
        return cls(labels=tuple(sorted(labels.items())))

    @property
    def content_type(self) -> str:
        return OPENMETRICS_TYPE if self.openmetrics else TEXT_TYPE


TEXT, OPENMETRICS = Style(), Style(openmetrics=True)


class Shape:
    """The families of a part of a page with the labels of their rows, in their order."""

    def __init__(self, slots: Slots) -> None:
        self.slots = list(slots)
        self.series: list[tuple[Family, Key]] = []
        for slot in slots:
            if isinstance(slot, Family):
                family = slot
            else:
                self.series.append((family, slot))
        self._templates: dict[Style, str] = {}

    def families(self) -> list[Family]:
        return [slot for slot in self.slots if isinstance(slot, Family)]

    def template(self, style: Style) -> str:
        """A line a series with `%s` for its value, below the head of its family."""
        found = self._templates.get(style)
        if found is None:
            found = self._templates[style] = "".join(_lines(self.series, style))
        return found


class Part(NamedTuple):
    """A shape and a value for each of its series; it never changes."""

    shape: Shape
    values: tuple[float, ...]

    def text(self, style: Style) -> str:
        return self.shape.template(style) % self.values


def render(parts: Iterable[Part], style: Style) -> bytes:
    text = "".join([part.text(style) for part in parts])
    return (text + "# EOF\n" if style.openmetrics else text).encode()


def _lines(series: Iterable[tuple[Family, Key]], style: Style) -> Iterable[str]:
    above = None
    for family, key in series:
        if family is not above:
            above = family
            yield _head(family, style).replace("%", "%%")
        yield _series(family, key, style).replace("%", "%%") + " %s\n"


def _head(family: Family, style: Style) -> str:
    name, kind = family.name, family.type
    if style.openmetrics:
        # There, a counter's family goes without _total, and only with it is it a counter.
        if kind == "counter" and name.endswith(_TOTAL):
            name = name.removesuffix(_TOTAL)
        elif kind in ("counter", "untyped"):
            return _head_lines(name, "unknown", family.help.translate(_ESCAPES))
        return _head_lines(name, kind, family.help.translate(_ESCAPES))
    return _head_lines(name, kind, family.help.translate(_HELP_ESCAPES))


def _head_lines(name: str, kind: str, help_text: str) -> str:
    return f"# HELP {name} {help_text}\n# TYPE {name} {kind}\n"


def _series(family: Family, key: Key, style: Style) -> str:
    name, pairs = family.sample(key)
    if style.openmetrics and family.type in _BOUNDS:
        pairs = [(label, _bound(family, label, value)) for label, value in pairs]
    own = {label for label, _ in pairs}
    pairs = [*((label, value) for label, value in style.labels if label not in own), *pairs]
    inner = ",".join(f'{label}="{value.translate(_ESCAPES)}"' for label, value in pairs)
    return f"{name}{{{inner}}}" if inner else name


def _bound(family: Family, label: str, value: str) -> str:
    """OpenMetrics wants `1.0` where the older format has `1`."""
    whole = label == _BOUNDS[family.type] and value.removeprefix("-").isdecimal()
    return f"{value}.0" if whole else value
