"""`fleetpulse export`: samples of the store as OpenMetrics text with timestamps."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fleetpulse.errors import QueryError
from fleetpulse.matchers import Matcher
from fleetpulse.model import METRIC_NAME, STALE_BITS, Labels, Series
from fleetpulse.storage.base import Hints, SeriesReader
from fleetpulse.values import is_label_name, is_metric_name
from fleetpulse_cli.backfill import STALE_TEXT

_AT_ONCE = 2_000_000  # samples in memory
END = "# EOF\n"


@dataclass(frozen=True, slots=True)
class Place:
    """How far an export has come: all of the metrics before name, and of it all up to until_ms."""

    name: str
    until_ms: int


def export(
    reader: SeriesReader, matchers: Sequence[Matcher], start_ms: int, end_ms: int
) -> Iterator[str]:
    """Pieces of the text, metric by metric; of a metric, piece of time by piece of time."""
    for name in names_of(reader, matchers, start_ms, end_ms):
        for _, text in parts(reader, matchers, name, start_ms, end_ms):
            yield from text
    yield END


def names_of(
    reader: SeriesReader,
    matchers: Sequence[Matcher],
    start_ms: int,
    end_ms: int,
    after: Place | None = None,
) -> list[str]:
    """The metrics that are not exported yet, in the order of export."""
    names = sorted(reader.label_values(METRIC_NAME, [matchers], start_ms, end_ms))
    return [name for name in names if after is None or name >= after.name]


def parts(
    reader: SeriesReader,
    matchers: Sequence[Matcher],
    name: str,
    start_ms: int,
    end_ms: int,
    after: Place | None = None,
) -> Iterator[tuple[Place, Iterator[str]]]:
    """A metric's text, each part with the place that is reached with it."""
    if after is not None and after.name == name:
        start_ms = after.until_ms + 1
    if start_ms > end_ms:
        return
    wanted = [*matchers, Matcher(METRIC_NAME, "=", name)]
    for until_ms, found in _pieces(reader, wanted, start_ms, end_ms):
        yield Place(name, until_ms), map(series_text, found)


def _pieces(
    reader: SeriesReader, matchers: Sequence[Matcher], start_ms: int, end_ms: int
) -> Iterator[tuple[int, Sequence[Series]]]:
    """What matches, in as many parts of the time as memory asks for, each with its end."""
    try:
        yield end_ms, reader.select(matchers, start_ms, end_ms, Hints(max_samples=_AT_ONCE))
    except QueryError as err:
        if start_ms == end_ms or err.error_type != "execution":
            raise
        middle = (start_ms + end_ms) // 2
        yield from _pieces(reader, matchers, start_ms, middle)
        yield from _pieces(reader, matchers, middle + 1, end_ms)


def series_text(series: Series) -> str:
    """One line a sample."""
    begin = labels_text(series.labels)
    stale = (series.values.view(np.uint64) == STALE_BITS).tolist()
    lines = [
        f"{begin} {STALE_TEXT if marked else _number(value)} {time_ms / 1000:.3f}\n"
        for time_ms, value, marked in zip(
            series.times_ms.tolist(), series.values.tolist(), stale, strict=True
        )
    ]
    return "".join(lines)


def labels_text(labels: Labels) -> str:
    """As OpenMetrics writes a series; names beyond its own are quoted, as Prometheus does."""
    name = labels.name
    plain = is_metric_name(name)
    inner = [] if plain else [_quoted(name)]
    inner += [
        f"{one if is_label_name(one) else _quoted(one)}={_quoted(value)}"
        for one, value in labels
        if one != METRIC_NAME
    ]
    text = f"{{{','.join(inner)}}}" if inner else ""
    return f"{name}{text}" if plain else text


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _number(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
