"""Query results as JSON text, built a series at a time: the API's hot path.

The formats are those of Prometheus' HTTP API: a time is a number of seconds with at most three
decimals, a value a string in the shortest form that reads back exactly, without an exponent
from 1e-6 up to 1e21.
"""

import math
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from api.respond import dumps
from fleetpulse.model import Labels
from fleetpulse.promql.result import Matrix, Scalar, String, Vector

_END = '"],'


def data_json(data: Scalar | String | Vector | Matrix) -> str:
    """The `data` member of an answer to query and query_range."""
    if isinstance(data, Matrix):
        return f'{{"resultType":"matrix","result":[{_matrix(data)}]}}'
    if isinstance(data, Vector):
        return f'{{"resultType":"vector","result":[{_vector(data)}]}}'
    at = seconds(data.at_ms)
    if isinstance(data, Scalar):
        return f'{{"resultType":"scalar","result":[{at},"{scalar_text(data.value)}"]}}'
    return f'{{"resultType":"string","result":[{at},{dumps(data.text)}]}}'


def _vector(data: Vector) -> str:
    at = seconds(data.at_ms)
    texts = _texts(data.values) if len(data.values) else []
    return ",".join(
        f'{{"metric":{labels_json(labels)},"value":[{at},"{text.removesuffix(".0")}"]}}'
        for labels, text in zip(data.labels, texts, strict=True)
    )


def _matrix(data: Matrix) -> str:
    rows = []
    times_ms: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
    marks: Sequence[str] = ()
    for series in data.series:
        # The series of a range query mostly share their times: written once, used for all.
        if series.times_ms is not times_ms and not np.array_equal(series.times_ms, times_ms):
            marks = [f'{_END}[{seconds(at)},"' for at in series.times_ms.tolist()]
        times_ms = series.times_ms
        rows.append(f'{{"metric":{labels_json(series.labels)},"values":[')
        rows.append(_pairs(marks, series.values))
        rows.append("]},")
    if rows:
        rows[-1] = "]}"
    return "".join(rows)


def _pairs(marks: Sequence[str], values: NDArray[np.float64]) -> str:
    """`[time,"value"],…`. A mark is a time with what ends the pair before it."""
    if not len(values):
        return ""
    parts = [""] * (2 * len(values))
    parts[::2] = marks
    parts[1::2] = _texts(values)
    text = "".join(parts)[len(_END) :] + '"]'
    return text.replace('.0"', '"')


def _texts(values: NDArray[np.float64]) -> list[str]:
    """The values as Prometheus writes them, but that a whole number may end in `.0`."""
    # Pydantic's writer finds the shortest form four times as fast as repr() does.
    texts = to_json(values.tolist())[1:-1].decode().split(",")
    size = np.abs(values)
    plain = ((size >= 1e-4) & (size < 1e16)) | (size == 0)
    for place in np.flatnonzero(~plain).tolist():
        texts[place] = value_text(float(values[place]))
    return texts


def value_text(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    if "e" in text and 1e-6 <= abs(value) < 1e21:
        return format(Decimal(text), "f")
    return text.removesuffix(".0")


def scalar_text(value: float) -> str:
    """The same for a scalar, which Prometheus writes without an exponent however long it gets."""
    text = value_text(value)
    return format(Decimal(text), "f") if "e" in text else text


def seconds(at_ms: int) -> str:
    """Unix milliseconds as seconds: 1500 → `1.500`."""
    whole, rest = divmod(abs(at_ms), 1000)
    sign = "-" if at_ms < 0 else ""
    return f"{sign}{whole}.{rest:03d}" if rest else f"{sign}{whole}"


def labels_json(labels: Labels) -> str:
    return dumps(dict(labels))
