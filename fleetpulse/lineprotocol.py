"""Line protocol, a page at a time: measurement = metric name, tags = labels.

`name,tag=text,… value=1.5 1700000000000`, times in milliseconds. Tags stand in the order of their
names, as servers want them: a series is always the same text. A line is what the layout gives
(shared by all targets of the same shape), with the target's tags in between, which are made once a
page, and the value. Only the value is made anew.

A staleness marker is the field `stale=true` instead of value; NaN and the infinities, for which the
format has no number, are the field `special="NaN"`, `"+Inf"` or `"-Inf"`.

Two dialects. InfluxDB has no line break in a tag, no backslash at its end, no measurement that
begins with # and no tag called `time` or like one of the fields: there stands a character of
Unicode's private use in or behind them (Influx; told() takes it away again), and where a text has
one of those characters itself, another before it. VictoriaMetrics reads
a doubled backslash as one (Plain), and has floats only: what is no number is left out and counted.
Format: https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
"""

import math
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, Protocol, cast

from fleetpulse.model import METRIC_NAME, Labels, Layout, Page, Part, is_stale

FIELDS = ("value", "stale", "special")
SPECIAL = {"NaN": math.nan, "+Inf": math.inf, "-Inf": -math.inf}
# What the windows of a downsampled series are written as.
WINDOW_FIELDS = ("min", "max", "sum", "count", "last", "increase")

_LINE_BREAK, _BACKSLASH, _HASH, _MARK, _ITSELF = "\ue00a", "\ue05c", "\ue023", "\ue000", "\ue001"
_TOLD = {_LINE_BREAK: "\n", _BACKSLASH: "\\", _HASH: "#", _MARK: ""}
_OURS = re.compile(f"[{_LINE_BREAK}{_BACKSLASH}{_HASH}{_MARK}{_ITSELF}]")
_WRITTEN = re.compile(f"{_ITSELF}(.)|[{_LINE_BREAK}{_BACKSLASH}{_HASH}{_MARK}]", re.DOTALL)
# InfluxDB's own, and those that a query could not tell from a field.
_TAKEN = {"time", "_time", "_field", "_measurement", *FIELDS, *WINDOW_FIELDS}
_IN_NAME = str.maketrans({",": "\\,", " ": "\\ "})
_IN_TAG = str.maketrans({",": "\\,", " ": "\\ ", "=": "\\="})


def stored(text: str) -> str:
    """A label's value, or part of a name, as InfluxDB has it."""
    if not text.isascii():
        text = _OURS.sub(lambda found: _ITSELF + found[0], text)
    text = text.replace("\n", _LINE_BREAK)
    return text[:-1] + _BACKSLASH if text.endswith("\\") else text


def stored_measurement(name: str) -> str:
    name = stored(name)
    return _HASH + name[1:] if name.startswith("#") else name


def stored_tag(name: str) -> str:
    return stored(name) + (_MARK if name in _TAKEN else "")


def told(text: str) -> str:
    """What was given to one of the functions above."""
    if text.isascii():
        return text
    return _WRITTEN.sub(lambda found: found[1] or _TOLD[found[0]], text)


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


# A run of the target's tags, from one place up to another, or the text between two such.
_Piece = tuple[int, int] | str
_Pieces = tuple[_Piece, ...]
# A line of a layout: the text before the target's tags, which way those stand in it (a number for
# each such way: few lines differ), and the text after them and before the value.
_Head = tuple[str, int, str]


