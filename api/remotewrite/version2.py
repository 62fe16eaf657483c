"""Reads io.prometheus.write.v2.Request, the message of remote write 2.0.

Its labels are references to a table of texts, which differs from request to request. Source:
prompb/io/prometheus/write/v2/types.proto of Prometheus; the fields are named in the code.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from api.remotewrite.arrivals import FULL, ZERO, Arrivals
from api.remotewrite.incoming import Incoming
from api.remotewrite.symbols import Symbols, references
from api.remotewrite.table import SeriesRefusedError, SeriesTable
from api.remotewrite.wire import LENGTH, VARINT, WireError, expect, fields, sample, varint
from fleetpulse.model import Metadata, MetricType

# Metadata.MetricType; UNSPECIFIED is 0.
_TYPES: dict[int, MetricType] = {
    1: "counter", 2: "gauge", 3: "histogram", 4: "gaugehistogram", 5: "summary", 6: "info",
    7: "stateset",
}  # fmt: skip
_SYMBOL, _SERIES = 4, 5
_SYMBOL_TAG, _SERIES_TAG = 0x22, 0x2A
_REFS_TAG, _SAMPLE_TAG, _METADATA_TAG = 0x0A, 0x12, 0x2A

_USUAL = (FULL, ZERO)

_Known = int | SeriesRefusedError


@dataclass(slots=True)
class _Outline:
    """Where things are in a request. But for symbols, each list has an entry a series.

    refs: references to its labels' texts, packed. ends: where its only sample ends, negative if
    that is a zero, and 0 where the series is unusual. metadata: its bytes. spans: of the series.
    """

    symbols: list[bytes] = field(default_factory=list)
    refs: list[bytes] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    metadata: list[bytes] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)


def read(body: bytes, table: SeriesTable, symbols: Symbols, now: float) -> Incoming:
    """WireError where the body is no such message: then nothing of it is taken."""
    outline = _outline(body)
    if outline.symbols[:1] not in ([], [b""]):
        raise WireError("symbols: the first text must be empty")
    refs = _References(outline)
    series = _Learner(outline, refs, table, symbols, now).identify()
    incoming, arrivals = Incoming(), Arrivals()
    slow = _Slow(body, table, incoming, arrivals)
    for known, end, span in zip(series, outline.ends, outline.spans, strict=True):
        if not end or not isinstance(known, int):
            slow.series(known, span)
        elif end > 0:
            arrivals.full.append(known)
            arrivals.full_ends.append(end)
        else:
            arrivals.zero.append(known)
            arrivals.zero_ends.append(-end)
    incoming.samples = arrivals.close(body, lambda end: slow.ending(end, series, outline))
    _describe(outline, refs, incoming)
    return incoming


def _outline(body: bytes) -> _Outline:
    """The hot loop: a series as Prometheus writes it costs a few comparisons and two slices."""
    found, at, size = _Outline(), 0, len(body)
    add_refs, add_end = found.refs.append, found.ends.append
    add_metadata, add_span = found.metadata.append, found.spans.append
    while at < size:
        start = at + 2
        if start >= size or body[at] != _SERIES_TAG:
            # Half of a request may be symbols, nearly all of them short.
            end = start + body[at + 1] if start <= size else size
            if body[at] == _SYMBOL_TAG and start <= end <= size and body[at + 1] < 0x80:
                found.symbols.append(body[start:end])
                at = end
            else:
                at = _other(body, at, found)
            continue
        length = body[at + 1]
        if length >= 0x80:
            length, start = varint(body, at + 1, size)
        at = start + length
        if at > size:
            raise WireError(f"byte {start}: a series is longer than the message")
        refs_end = start + 2 + body[start + 1] if length > 2 else at
        end = refs_end + 2 + body[refs_end + 1] if refs_end + 1 < at else at
        if (
            length > 2
            and body[start] == _REFS_TAG
            and body[start + 1] < 0x80
            and end - refs_end in _USUAL
            and body[refs_end] == _SAMPLE_TAG
            and (
                end == at
                or (end + 1 < at and body[end] == _METADATA_TAG and end + 2 + body[end + 1] == at)
            )
        ):
            add_refs(body[start + 2 : refs_end])
            add_end(end if end - refs_end == FULL else -end)
            add_metadata(body[end + 2 : at])
            add_span((start, at))
        else:
            _series(body, start, at, found)
    return found


def _other(body: bytes, at: int, found: _Outline) -> int:
    """A field of the request that is no series; where the next begins."""
    number, kind, start, end = next(fields(body, at, len(body)))
    if number in (_SYMBOL, _SERIES):
        expect(kind, LENGTH, start)
    if number == _SYMBOL:
        found.symbols.append(body[start:end])
    elif number == _SERIES:
        _series(body, start, end, found)
    return end


def _series(body: bytes, start: int, end: int, found: _Outline) -> None:
    """A series that is not written as usual."""
    refs, metadata = b"", b""
    for number, kind, begin, stop in fields(body, start, end):
        if number == 1:
            # Packed or one by one: the bytes of the numbers are the same.
            if kind not in (LENGTH, VARINT):
                raise WireError(f"byte {begin}: wire type {kind} where references belong")
            refs += body[begin:stop]
        elif number == 5:
            expect(kind, LENGTH, begin)
            metadata = body[begin:stop]
    found.refs.append(refs)
    found.ends.append(0)
    found.metadata.append(metadata)
    found.spans.append((start, end))


class _References:
    """All series' references, read at once: those of series i are refs[bounds[i]:bounds[i + 1]]."""

    def __init__(self, outline: _Outline) -> None:
        joined = b"".join(outline.refs)
        lengths = np.fromiter(map(len, outline.refs), np.int64, len(outline.refs))
        try:
            self.refs, self.bounds = references(joined, lengths)
        except ValueError as err:
            raise WireError(f"labels_refs: {err}") from err


