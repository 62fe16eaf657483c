"""Samples from a file, in any order, gathered into pages for a store. The import's hot path."""

from array import array
from collections.abc import Callable, Iterable, Iterator

from fleetpulse.errors import ExpositionError
from fleetpulse.exposition import iter_samples
from fleetpulse.model import STALE_NAN, Labels, Layout, Page

_GATHERED = 200_000  # samples, some 50 MB
_LAYOUTS = 1000  # remembered for the pages to come
_KNOWN = 200_000  # series remembered by how their lines begin
_LAST_MS = 253_402_300_799_999
_TARGET_LABELS = ("job", "instance")

# OpenMetrics has no staleness markers. `fleetpulse export` writes one as a NaN in a spelling that
# nobody else uses and every reader takes for a NaN. (Prometheus refuses an exemplar on a gauge.)
STALE_TEXT = "nAN"
_STALE = STALE_TEXT.encode()
_INFINITE = (float("inf"), float("-inf"))
_TOO_FAR = "the timestamp is beyond the year 9999; OpenMetrics has seconds"

_Turns = dict[int, dict[int, float]]  # line number → value, by time


class PageBuilder:
    """Gathers samples in any order and gives them back as pages: one a target and a time.

    Backfill files go series by series, pages time by time. The more is gathered before take(),
    the more lines share a page.
    """

    def __init__(self) -> None:
        self._targets: dict[Labels, _Turns] = {}
        self._lines: list[Labels] = []
        self._numbers: dict[Labels, int] = {}
        self._layouts: dict[tuple[int, ...], Layout] = {}
        self.size = 0

    def place(self, labels: Labels) -> tuple[_Turns, int]:
        """Where put() puts samples of a series, until the next forget()."""
        line = labels.without(*_TARGET_LABELS)
        number = self._numbers.setdefault(line, len(self._lines))
        if number == len(self._lines):
            self._lines.append(line)
        return self._targets.setdefault(labels.only(*_TARGET_LABELS), {}), number

    def put(self, place: tuple[_Turns, int], at_ms: int, value: float) -> None:
        turns, number = place
        page = turns.get(at_ms)
        if page is None:
            page = turns[at_ms] = {}
        page[number] = value
        self.size += 1

    def add(self, labels: Labels, at_ms: int, value: float) -> None:
        self.put(self.place(labels), at_ms, value)

    def take(self) -> list[Page]:
        pages = []
        for target, turns in self._targets.items():
            for at_ms, values in turns.items():
                numbers = tuple(values)
                layout = self._layouts.get(numbers)
                if layout is None:
                    lines = tuple(self._lines[number] for number in numbers)
                    layout = self._layouts[numbers] = Layout(lines)
                pages.append(Page(target, layout, at_ms, array("d", values.values())))
            turns.clear()  # emptied, not replaced: places point to it
        self.size = 0
        if len(self._layouts) > _LAYOUTS:  # a file of gaps has one for nearly each page
            self._layouts = {}
        return pages

    def forget(self) -> None:
        """Drops all series and their places; to be called when take() has just been."""
        self._targets, self._lines, self._numbers, self._layouts = {}, [], {}, {}


class Backfill:
    """Reads lines of OpenMetrics and stores pages of them.

    A line that begins as one before it did is a value and a time, and is taken here and now; any
    other, and any that is odd, goes to the strict reader. Both take them in the file's order.
    store: takes some pages; what it raises rises. stored: is told the number of the last line
    whose samples, and those of all before it, are stored. done: so many lines are only read.
    """

    def __init__(
        self,
        store: Callable[[list[Page]], None],
        *,
        done: int = 0,
        stored: Callable[[int], None] = lambda _line: None,
    ) -> None:
        self._builder, self._store = PageBuilder(), store
        self._done, self._stored = done, stored
        self._known: dict[bytes, tuple[_Turns, int]] = {}
        self._line, self._number = b"", 0
        self.count = 0
        self.names = set[str]()

    def read(self, lines: Iterable[bytes]) -> None:
        """Stores all samples; at an ExpositionError those of the lines before it."""
        try:
            for _, labels, value, at_ms in iter_samples(self._strange(lines), openmetrics=True):
                self._learn(labels, value, at_ms)
        except ExpositionError as err:
            # The strict reader has counted only the lines that it was given.
            raise ExpositionError(self._number, str(err).partition(": ")[2]) from err
        finally:
            self._flush()

    def _strange(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Lines that the strict reader has to look at; the others are put into the builder."""
        known, builder = self._known, self._builder
        for line in lines:
            self._number += 1
            try:
                begin, value, seconds = line.rsplit(b" ", 2)
                place = known[begin]
                number, at_ms = float(value), round(float(seconds) * 1000)
            except (ValueError, KeyError, OverflowError):
                place = None
            # What Python takes for a number and OpenMetrics does not.
            if place is None or number in _INFINITE or b"_" in value or b"_" in seconds:
                if line.startswith(b"# EOF"):
                    known.clear()  # what comes after it is a fault, known or not
                self._line = line
                yield line
                continue
            if number != number and value == _STALE:
                number = STALE_NAN
            if not -_LAST_MS <= at_ms <= _LAST_MS:
                raise ExpositionError(self._number, _TOO_FAR)
            if self._number <= self._done:
                continue
            builder.put(place, at_ms, number)
            self.count += 1
            if builder.size >= _GATHERED:
                self._flush()

    def _learn(self, labels: Labels, value: float, at_ms: int | None) -> None:
        if at_ms is None:
            raise ExpositionError(self._number, "no timestamp; an import needs one on each sample")
        if abs(at_ms) > _LAST_MS:
            raise ExpositionError(self._number, _TOO_FAR)
        plain = b" # " not in self._line  # without an exemplar
        begin, text, _ = self._line.rsplit(b" ", 2)
        if value != value and plain and text == _STALE:
            value = STALE_NAN
        place = self._builder.place(labels)
        if plain:
            self._known[begin] = place
        self.names.add(labels.name)
        if self._number > self._done:
            self._builder.put(place, at_ms, value)
            self.count += 1
        if self._builder.size >= _GATHERED or len(self._known) > _KNOWN:
            self._flush()

    def _flush(self) -> None:
        if self._builder.size:
            self._store(self._builder.take())
            self._stored(self._number)
        if len(self._known) > _KNOWN:
            self._known.clear()
            self._builder.forget()
