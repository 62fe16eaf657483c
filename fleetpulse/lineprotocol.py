"""InfluxDB's line protocol, a page at a time: measurement = metric name, tags = labels.

`name,tag=text,… value=1.5 1700000000000`, times in milliseconds; a staleness marker is the field
`stale=true` instead. A line is three parts: what the layout gives (shared by all targets of the
same shape), what the target gives (one text a page), and the value. Only the value is made anew.

The format has no NaN and no infinity: such values are left out and counted. It has no line break
in a tag either: there stand the two characters `\\n`.
Format: https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
"""

import math
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from fleetpulse.model import METRIC_NAME, Labels, Layout, Page, Part, is_stale

# A backslash is itself but before another, before an escaped character and at the end.
_BACKSLASH = re.compile(r"\\(?=[\\ ,=]|\Z)")
_LINE_BREAKS = str.maketrans({"\n": "\\n", "\r": "\\r"})
_IN_NAME = str.maketrans({",": "\\,", " ": "\\ "})
_IN_TAG = str.maketrans({",": "\\,", " ": "\\ ", "=": "\\="})

# A layout's texts; None for a line that changes a label of the target, which is written in full.
_Heads = Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Encoded:
    """lines: each ends with a line feed. left_out: values that the format does not have."""

    lines: list[str]
    left_out: int


class LineEncoder:
    """Turns pages into lines. Remembers the texts of the last layouts. Safe from any thread."""

    def __init__(self, layouts: int = 1024) -> None:
        self._lock = threading.Lock()
        self._heads: OrderedDict[tuple[bytes, frozenset[str]], _Heads] = OrderedDict()
        self._most = layouts

    def encode(self, page: Page) -> Encoded:
        heads = self._heads_of(page)
        tail = _tags(page.target)
        total = sum(page.values)
        # inf - inf and nan - nan are nan: one look at the sum tells of all values.
        if page.times_ms is None and total - total == 0 and None not in heads:
            between, end = f"{tail} value=", f" {page.at_ms}\n"
            lines = [
                f"{head}{between}{value!r}{end}"
                for head, value in zip(heads, page.values, strict=True)
            ]
            return Encoded(lines, 0)
        return _encode_slowly(page, heads, tail)

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
                heads = self._heads[key] = [_head(line, key[1]) for line in layout.lines]
                if len(self._heads) > self._most:
                    self._heads.popitem(last=False)
            self._heads.move_to_end(key)
            return heads


def _encode_slowly(page: Page, heads: _Heads, tail: str) -> Encoded:
    """The same where some value, time or line is out of the ordinary."""
    lines = []
    for index, value in enumerate(page.values):
        field = _field(value)
        if field:
            head = heads[index]
            prefix = _full(page, index) if head is None else head + tail
            at_ms = page.at_ms if page.times_ms is None else page.times_ms[index]
            lines.append(f"{prefix} {field} {at_ms}\n")
    return Encoded(lines, len(page.values) - len(lines))


def _field(value: float) -> str:
    if math.isfinite(value):
        return f"value={value!r}"
    return "stale=true" if is_stale(value) else ""


def _head(line: Labels, target_names: frozenset[str]) -> str | None:
    if any(not text or name in target_names for name, text in line):
        return None
    return _measurement(line.name) + _tags(line.without(METRIC_NAME))


def _full(page: Page, index: int) -> str:
    labels = page.target.merged(page.layout.lines[index])
    return _measurement(labels.name) + _tags(labels.without(METRIC_NAME))


def _measurement(name: str) -> str:
    return _BACKSLASH.sub(r"\\\\", name).translate(_LINE_BREAKS).translate(_IN_NAME)


def _tags(labels: Labels) -> str:
    """`,name=text,…`; empty where there is no label."""
    return "".join(f",{_tag(name)}={_tag(text)}" for name, text in labels)


def _tag(text: str) -> str:
    return _BACKSLASH.sub(r"\\\\", text).translate(_LINE_BREAKS).translate(_IN_TAG)