class _Learner:
    def __init__(
        self,
        outline: _Outline,
        refs: _References,
        table: SeriesTable,
        symbols: Symbols,
        now: float,
    ) -> None:
        self._outline, self._refs, self._table, self._now = outline, refs, table, now
        if symbols.full:
            symbols.clear()
            table.keys2.clear()
        self._numbers = symbols.numbers(outline.symbols)

    def identify(self) -> list[_Known]:
        """The id of each series, or why it has none."""
        refs, bounds = self._refs.refs, self._refs.bounds.tolist()
        inside = refs < len(self._numbers)
        if not inside.all():
            return [self._one(refs[a:b]) for a, b in pairwise(bounds)]
        keys = _bytes(self._numbers[refs] if len(refs) else self._numbers)
        known = self._table.keys2.get
        found: list[_Known] = []
        for begin, end in pairwise(bounds):
            series = known(keys[4 * begin : 4 * end])
            found.append(self._one(refs[begin:end]) if series is None else series)
        return found

    def _one(self, refs: "NDArray[np.int64]") -> _Known:
        texts = self._outline.symbols
        if len(refs) % 2 or (refs >= len(texts)).any():
            return SeriesRefusedError("labels", "labels_refs: odd in number, or no such symbol")
        try:
            words = [texts[ref].decode() for ref in refs.tolist()]
        except UnicodeDecodeError:
            return SeriesRefusedError("labels", "a label is no UTF-8")
        key = _bytes(self._numbers[refs])
        pairs = list(zip(words[::2], words[1::2], strict=True))
        try:
            series = self._table.keys2[key] = self._table.learn(pairs, self._now)
        except SeriesRefusedError as err:
            return err
        return series


def _bytes(numbers: "NDArray[np.uint32]") -> bytes:
    return numbers.astype("<u4").tobytes()


class _Slow:
    """Series with no sample or several, with histograms, exemplars, or labels that are refused."""

    def __init__(
        self, body: bytes, table: SeriesTable, incoming: Incoming, arrivals: Arrivals
    ) -> None:
        self._body, self._table = body, table
        self._incoming, self._arrivals = incoming, arrivals

    def ending(self, end: int, series: list[_Known], outline: _Outline) -> None:
        """The series whose sample was taken for one that ends here."""
        place = next(i for i, one in enumerate(outline.ends) if abs(one) == end)
        self.series(series[place], outline.spans[place])

    def series(self, known: _Known, span: tuple[int, int]) -> None:
        body, samples = self._body, []
        exemplars = histograms = 0
        for number, kind, begin, stop in fields(body, *span):
            if number in (2, 3, 4):
                expect(kind, LENGTH, begin)
            if number == 2:
                samples.append(sample(body, begin, stop))
            histograms += number == 3
            exemplars += number == 4
        incoming = self._incoming
        incoming.exemplars += exemplars
        if isinstance(known, SeriesRefusedError):
            incoming.refuse(known.reason, len(samples) + histograms, str(known))
            return
        incoming.no_histograms(histograms, lambda: str(self._table.labels(known)))
        if not samples and not histograms:
            labels = self._table.labels(known)
            incoming.refuse("empty", 0, f"{labels}: no sample; a series must have one")
        for value, at_ms, begun_ms in samples:
            self._arrivals.add(known, value, at_ms)
            incoming.start_times += begun_ms != 0


def _describe(outline: _Outline, refs: _References, incoming: Incoming) -> None:
    """Type, help and unit by metric name, as the series tell them."""
    kinds: dict[bytes, int] = {}
    numbers = [kinds.setdefault(one, len(kinds)) for one in outline.metadata]
    texts = outline.symbols
    if not any(kinds) or b"__name__" not in texts:
        return
    # Labels are sorted: the name comes first, unless some label begins with a capital letter.
    begins = refs.bounds[:-1][np.diff(refs.bounds) >= 2]
    told = np.array(numbers, np.int64)[np.diff(refs.bounds) >= 2]
    named = refs.refs[begins] == texts.index(b"__name__")
    names = refs.refs[begins[named] + 1]
    metadata = list(kinds)
    for pair in np.unique(names * len(kinds) + told[named]).tolist():
        name, kind = divmod(pair, len(kinds))
        if metadata[kind] and name < len(texts):
            found = _metadata(metadata[kind], texts)
            incoming.metadata[texts[name].decode("utf-8", "replace")] = found


def _metadata(body: bytes, texts: list[bytes]) -> Metadata:
    numbers = {1: 0, 3: 0, 4: 0}  # type, help_ref, unit_ref
    for number, kind, begin, stop in fields(body, 0, len(body)):
        if number in numbers:
            expect(kind, VARINT, begin)
            numbers[number], _ = varint(body, begin, stop)
    told = [
        texts[ref].decode("utf-8", "replace") if ref < len(texts) else ""
        for ref in (numbers[3], numbers[4])
    ]
    return Metadata(_TYPES.get(numbers[1], "untyped"), *told)
