"""A query's answer as a response: at once, or piece by piece where it is big.

The text of a sample takes several times what the sample does. Big answers are therefore made as
they are sent: the text of all is never held, and nothing more is made once the client has left.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from flask import Response

from api.jsonvalues import data_json
from api.respond import dumps, success_parts, success_text
from fleetpulse.model import Series
from fleetpulse.promql.result import Matrix, Result, Vector

_BIG = 200_000  # points; some 8 MB of text
_PIECE = 20_000  # points
_ROW_END = "]}"  # of a series with points
_DATA = '"#"'  # where the data goes in an envelope
_ROW = 4  # a series' labels take as much text as so many points


def answer(result: Result, stats: dict[str, Any] | None = None) -> Response:
    """In Prometheus' envelope; stats is put into its data."""
    last = f',"stats":{dumps(stats)}}}' if stats is not None else "}"
    if _points(result) <= _BIG:
        whole = (data_json(result.data)[:-1], last)
        return success_parts(whole, result.warnings, result.infos)
    envelope = success_text(_DATA, result.warnings, result.infos).get_data(as_text=True)
    before, _, after = envelope.partition(_DATA)
    return Response(_pieces(result, before, last + after), mimetype="application/json")


def _points(result: Result) -> int:
    match result.data:
        case Matrix(series):
            return sum(len(one.times_ms) + _ROW for one in series)
        case Vector(labels=labels):
            return len(labels) * (1 + _ROW)
        case _:
            return 1


def _pieces(result: Result, before: str, after: str) -> Iterator[bytes]:
    kind = "matrix" if isinstance(result.data, Matrix) else "vector"
    text = f'{before}{{"resultType":"{kind}","result":['
    for rows in _rows(result):
        for part in rows:
            yield (text + part).encode("utf-8", "replace")
            text = ""
        text = ","
    yield (("" if text == "," else text) + "]" + after).encode("utf-8", "replace")


def _rows(result: Result) -> Iterator[Iterator[str]]:
    """Some rows of `result` at a time, each time in one part or several."""
    if isinstance(result.data, Vector):
        size = _PIECE // _ROW
        for begin in range(0, len(result.data.labels), size):
            yield iter([_vector_rows(result.data, slice(begin, begin + size))])
    elif isinstance(result.data, Matrix):
        for series in _batches(result.data.series):
            yield _matrix_rows(series)


def _vector_rows(data: Vector, part: slice) -> str:
    return _inner(data_json(Vector(data.at_ms, data.labels[part], data.values[part])))


def _batches(series: Sequence[Series]) -> Iterator[Sequence[Series]]:
    """As many as fill a piece together, at least one."""
    begin = points = 0
    for place, one in enumerate(series):
        size = len(one.times_ms) + _ROW
        if points and points + size > _PIECE:
            yield series[begin:place]
            begin, points = place, 0
        points += size
    if points:
        yield series[begin:]


def _matrix_rows(series: Sequence[Series]) -> Iterator[str]:
    if len(series) > 1 or len(series[0].times_ms) <= 2 * _PIECE:
        yield _inner(data_json(Matrix(series)))
        return
    yield from _long_row(series[0])


def _long_row(series: Series) -> Iterator[str]:
    """One series in parts of its points: only the first begins, only the last ends it."""
    parts = [
        Series(series.labels, series.times_ms[at : at + _PIECE], series.values[at : at + _PIECE])
        for at in range(0, len(series.times_ms), _PIECE)
    ]
    nothing = Series(series.labels, series.times_ms[:0], series.values[:0])
    head, tail = len(_inner(data_json(Matrix([nothing])))) - len(_ROW_END), len(_ROW_END)
    for place, part in enumerate(parts):
        text = _inner(data_json(Matrix([part])))
        if place:
            text = "," + text[head:]
        yield text if place == len(parts) - 1 else text[:-tail]


def _inner(data: str) -> str:
    """What is between the brackets of `"result":[…]`."""
    return data[data.index('"result":[') + len('"result":[') : -len("]}")]