class _Known(NamedTuple):
    """Of a layout with targets of some label names.

    heads: None for a line that changes a label of the target, which is written in full.
    ways: how the target's tags stand in lines, by number.
    """

    heads: Sequence[_Head | None]
    ways: Sequence[_Pieces]


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
        self._known: OrderedDict[tuple[bytes, tuple[str, ...]], _Known] = OrderedDict()
        self._most = layouts

    def encode(self, page: Page) -> Encoded:
        heads, ways = self._known_of(page)
        tags = _TargetTags(self._dialect, page.target, ways)
        total = sum(page.values)
        # inf - inf and nan - nan are nan: one look at the sum tells of all values.
        if page.times_ms is None and total - total == 0 and None not in heads:
            end = f" {page.at_ms}\n"
            whole = cast(Sequence[_Head], heads)
            lines = [
                f"{before}{tags[way]}{after} value={value!r}{end}"
                for (before, way, after), value in zip(whole, page.values, strict=True)
            ]
            return Encoded(lines, 0)
        return self._encode_slowly(page, heads, tags)

    def _known_of(self, page: Page) -> _Known:
        layout = page.layout
        if isinstance(layout, Part):  # no two are alike, but their whole is the same again
            heads, ways = self._known_for(layout.whole, page.target)
            return _Known([heads[column] for column in layout.columns], ways)
        return self._known_for(layout, page.target)

    def _known_for(self, layout: Layout, target: Labels) -> _Known:
        key = (layout.digest, tuple(name for name, _ in target))
        with self._lock:
            known = self._known.get(key)
            if known is None:
                known = self._known[key] = self._look_at(layout, key[1])
                if len(self._known) > self._most:
                    self._known.popitem(last=False)
            self._known.move_to_end(key)
            return known

    def _look_at(self, layout: Layout, target: Sequence[str]) -> _Known:
        ways: dict[_Pieces, int] = {}
        heads = [self._head(line, target, ways) for line in layout.lines]
        return _Known(heads, list(ways))

    def _encode_slowly(
        self, page: Page, heads: Sequence[_Head | None], tags: "_TargetTags"
    ) -> Encoded:
        """The same where some value, time or line is out of the ordinary."""
        lines = []
        for index, value in enumerate(page.values):
            field = f"value={value!r}" if math.isfinite(value) else self._dialect.field(value)
            if field:
                head = heads[index]
                series = self._full(page, index) if head is None else tags.within(head)
                at_ms = page.at_ms if page.times_ms is None else page.times_ms[index]
                lines.append(f"{series} {field} {at_ms}\n")
        return Encoded(lines, len(page.values) - len(lines))

    def _head(self, line: Labels, target: Sequence[str], ways: dict[_Pieces, int]) -> _Head | None:
        """ways: those known so far, each with its number; takes a new one in."""
        if any(not text or name in target for name, text in line):
            return None
        own = {name: text for name, text in line if name != METRIC_NAME}
        pieces: list[_Piece] = []
        for is_own, names in groupby(sorted((*own, *target)), own.__contains__):
            if is_own:
                pieces.append("".join(_tag(self._dialect, name, own[name]) for name in names))
            else:
                run = list(names)
                first = target.index(run[0])
                pieces.append((first, first + len(run)))
        before = pieces.pop(0) if pieces and isinstance(pieces[0], str) else ""
        after = pieces.pop() if pieces and isinstance(pieces[-1], str) else ""
        way = ways.setdefault(tuple(pieces), len(ways))
        return f"{self._dialect.measurement(line.name)}{before}", way, str(after)

    def _full(self, page: Page, index: int) -> str:
        labels = page.target.merged(page.layout.lines[index])
        tags = (_tag(self._dialect, name, text) for name, text in labels if name != METRIC_NAME)
        return self._dialect.measurement(labels.name) + "".join(tags)


class _TargetTags(dict[int, str]):
    """A target's tags as they stand between those of lines; each way made when first asked for."""

    def __init__(self, dialect: Dialect, target: Labels, ways: Sequence[_Pieces]) -> None:
        super().__init__()
        self._each, self._ways = [_tag(dialect, name, text) for name, text in target], ways

    def __missing__(self, way: int) -> str:
        text = self[way] = "".join(
            piece if isinstance(piece, str) else "".join(self._each[piece[0] : piece[1]])
            for piece in self._ways[way]
        )
        return text

    def within(self, head: _Head) -> str:
        before, way, after = head
        return f"{before}{self[way]}{after}"


def _tag(dialect: Dialect, name: str, text: str) -> str:
    """`,name=text`."""
    return f",{dialect.tag(name)}={dialect.text(text)}"
