"""Reads /api/v1/export: a JSON object a line, with the samples of one series. Pure, and hot.

`{"metric":{"__name__":"up","job":"x"},"values":[1,null],"timestamps":[1700000000000,…]}`

No Python object is made for a sample: the texts of the two lists go to numpy as they are. Series
of one target have the same times, so a text of times that was read before is not read again.
VictoriaMetrics holds no NaN but the staleness marker, and writes it as null (Debian's, where it is
the first of a line, as NaN); infinities stand there bare (Debian's) or as "Infinity".
Format: https://docs.victoriametrics.com/#how-to-export-data-in-json-line-format
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleetpulse.errors import StorageError
from fleetpulse.model import STALE_NAN, Labels

Times = NDArray[np.int64]
Values = NDArray[np.float64]

_VALUES = b',"values":['
_TIMES = b'],"timestamps":['
_REMEMBERED = 64  # texts of times


@dataclass(frozen=True, slots=True)
class Part:
    """Samples of a series, as they stand in one line: times rise, but may be there twice."""

    labels: Labels
    times_ms: Times
    values: Values


class ExportDecoder:
    """Turns lines into parts. name: who is to be blamed for a line that is none."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._times: dict[bytes, Times] = {}

    def decode(self, line: bytes) -> Part:
        """StorageError for a line that is no series, as that of a failure half-way is."""
        try:
            head, rest = line.split(_VALUES, 1)
            values, times = rest.split(_TIMES, 1)
            labels = json.loads(head + b"}")["metric"]
            if times.rstrip()[-2:] != b"]}" or not isinstance(labels, dict):
                raise ValueError("no end")
            part = Part(
                Labels.from_pairs(labels.items()),
                self._times_of(times.rstrip()[:-2]),
                values_of(values),
            )
        except (ValueError, KeyError, TypeError) as err:
            raise StorageError(
                f"{self._name}: the export ends with no series but {line[:200]!r}", retriable=True
            ) from err
        if len(part.times_ms) != len(part.values):
            raise StorageError(
                f"{self._name}: {len(part.values)} values for {len(part.times_ms)} times",
                retriable=True,
            )
        return part

    def _times_of(self, text: bytes) -> Times:
        found = self._times.get(text)
        if found is None:
            found = np.fromstring(text, np.int64, sep=",")
            if len(self._times) >= _REMEMBERED:
                self._times.clear()
            self._times[text] = found
        return found


def values_of(text: bytes) -> Values:
    """A list of JSON numbers; null is the staleness marker. ValueError where it is none."""
    if b'"' in text:
        text = text.replace(b'"', b"")
    marked = b"null" in text
    if marked:
        text = text.replace(b"null", b"nan")
    found = np.fromstring(text, np.float64, sep=",")
    if marked or b"N" in text:
        found[np.isnan(found)] = STALE_NAN
    return found


def lines_of(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Lines of a body that comes in pieces, without their ends."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest


def rising(times: Times, values: Values) -> tuple[Times, Values]:
    """The same samples with rising times, one a time: the greatest value, a number over a marker.

    Without -dedup.minScrapeInterval the store keeps a sample that was written twice twice, in any
    order; where it does deduplicate, later versions keep the greatest, too.
    """
    if len(times) < 2 or bool((times[1:] > times[:-1]).all()):
        return times, values
    # A staleness marker counts as less than any number.
    order = np.lexsort((np.where(np.isnan(values), -np.inf, values), ~np.isnan(values), times))
    times, values = times[order], values[order]
    last = np.append(times[1:] != times[:-1], True)
    return times[last], values[last]
