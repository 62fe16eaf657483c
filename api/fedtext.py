"""Samples as a page to be scraped: Prometheus' text format and OpenMetrics, with timestamps."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from fleetpulse.model import Metadata
from fleetpulse.promql.gofloat import format_g, format_openmetrics
from fleetpulse.values import is_label_name, is_metric_name

_is_metric_name, _is_label_name = (
    lru_cache(10_000)(is_metric_name),
    lru_cache(10_000)(is_label_name),
)
_TOTAL = "_total"
# What a name that is a word cannot have at its place.
_ODD = re.compile(r"[^a-zA-Z0-9_]|^[0-9]")


@dataclass(frozen=True, slots=True)
class Style:
    """unknown: the type of what is none of those known. end: the last line."""

    content_type: str
    unknown: str
    end: str
    value: Callable[[float], str]
    time: Callable[[int], str]
    openmetrics: bool


def _seconds(at_ms: int) -> str:
    return f"{at_ms / 1000:.3f}"


TEXT = Style("text/plain; version=0.0.4; charset=utf-8", "untyped", "", format_g, str, False)
OPENMETRICS = Style(
    "application/openmetrics-text; version=1.0.0; charset=utf-8",
    "unknown",
    "# EOF\n",
    format_openmetrics,
    _seconds,
    True,
)


@dataclass(frozen=True, slots=True)
class Format:
    """How a page is written. escaping: of names that are no words; empty for underscores."""

    style: Style
    escaping: str = ""

    def head(self, name: str, known: Mapping[str, Metadata]) -> str:
        """The line that comes before a metric's samples.

        Counters and gauges have their type. Parts of histograms and summaries have none, as all
        of them need not be there, or of the same target.
        """
        kind = _kind(name, known)
        if self.style.openmetrics and kind == "counter":
            # The family of a counter goes without its ending, and a counter has one.
            kind = kind if name.endswith(_TOTAL) else self.style.unknown
            name = name.removesuffix(_TOTAL) if kind == "counter" else name
        return f"# TYPE {self._name(name)} {kind or self.style.unknown}\n"

    def line(self, name: str, labels: Sequence[tuple[str, str]], value: float, at_ms: int) -> str:
        pairs = [f'{self._label(label)}="{_escaped(text)}"' for label, text in labels]
        head = self._name(name)
        if head.startswith('"'):  # then it stands among the labels
            pairs, head = [head, *pairs], ""
        inner = f"{{{','.join(pairs)}}}" if pairs else ""
        return f"{head}{inner} {self.style.value(value)} {self.style.time(at_ms)}\n"

    def _name(self, name: str) -> str:
        return name if _is_metric_name(name) else self._odd(name)

    def _label(self, name: str) -> str:
        return name if _is_label_name(name) else self._odd(name)

    def _odd(self, name: str) -> str:
        """A name that is no word, as Prometheus' schemes have it (common/model, EscapeName)."""
        if self.escaping == "allow-utf-8":
            return f'"{_escaped(name)}"'
        if self.escaping == "values":
            return "U__" + _ODD.sub(lambda found: f"_{ord(found[0]):x}_", name.replace("_", "__"))
        return _ODD.sub("_", name)


@lru_cache(10_000)  # the same few values stand on most lines
def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _kind(name: str, known: Mapping[str, Metadata]) -> str:
    """counter or gauge, empty for all else. OpenMetrics names a counter without its ending."""
    told = known.get(name)
    if told is None and name.endswith(_TOTAL):
        told = known.get(name.removesuffix(_TOTAL))
        return "counter" if told is not None and told.type == "counter" else ""
    return told.type if told is not None and told.type in ("counter", "gauge") else ""
