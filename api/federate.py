"""GET /federate: the newest sample of each matching series, for a Prometheus to scrape."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from flask import Blueprint, Response, request

from api.about import About
from api.config import QueryConfig
from api.fedtext import OPENMETRICS, TEXT, Format
from api.selectors import selector_texts
from fleetpulse.errors import QueryError, StorageError
from fleetpulse.matchers import Matcher
from fleetpulse.model import Labels, Metadata, is_stale
from fleetpulse.promql.seriesselector import parse_selector
from fleetpulse.storage.base import Hints, SeriesReader
from fleetpulse.web.negotiate import name_escaping, wants_openmetrics

# Labels, Unix ms, value.
Newest = tuple[Labels, int, float]

_CHUNK = 64 << 10  # characters


def blueprint(
    reader: SeriesReader, config: QueryConfig, about: About, now: Callable[[], float]
) -> Blueprint:
    bp = Blueprint("federate", __name__)
    lookback_ms = round(about.promql.lookback * 1000)

    @bp.get("/federate")
    def federate() -> Response:
        sets = [parse_selector(text) for text in selector_texts(request)]
        at_ms = round(now() * 1000)
        hints = Hints(step_ms=lookback_ms, max_samples=config.max_samples)
        found = _newest(reader, sets, (at_ms - lookback_ms, at_ms), hints)
        accept = request.headers.get("Accept", "")
        style = OPENMETRICS if wants_openmetrics(accept) else TEXT
        escaping = name_escaping(accept)
        lines = _page(found, reader.metadata() if found else {}, about, Format(style, escaping))
        kind = style.content_type + (f"; escaping={escaping}" if escaping else "")
        return Response(_chunks(lines), content_type=kind)

    @bp.errorhandler(QueryError)
    def refused(err: QueryError) -> Response:
        """In plain text, as whoever scrapes shows it."""
        return _text(str(err), 400 if err.error_type == "bad_data" else 500)

    @bp.errorhandler(StorageError)
    def failed(err: StorageError) -> Response:
        return _text(str(err), 503 if err.retriable else 500)

    return bp


def _text(text: str, code: int) -> Response:
    return Response(f"{text}\n", code, mimetype="text/plain")


def _newest(
    reader: SeriesReader, sets: Sequence[Sequence[Matcher]], bounds: tuple[int, int], hints: Hints
) -> list[Newest]:
    """Of each series the newest sample in the look-back, if no staleness marker; by name."""
    found: dict[Labels, tuple[int, float]] = {}
    for matchers in sets:
        for one in reader.select(matchers, *bounds, hints):
            found[one.labels] = int(one.times_ms[-1]), float(one.values[-1])
    alive = ((labels, *newest) for labels, newest in found.items() if not is_stale(newest[1]))
    named = (one for one in alive if one[0].name)
    return sorted(named, key=lambda one: (one[0].name, one[0]))


def _page(
    found: Sequence[Newest], known: Mapping[str, Metadata], about: About, form: Format
) -> Iterator[str]:
    outside = dict(about.external_labels)
    # A series without one must not get that of the target that this is.
    outside.setdefault("instance", "")
    external = sorted(outside.items())
    for name, rows in groupby(found, key=lambda one: one[0].name):
        yield form.head(name, known)
        for labels, at_ms, value in rows:
            own = [(label, text) for label, text in labels if label != "__name__" and text]
            taken = {label for label, _ in own}
            more = [pair for pair in external if pair[0] not in taken]
            yield form.line(name, [*own, *more], value, at_ms)
    yield form.style.end


def _chunks(lines: Iterable[str]) -> Iterator[bytes]:
    """Some lines at a time: the page is never there as a whole."""
    waiting: list[str] = []
    size = 0
    for line in lines:
        waiting.append(line)
        size += len(line)
        if size >= _CHUNK:
            yield "".join(waiting).encode(errors="replace")
            waiting.clear()
            size = 0
    yield "".join(waiting).encode(errors="replace")
