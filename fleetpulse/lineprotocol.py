"""Line protocol, a page at a time: measurement = metric name, tags = labels.

`name,tag=text,… value=1.5 1700000000000`, times in milliseconds. A line is three parts: what the
layout gives (shared by all targets of the same shape), what the target gives (one text a page),
and the value. Only the value is made anew.

A staleness marker is the field `stale=true` instead of value; NaN and the infinities, for which the
format has no number, are the field `special="NaN"`, `"+Inf"` or `"-Inf"`.

Two dialects. InfluxDB has no line break in a tag, no backslash at its end, no measurement that
begins with # and no tag called `time` or like one of the fields: there stands a character of
Unicode's private use in or behind them (Influx; told() takes it away again). VictoriaMetrics reads
a doubled backslash as one (Plain), and has floats only: what is no number is left out and counted.
Format: https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
"""

import math
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fleetpulse.model import METRIC_NAME, Labels, Layout, Page, Part, is_stale

FIELDS = ("value", "stale", "special")
SPECIAL = {"NaN": math.nan, "+Inf": math.inf, "-Inf": -math.inf}
# What the windows of a downsampled series are written as.
WINDOW_FIELDS = ("min", "max", "sum", "count", "last", "increase")

_LINE_BREAK, _BACKSLASH, _HASH, _MARK = "\ue00a", "\ue05c", "\ue023", "\ue000"
_TOLD = str.maketrans({_LINE_BREAK: "\n", _BACKSLASH: "\\", _HASH: "#", _MARK: None})
# InfluxDB's own, and those that a query could not tell from a field.
_TAKEN = {"time", "_time", "_field", "_measurement", *FIELDS, *WINDOW_FIELDS}
_IN_NAME = str.maketrans({",": "\\,", " ": "\\ "})
_IN_TAG = str.maketrans({",": "\\,", " ": "\\ ", "=": "\\="})


def stored(text: str) -> str:
    """A label's value, or part of a name, as InfluxDB has it."""
    text = text.replace("\n", _LINE_BREAK)
    return text[:-1] + _BACKSLASH if text.endswith("\\") else text


def stored_measurement(name: str) -> str:
    name = stored(name)
    return _HASH + name[1:] if name.startswith("#") else name


def stored_tag(name: str) -> str:
    return stored(name) + (_MARK if name in _TAKEN else "")


def told(text: str) -> str:
    """What was given to one of the functions above."""
    return text if text.isascii() else text.translate(_TOLD)


class Dialect(Protocol):
    """How texts and values are written. Texts come out escaped."""

    def measurement(self, name: str) -> str: ...
    def tag(self, name: str) -> str: ...
    def text(self, text: str) -> str: ...
    def field(self, value: float) -> str:
        """Of a value that is no number, the whole field; empty where there is none for it."""


class Influx:
    """InfluxDB 1, 2 and 3. A backslash is itself but before a character that it escapes."""

    def measurement(self, name: str) -> str:
        return stored_measurement(name).translate(_IN_NAME)

    def tag(self, name: str) -> str:
        return stored_tag(name).translate(_IN_TAG)

    def text(self, text: str) -> str:
        return stored(text).translate(_IN_TAG)

    def field(self, value: float) -> str:
        if is_stale(value):
            return "stale=true"
        return f'special="{"NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"}"'


class Plain:
    """VictoriaMetrics and its like. A line break is the two characters `\\n`."""

    # A backslash is itself but before another, before an escaped character and at the end.
    _BACKSLASH = re.compile(r"\\(?=[\\ ,=]|\Z)")
    _LINE_BREAKS = str.maketrans({"\n": "\\n", "\r": "\\r"})

    def measurement(self, name: str) -> str:
        return self._doubled(name).translate(_IN_NAME)

    def tag(self, name: str) -> str:
        return self._doubled(name).translate(_IN_TAG)

    text = tag

    def field(self, value: float) -> str:  # noqa: ARG002 - floats only
        return ""

    def _doubled(self, text: str) -> str:
        return self._BACKSLASH.sub(r"\\\\", text).translate(self._LINE_BREAKS)


# A layout's texts; None for a line that changes a label of the target, which is written in full.
_Heads = Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Encoded:
    """lines: each ends with a line feed. left_out: values that the format does not have."""

    lines: list[str]
    left_out: int


class LineEncoder:
    """Turns pages into lines. Remembers the texts of the last layouts. Safe from any thread."""

    def __init__(self, dialect: Dialect, layouts: int = 1024) -> None:
        self._dialect = dialect
        self._lock = threading.Lock()
        self._heads: OrderedDict[tuple[bytes, frozenset[str]], _Heads] = OrderedDict()
        self._most = layouts

    def encode(self, page: Page) -> Encoded:
        heads = self._heads_of(page)
        tail = self._tags(page.target)
        total = sum(page.values)
        # inf - inf and nan - nan are nan: one look at the sum tells of all values.
        if page.times_ms is None and total - total == 0 and None not in heads:
            between, end = f"{tail} value=", f" {page.at_ms}\n"
            lines = [
                f"{head}{between}{value!r}{end}"
                for head, value in zip(heads, page.values, strict=True)
            ]
            return Encoded(lines, 0)
        return self._encode_slowly(page, heads, tail)

    def _heads_of(self, page: Page) -> _Heads:
        layout = page.layout
        if isinstance(layout, Part):  # no two are alike, but their whole is the same again
            heads = self._heads_for(layout.whole, page.target)
            return [heads[column] for column in layout.columns]
        return self._heads_for(layout, page.target)

    def _heads_for(self, layout: Layout, target: Labels) -> _Heads:
        key = (layout.digest, frozenset(name for name, _ in target))
        with self._lock:
            heads = self._heads.get(key)
            if heads is None:
                heads = self._heads[key] = [self._head(line, key[1]) for line in layout.lines]
                if len(self._heads) > self._most:
                    self._heads.popitem(last=False)
            self._heads.move_to_end(key)
            return heads

    def _encode_slowly(self, page: Page, heads: _Heads, tail: str) -> Encoded:
        """The same where some value, time or line is out of the ordinary."""
        lines = []
        for index, value in enumerate(page.values):
            field = f"value={value!r}" if math.isfinite(value) else self._dialect.field(value)
            if field:
                head = heads[index]
                prefix = self._full(page, index) if head is None else head + tail
                at_ms = page.at_ms if page.times_ms is None else page.times_ms[index]
                lines.append(f"{prefix} {field} {at_ms}\n")
        return Encoded(lines, len(page.values) - len(lines))

    def _head(self, line: Labels, target_names: frozenset[str]) -> str | None:
        if any(not text or name in target_names for name, text in line):
            return None
        measurement = self._dialect.measurement(line.name)
        return measurement + self._tags(line.without(METRIC_NAME))

    def _full(self, page: Page, index: int) -> str:
        labels = page.target.merged(page.layout.lines[index])
        return self._dialect.measurement(labels.name) + self._tags(labels.without(METRIC_NAME))

    def _tags(self, labels: Labels) -> str:
        """`,name=text,…`; empty where there is no label."""
        tag, text = self._dialect.tag, self._dialect.text
        return "".join(f",{tag(name)}={text(value)}" for name, value in labels)
