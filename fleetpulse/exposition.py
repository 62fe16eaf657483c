"""Metrics pages: whole, line by line, and fast for pages that come again every few seconds.

A scraped page differs from its last one in the values alone. PageReader therefore splits each
line at its last space and compares what is on the left with the last page's; only when that
differs are lines parsed, and then only those never seen before. benchmarks/exposition_read.py
measures it.
"""

import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from fleetpulse.errors import ExpositionError
from fleetpulse.model import Labels, Layout, Metadata
from fleetpulse.openmetrics import OPENMETRICS, TEXT, LineReader, read_value

__all__ = [
    "BrokenPageError",
    "Exposition",
    "PageReader",
    "Reading",
    "Shape",
    "iter_samples",
    "read_page",
]

# Line number, prefix, the line as kept or None, value and own time in ms.
_Sample = tuple[int, bytes, Labels | None, float, int | None]
_MAX_KNOWN = 200_000  # prefixes that iter_samples remembers at a time
# Signs that float() takes in or around a number and Prometheus does not.
_ODD = (b"_", b"\v", b"\f")
_FOREIGN = (*_ODD, b"\t")
_SWEEP_AT = 10_000  # prefixes from which on PageReader looks for those to forget


@dataclass(frozen=True, slots=True)
class Exposition:
    """One page as read.

    lines: metric name and labels of each sample, in the page's order. values: 'd', one a line.
    times_ms: 'q', one a line, or None where no sample had a timestamp of its own.
    metadata: by the name in the TYPE, HELP and UNIT lines.
    """

    lines: tuple[Labels, ...]
    values: "array[float]"
    times_ms: "array[int] | None"
    metadata: Mapping[str, Metadata]


def read_page(body: bytes, *, at_ms: int, openmetrics: bool = False) -> Exposition:
    """The whole page, or ExpositionError for its first broken line.

    at_ms is the time of samples without one of their own, where others have one. Of two samples
    of the same series and time the first counts.
    """
    reader = LineReader(OPENMETRICS if openmetrics else TEXT, _without_empty, {})
    samples: dict[tuple[Labels, int | None], float] = {}
    for _, _, labels, value, time_ms in reader.read(_split(body)):
        samples.setdefault((labels, time_ms), value)
    times = [time_ms for _, time_ms in samples]
    return Exposition(
        lines=tuple(labels for labels, _ in samples),
        values=array("d", samples.values()),
        times_ms=_filled(times, at_ms),
        metadata=reader.comments.metadata,
    )


def iter_samples(
    lines: Iterable[bytes], *, openmetrics: bool
) -> Iterator[tuple[int, Labels, float, int | None]]:
    """Line number, labels, value and time in ms of each sample, without holding the page.

    Lines may keep their line ends. ExpositionError comes when its line is reached.
    """
    known: dict[bytes, Labels] = {}
    reader = LineReader(OPENMETRICS if openmetrics else TEXT, _without_empty, known)
    for number, _, labels, value, time_ms in reader.read(line.rstrip(b"\n") for line in lines):
        yield number, labels, value, time_ms
        if len(known) > _MAX_KNOWN:
            known.clear()


def _split(body: bytes) -> list[bytes]:
    lines = body.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def _without_empty(labels: Labels) -> Labels:
    return labels if all(value for _, value in labels) else Labels.from_pairs(labels)


def _filled(times: Sequence[int | None], at_ms: int) -> "array[int] | None":
    if all(time_ms is None for time_ms in times):
        return None
    return array("q", [at_ms if time_ms is None else time_ms for time_ms in times])


class Shape:
    """What pages that differ only in their values have in common; shared between targets.

    prefixes: the text before each value, in the page's order. layout: the lines that are kept,
    then the reader's extra lines. picked: which samples of the page the kept lines are. repeated:
    which samples are of a line that the page has had already, or of an extra line.
    """

    __slots__ = ("__weakref__", "layout", "pick", "picked", "prefixes", "repeated")

    def __init__(
        self,
        prefixes: tuple[bytes, ...],
        layout: Layout,
        picked: list[int],
        repeated: list[int],
    ) -> None:
        self.prefixes, self.layout, self.picked = prefixes, layout, picked
        self.repeated = repeated
        self.pick = _picker(picked, len(prefixes))


