"""Metrics pages: whole, line by line, and fast for pages that come again every few seconds.

A scraped page differs from its last one in the values alone. PageReader therefore compares all
else with the last page (shapes.py); only when that differs are lines parsed, and then only those
never seen before.
"""

import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fleetpulse.errors import ExpositionError
from fleetpulse.linereader import Known, LineReader
from fleetpulse.model import Labels, Layout, Metadata
from fleetpulse.openmetrics import OPENMETRICS, TEXT
from fleetpulse.shapes import Frame, Shape

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
    reader = LineReader(OPENMETRICS if openmetrics else TEXT, _without_empty, Known[Labels]().of)
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
    known: Known[Labels] = Known()
    reader = LineReader(OPENMETRICS if openmetrics else TEXT, _without_empty, known.of)
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


@dataclass(frozen=True, slots=True)
class Reading:
    """One page of one target, to be handed to read() with the target's next page.

    values: 'd', one a kept line, without the extra lines. own_times: per kept line its own
    timestamp in ms or None; None where no line has one. scraped: samples before any was dropped.
    again: line, value and own timestamp of each further sample of a kept line that may be of
    another time than the line's first: either has a timestamp of its own.
    """

    shape: Shape
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
        self._known: dict[bool, Known[Labels | None]] = {False: Known(), True: Known()}
        self._texts: dict[bytes, bytes] = {}  # lines and beginnings of lines, each kept once
        self._sweep_at = _SWEEP_AT
        self._layouts: weakref.WeakValueDictionary[tuple[Labels, ...], Layout] = (
            weakref.WeakValueDictionary()
        )
        self._shapes: weakref.WeakValueDictionary[Frame, Shape] = weakref.WeakValueDictionary()

    @property
    def known(self) -> int:
        """How many series prefixes are remembered."""
        return sum(map(len, self._known.values()))

    @property
    def shapes(self) -> int:
        """How many pages are known but for their values."""
        return len(self._shapes)

    def read(
        self, body: bytes, last: Reading | None = None, *, openmetrics: bool = False
    ) -> Reading:
        """The page, or ExpositionError for its first broken line."""
        return self._read_alike(body, last, openmetrics) or self._read_anew(body, openmetrics)

    def _read_alike(self, body: bytes, last: Reading | None, openmetrics: bool) -> Reading | None:
        """The page if it has a known shape, most likely the last one's, and nothing unusual."""
        if openmetrics and not _is_closed(body):
            return None
        if last is not None:
            values = last.shape.values(body, openmetrics=openmetrics)
            if values is not None:
                return Reading(last.shape, values, None, len(last.shape.frame.heads))
        shape = self._shapes.get(Frame.guess(body))
        values = None if shape is None else shape.values(body, openmetrics=openmetrics)
        if shape is None or values is None:
            return None
        return Reading(shape, values, None, len(shape.frame.heads))

    def _read_anew(self, body: bytes, openmetrics: bool) -> Reading:
        """Line by line, with memory for prefixes; finds or makes the shape."""
        self._sweep()
        known = self._known[openmetrics]
        reader = LineReader(OPENMETRICS if openmetrics else TEXT, self._ask, known.of)
        lines = body.split(b"\n")
        samples = self._all(reader.read(_split(body)))
        frame = _frame(lines, samples)
        shape = self._shapes.get(frame)
        if shape is None or shape.openmetrics != openmetrics:
            kept = [sample[2] for sample in samples]
            shape = self._new_shape(frame, kept, reader.comments.metadata, openmetrics)
        times = [samples[i][4] for i in shape.picked]
        return Reading(
            shape,
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

    def _new_shape(
        self,
        frame: Frame,
        lines: list[Labels | None],
        metadata: Mapping[str, Metadata],
        openmetrics: bool,
    ) -> Shape:
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
        # Of equal texts only one object lives on, whatever page it came with.
        once = self._texts.setdefault
        frame = Frame(
            (once(text, text) for text in frame.heads),
            (once(text, text) for text in frame.said),
            frame.mask,
        )
        shape = Shape(frame, layout, list(places.values()), repeated, metadata, openmetrics)
        self._shapes[frame] = shape
        return shape

    def _sweep(self) -> None:
        """Forgets what no living shape has, once that may be as much as what they have."""
        if max(self.known, len(self._texts)) < self._sweep_at:
            return
        frames = [shape.frame for shape in self._shapes.values()]
        living = {text for frame in frames for text in (*frame.heads, *frame.said)}
        self._texts = {text: text for text in living}
        for known in self._known.values():
            known.keep(lambda prefix: prefix + b" " in living)
        self._sweep_at = max(_SWEEP_AT, 2 * len(living))


def _frame(lines: Sequence[bytes], samples: Sequence[_Sample]) -> Frame:
    mask = bytearray(len(lines))
    for number, *_ in samples:
        mask[number - 1] = 1
    said = [line for line, is_sample in zip(lines, mask, strict=True) if not is_sample]
    return Frame([sample[1] + b" " for sample in samples], said, bytes(mask))


def _is_closed(body: bytes) -> bool:
    """Whether an OpenMetrics page ends as it should and has no empty line."""
    ended = body.endswith((b"# EOF\n", b"# EOF"))
    return ended and b"\n\n" not in body and not body.startswith(b"\n")
