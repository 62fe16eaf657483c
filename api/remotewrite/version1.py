"""Reads prometheus.WriteRequest, the message of remote write 1.0.

Source: prompb/remote.proto and types.proto of Prometheus; the fields are named in the code.
"""

from api.remotewrite.arrivals import FULL, ZERO, Arrivals
from api.remotewrite.incoming import Incoming
from api.remotewrite.table import SeriesRefusedError, SeriesTable
from api.remotewrite.wire import LENGTH, VARINT, WireError, expect, fields, sample, text, varint
from fleetpulse.model import Metadata, MetricType

# MetricMetadata.MetricType; UNKNOWN is 0.
_TYPES: dict[int, MetricType] = {
    1: "counter", 2: "gauge", 3: "histogram", 4: "gaugehistogram", 5: "summary", 6: "info",
    7: "stateset",
}  # fmt: skip
_SERIES_TAG, _LABEL_TAG = 0x0A, 0x0A


def read(body: bytes, table: SeriesTable, now: float) -> Incoming:
    """WireError where the body is no such message: then nothing of it is taken."""
    incoming, arrivals = Incoming(), Arrivals()
    slow = _Slow(body, table, now, incoming, arrivals)
    starts = _walk(body, table, slow, arrivals)
    incoming.samples = arrivals.close(body, lambda end: slow.series(starts[end], end))
    return incoming


def _walk(body: bytes, table: SeriesTable, slow: "_Slow", arrivals: Arrivals) -> "_Starts":
    """The hot loop: a series that is known, with one sample, costs a slice and a look-up."""
    known = table.keys.get
    full, full_ends = arrivals.full.append, arrivals.full_ends.append
    zero, zero_ends = arrivals.zero.append, arrivals.zero_ends.append
    at, size = 0, len(body)
    while at < size:
        start = at + 3
        if start >= size or body[at] != _SERIES_TAG:
            at = slow.other(at)
            continue
        # Nearly all are of 128 to 16,383 bytes, which two bytes tell.
        length, high = body[at + 1], body[at + 2]
        if length >= 0x80 > high:
            length += (high - 1) << 7
        else:
            length, start = varint(body, at + 1, size)
        at = start + length
        if at > size:
            raise WireError(f"byte {start}: a series is longer than the message")
        if length < FULL:
            slow.series(start, at)
        elif body[at - FULL + 1] == FULL - 2:
            series = known(body[start : at - FULL])
            if series is None:
                slow.series(start, at)
            else:
                full(series)
                full_ends(at)
        else:
            series = known(body[start : at - ZERO])
            if series is None:
                slow.series(start, at)
            else:
                zero(series)
                zero_ends(at)
    return _Starts(body)


class _Starts:
    """Where a series begins, by where it ends. Looked for only when that is asked."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._found: dict[int, int] | None = None

    def __getitem__(self, end: int) -> int:
        if self._found is None:
            every = fields(self._body, 0, len(self._body))
            self._found = {stop: start for number, _, start, stop in every if number == 1}
        return self._found[end]


class _Slow:
    """What the hot loop does not know: new series, several samples, all other fields."""

    def __init__(
        self,
        body: bytes,
        table: SeriesTable,
        now: float,
        incoming: Incoming,
        arrivals: Arrivals,
    ) -> None:
        self._body, self._table, self._now = body, table, now
        self._incoming, self._arrivals = incoming, arrivals

    def other(self, at: int) -> int:
        """A field of the request that is no series, or oddly written; where the next begins."""
        number, kind, start, end = next(fields(self._body, at, len(self._body)))
        if number == 1:
            expect(kind, LENGTH, start)
            self.series(start, end)
        elif number == 3:
            expect(kind, LENGTH, start)
            self._metadata(start, end)
        return end

    def series(self, start: int, end: int) -> None:
        body, samples, labels = self._body, [], []
        key, field_at = b"", start
        exemplars = histograms = 0
        for number, kind, begin, stop in fields(body, start, end):
            if number in (1, 2, 3, 4):
                expect(kind, LENGTH, begin)
            if number == 1:
                labels.append((begin, stop))
                key += body[field_at:stop]
            elif number == 2:
                samples.append(sample(body, begin, stop))
            exemplars += number == 3
            histograms += number == 4
            field_at = stop
        self._incoming.exemplars += exemplars
        series = self._learn(key, labels, len(samples) + histograms)
        if series is None:
            return
        self._incoming.no_histograms(histograms, lambda: str(self._table.labels(series)))
        for value, at_ms, _ in samples:
            self._arrivals.add(series, value, at_ms)

    def _learn(self, key: bytes, labels: list[tuple[int, int]], count: int) -> int | None:
        """The id of the series, or None where it is refused; count: how many samples that costs."""
        known = self._table.keys.get(key)
        if known is not None:
            return known
        try:
            pairs = [_label(self._body, begin, stop) for begin, stop in labels]
            series = self._table.keys[key] = self._table.learn(pairs, self._now)
        except SeriesRefusedError as err:
            self._incoming.refuse(err.reason, count, str(err))
        except UnicodeDecodeError:
            self._incoming.refuse("labels", count, "a label is no UTF-8")
        else:
            return series
        return None

    def _metadata(self, start: int, end: int) -> None:
        kind_of, texts = 0, {2: "", 4: "", 5: ""}
        for number, kind, begin, stop in fields(self._body, start, end):
            if number == 1:
                expect(kind, VARINT, begin)
                kind_of, _ = varint(self._body, begin, stop)
            elif number in texts:
                expect(kind, LENGTH, begin)
                texts[number] = self._body[begin:stop].decode("utf-8", "replace")
        told = Metadata(_TYPES.get(kind_of, "untyped"), texts[4], texts[5])
        if texts[2]:
            self._incoming.metadata[texts[2]] = told


def _label(body: bytes, start: int, end: int) -> tuple[str, str]:
    """Name and value; the usual form, two short texts, is read at once."""
    if end - start >= 4 and body[start] == 0x0A and body[start + 1] < 0x80:
        middle = start + 2 + body[start + 1]
        length = body[middle + 1] if middle + 2 <= end and body[middle] == 0x12 else 0x80
        if length < 0x80 and middle + 2 + length == end:
            return text(body, start + 2, middle), text(body, middle + 2, end)
    name = value = ""
    for number, kind, begin, stop in fields(body, start, end):
        if number in (1, 2):
            expect(kind, LENGTH, begin)
        if number == 1:
            name = text(body, begin, stop)
        elif number == 2:
            value = text(body, begin, stop)
    return name, value