def _picker(picked: list[int], total: int) -> "Callable[[Sequence[float]], Iterable[float]]":
    if picked == list(range(total)):
        return lambda values: values
    if len(picked) < 2:  # an itemgetter of one item gives that item, not a tuple
        return lambda values: [values[i] for i in picked]
    return itemgetter(*picked)


class Comments:
    """The comment lines of a page, and what they say; shared between targets."""

    __slots__ = ("__weakref__", "lines", "metadata")

    def __init__(self, lines: tuple[bytes, ...], metadata: Mapping[str, Metadata]) -> None:
        self.lines, self.metadata = lines, metadata


@dataclass(frozen=True, slots=True)
class Reading:
    """One page of one target, to be handed to read() with the target's next page.

    values: 'd', one a kept line, without the extra lines. own_times: per kept line its own
    timestamp in ms or None; None where no line has one. scraped: samples before any was dropped.
    again: line, value and own timestamp of each further sample of a kept line that may be of
    another time than the line's first: either has a timestamp of its own.
    """

    shape: Shape
    comments: Comments
    values: "array[float]"
    own_times: Sequence[int | None] | None
    scraped: int
    again: Sequence[tuple[Labels, float, int | None]] = ()


class BrokenPageError(ExpositionError):
    """A page that cannot be read to its end.

    scraped: the samples up to there, the one refused by keep included. lines: those kept.
    """

    def __init__(self, err: ExpositionError, scraped: int, lines: Sequence[Labels]) -> None:
        super().__init__(err.line, str(err).partition(": ")[2])
        self.scraped, self.lines = scraped, lines


