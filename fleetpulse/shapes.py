"""What the pages of a target have in common, and the fast way to read one more of them.

A page that comes again differs from the last one in its values alone: comments are the same, and
each line of a sample begins with the same text. All of that is checked, in C, a page at a time.
benchmarks/exposition_read.py measures it.
"""

import re
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import compress

from pydantic_core import from_json

from fleetpulse.model import Layout, Metadata
from fleetpulse.openmetrics import read_value

# Signs that float() takes in or around a number and Prometheus does not.
_ODD = (b"_", b"\v", b"\f")
_MINUS_ZERO = re.compile(rb"(?<![eE])-0(?![0-9.eE])")


class Frame:
    """A page without its values: heads, the text before each value and a space; said, all other
    lines, the comments; which lines are heads. Equal frames are equal pages but for the values.
    """

    __slots__ = ("heads", "mask", "said")

    def __init__(self, heads: Iterable[bytes], said: Iterable[bytes], mask: bytes) -> None:
        self.heads, self.said, self.mask = tuple(heads), tuple(said), mask

    def __hash__(self) -> int:
        return hash((self.heads, self.said))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Frame)
            and self.mask == other.mask
            and self.heads == other.heads
            and self.said == other.said
        )

    @classmethod
    def guess(cls, body: bytes) -> "Frame":
        """Of a page in which nothing is unusual: a value after the last space of each line."""
        heads, said, mask = [], [], bytearray()
        for line in body.split(b"\n"):
            is_sample = bool(line) and line[0] != 35  # '#'
            mask.append(is_sample)
            if is_sample:
                heads.append(line[: line.rfind(b" ") + 1])
            else:
                said.append(line)
        return cls(heads, said, bytes(mask))


class Shape:
    """A frame and what becomes of it; shared between targets.

    layout: the lines that are kept, then the reader's extra lines. picked: which samples of the
    page the kept lines are. repeated: which samples are of a line that the page has had already,
    or of an extra line. metadata: what the comments say. openmetrics: the format it was read as.
    """

    __slots__ = (
        "__weakref__", "_others", "_rest", "frame", "layout", "metadata",
        "openmetrics", "picked",
        "repeated",
    )  # fmt: skip

    def __init__(
        self,
        frame: Frame,
        layout: Layout,
        picked: Sequence[int],
        repeated: Sequence[int],
        metadata: Mapping[str, Metadata],
        openmetrics: bool,
    ) -> None:
        self.frame, self.layout, self.metadata = frame, layout, metadata
        self.openmetrics = openmetrics
        count = len(frame.heads)
        # A range takes no memory, and there may be a shape for each target.
        self.picked = range(count) if list(picked) == list(range(count)) else picked
        self.repeated = repeated
        self._others = frame.mask.translate(bytes([1]) + bytes(255))
        text = sum(map(len, frame.heads)) + sum(map(len, frame.said))
        self._rest = text + len(frame.mask) - 1 - max(0, count - 1)

    def values(self, body: bytes, *, openmetrics: bool) -> "array[float] | None":
        """The kept values if the page is of this shape and has nothing unusual; else None."""
        if openmetrics != self.openmetrics:
            return None
        frame, lines = self.frame, body.split(b"\n")
        if len(lines) != len(frame.mask) or tuple(compress(lines, self._others)) != frame.said:
            return None
        raw = list(map(bytes.removeprefix, compress(lines, frame.mask), frame.heads))
        joined = b",".join(raw)
        # Else a line that is only a number could pass for one with its head taken off.
        if len(joined) + self._rest != len(body):
            return None
        values = _floats(raw, joined, openmetrics)
        if values is None or isinstance(self.picked, range):
            return values
        return array("d", [values[place] for place in self.picked])


def _floats(raw: Sequence[bytes], joined: bytes, openmetrics: bool) -> "array[float] | None":
    """The values if each is a number as Prometheus reads it; joined has a comma between them."""
    if openmetrics and (b" " in joined or b"\t" in joined):
        return None
    values = _as_json(joined, len(raw)) or _one_by_one(raw, joined)
    if values is None:
        return None
    if b"\r" in joined and any(b"\r" in text[:-1] for text in raw):
        return None
    total = sum(values)
    if total - total != 0 and not _all_proper(raw, values):
        return None
    return values


def _as_json(joined: bytes, count: int) -> "array[float] | None":
    """Nearly all numbers are JSON's too, and pydantic's parser takes a sixth of float()'s time.

    It knows fewer, and but for true, false and the sign of -0 takes them the same way, bit for bit.
    """
    if b"u" in joined or b"s" in joined or (b"-0" in joined and _MINUS_ZERO.search(joined)):
        return None
    try:
        values = array("d", from_json(b"[%b]" % joined))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
    return values if len(values) == count else None


def _one_by_one(raw: Sequence[bytes], joined: bytes) -> "array[float] | None":
    try:
        values = array("d", map(float, raw))
    except ValueError:
        return None
    return None if any(sign in joined for sign in _ODD) else values


def _all_proper(raw: Sequence[bytes], values: Iterable[float]) -> bool:
    try:
        for text, value in zip(raw, values, strict=True):
            if value - value != 0:  # NaN and infinities
                read_value(text.strip())
    except ValueError:
        return False
    return True