class PageReader:
    """Reads pages of many targets. Not for use from several threads at once.

    keep is asked once for every series prefix never seen: it gives the line of the layout, None
    to drop it, or raises ValueError to fail the page. Of two equal lines the first counts, and the
    extra lines, which end every layout, count before all.
    """

    def __init__(
        self,
        keep: Callable[[Labels], Labels | None] = lambda labels: labels,
        extra: tuple[Labels, ...] = (),
    ) -> None:
        self._keep, self._extra = keep, extra
        self._refused = False  # whether keep raised at the last line it was asked about
        self._known: dict[bytes, Labels | None] = {}
        self._prefixes: dict[bytes, bytes] = {}
        self._sweep_at = _SWEEP_AT
        self._layouts: weakref.WeakValueDictionary[tuple[Labels, ...], Layout] = (
            weakref.WeakValueDictionary()
        )
        self._shapes: weakref.WeakValueDictionary[tuple[bytes, ...], Shape] = (
            weakref.WeakValueDictionary()
        )
        self._comments: weakref.WeakValueDictionary[tuple[bytes, ...], Comments] = (
            weakref.WeakValueDictionary()
        )

    def read(
        self, body: bytes, last: Reading | None = None, *, openmetrics: bool = False
    ) -> Reading:
        """The page, or ExpositionError for its first broken line."""
        return self._read_alike(body, last, openmetrics) or self._read_anew(body, openmetrics)

    def _read_alike(self, body: bytes, last: Reading | None, openmetrics: bool) -> Reading | None:
        """The page if it has a known shape, most likely the last one's, and nothing unusual."""
        prefixes: list[bytes] = []
        raw: list[bytes] = []
        comments: list[bytes] = []
        for line in body.split(b"\n"):
            if line and line[0] != 35:  # '#'
                prefix, _, value = line.rpartition(b" ")
                prefixes.append(prefix)
                raw.append(value)
            elif line:
                comments.append(line)
        if openmetrics and not _is_closed(body):
            return None
        shape = self._known_shape(tuple(prefixes), last)
        noted = self._known_comments(tuple(comments), last)
        values = _floats(raw, _FOREIGN if openmetrics else _ODD)
        if shape is None or noted is None or values is None:
            return None
        return Reading(shape, noted, array("d", shape.pick(values)), None, len(values))

    def _known_shape(self, prefixes: tuple[bytes, ...], last: Reading | None) -> Shape | None:
        # Comparing with the last page's costs less than hashing all that the page holds.
        if last is not None and last.shape.prefixes == prefixes:
            return last.shape
        return self._shapes.get(prefixes)

    def _known_comments(self, lines: tuple[bytes, ...], last: Reading | None) -> Comments | None:
        if last is not None and last.comments.lines == lines:
            return last.comments
        return self._comments.get(lines)

    def _read_anew(self, body: bytes, openmetrics: bool) -> Reading:
        """Line by line, with memory for prefixes; finds or makes the shape."""
        self._sweep()
        reader = LineReader(OPENMETRICS if openmetrics else TEXT, self._ask, self._known)
        lines = _split(body)
        samples = self._all(reader.read(lines))
        prefixes = tuple(sample[1] for sample in samples)
        shape = self._shapes.get(prefixes)
        if shape is None:
            shape = self._new_shape(prefixes, [sample[2] for sample in samples])
        comments = tuple(line for line in lines if line[:1] == b"#")
        noted = self._comments.get(comments) or Comments(comments, reader.comments.metadata)
        self._comments[comments] = noted
        times = [samples[i][4] for i in shape.picked]
        return Reading(
            shape,
            noted,
            array("d", [samples[i][3] for i in shape.picked]),
            None if all(time_ms is None for time_ms in times) else times,
            len(samples),
            self._again(samples, shape),
        )

    def _ask(self, labels: Labels) -> Labels | None:
        self._refused = True
        kept = self._keep(labels)
        self._refused = False
        return kept

    def _all(self, samples: Iterator[_Sample]) -> list[_Sample]:
        read: list[_Sample] = []
        self._refused = False
        try:
            read.extend(samples)
        except ExpositionError as err:
            lines = [sample[2] for sample in read if sample[2] is not None]
            raise BrokenPageError(err, len(read) + self._refused, lines) from None
        return read

    def _again(
        self, samples: Sequence[_Sample], shape: Shape
    ) -> Sequence[tuple[Labels, float, int | None]]:
        stamped = {samples[i][2] for i in shape.picked if samples[i][4] is not None}
        return [
            (line, value, time_ms)
            for _, _, line, value, time_ms in (samples[place] for place in shape.repeated)
            if line is not None
            and (time_ms is not None or line in stamped)
            and line not in self._extra
        ]

    def _new_shape(self, prefixes: tuple[bytes, ...], lines: list[Labels | None]) -> Shape:
        places: dict[Labels, int] = {}
        taken = set(self._extra)
        repeated = []
        for place, line in enumerate(lines):
            if line is None:
                continue
            if line in taken:
                repeated.append(place)
            else:
                taken.add(line)
                places[line] = place
        ordered = (*places, *self._extra)
        layout = self._layouts.get(ordered) or Layout(ordered)
        self._layouts[ordered] = layout
        # Of equal prefixes only one object lives on, whatever page it came with.
        shared = tuple(self._prefixes.setdefault(prefix, prefix) for prefix in prefixes)
        shape = Shape(shared, layout, list(places.values()), repeated)
        self._shapes[shared] = shape
        return shape

    def _sweep(self) -> None:
        """Forgets prefixes that no living shape has, once they may be as many as the others."""
        if len(self._known) < self._sweep_at:
            return
        living = {prefix for shape in self._shapes.values() for prefix in shape.prefixes}
        self._known = {k: line for k, line in self._known.items() if k in living}
        self._prefixes = {prefix: prefix for prefix in living}
        self._sweep_at = max(_SWEEP_AT, 2 * len(self._known))


def _is_closed(body: bytes) -> bool:
    """Whether an OpenMetrics page ends as it should and has no empty line."""
    ended = body.endswith((b"# EOF\n", b"# EOF"))
    return ended and b"\n\n" not in body and not body.startswith(b"\n")


def _floats(raw: Sequence[bytes], odd: Sequence[bytes]) -> list[float] | None:
    """The values if each is a number as Go reads it; float() takes a few more."""
    try:
        values = [float(text) for text in raw]
    except ValueError:
        return None
    joined = b" ".join(raw)
    if any(sign in joined for sign in odd):
        return None
    if b"\r" in joined and not all(b"\r" not in text[:-1] for text in raw):
        return None
    total = sum(values)
    if total - total != 0 and not _all_proper(raw, values):
        return None
    return values


def _all_proper(raw: Sequence[bytes], values: Sequence[float]) -> bool:
    try:
        for text, value in zip(raw, values, strict=True):
            if value - value != 0:  # NaN and infinities
                read_value(text.strip())
    except ValueError:
        return False
    return True
