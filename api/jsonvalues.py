"""Query results as JSON text, built a series at a time.

The formats are those of Prometheus' HTTP API: a time is a number of seconds with at most three
decimals, a value a string (valuetexts.py).
"""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from json.encoder import encode_basestring

import numpy as np
from numpy.typing import NDArray

from api.respond import dumps
from api.valuetexts import pairs_texts, seconds, time_marks, value_text, value_texts
from fleetpulse.model import Labels, Series
from fleetpulse.promql.result import Matrix, Scalar, String, Vector

__all__ = ["data_json", "labels_json", "scalar_text", "seconds", "value_text"]

_AT_ONCE = 1 << 14  # values looked at together: they stay in the processor's cache


def data_json(data: Scalar | String | Vector | Matrix) -> str:
    """The `data` member of an answer to query and query_range."""
    return "".join(data_parts(data))


def data_parts(data: Scalar | String | Vector | Matrix) -> Iterator[str]:
    """The same, piece by piece: a large answer is then put together once, where it leaves."""
    if isinstance(data, Matrix):
        yield '{"resultType":"matrix","result":['
        yield from _matrix(data)
        yield "]}"
    elif isinstance(data, Vector):
        yield f'{{"resultType":"vector","result":[{_vector(data)}]}}'
    elif isinstance(data, Scalar):
        pair = f'{seconds(data.at_ms)},"{scalar_text(data.value)}"'
        yield f'{{"resultType":"scalar","result":[{pair}]}}'
    else:
        pair = f"{seconds(data.at_ms)},{dumps(data.text)}"
        yield f'{{"resultType":"string","result":[{pair}]}}'


def _vector(data: Vector) -> str:
    at = seconds(data.at_ms)
    texts = value_texts(data.values)
    return ",".join(
        f'{{"metric":{labels_json(labels)},"value":[{at},"{text}"]}}'
        for labels, text in zip(data.labels, texts, strict=True)
    )


def _matrix(data: Matrix) -> Iterator[str]:
    ahead = ""
    for alike in _of_same_times(data.series):
        heads = [f'{{"metric":{labels_json(one.labels)},"values":' for one in alike]
        for row in _rows(alike, heads):
            yield f"{ahead}{row}}}"
            ahead = ","


def _of_same_times(series: Sequence[Series]) -> Iterator[Sequence[Series]]:
    """Runs of series of equal times, as those of a range query mostly are, not too many."""
    begin = 0
    for place in range(1, len(series) + 1):
        times = series[begin].times_ms
        full = (place - begin) * len(times) >= _AT_ONCE
        if place == len(series) or full or not _same(times, series[place].times_ms):
            yield series[begin:place]
            begin = place


def _same(times: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    return times is other or bool(np.array_equal(times, other))


def _rows(alike: Sequence[Series], heads: Sequence[str]) -> Iterable[str]:
    if not len(alike[0].times_ms):
        return [f"{head}[]" for head in heads]
    marks = time_marks(alike[0].times_ms)
    return pairs_texts(marks, heads, np.stack([one.values for one in alike]))


def scalar_text(value: float) -> str:
    """The same for a scalar, which Prometheus writes without an exponent however long it gets."""
    text = value_text(value)
    return format(Decimal(text), "f") if "e" in text else text


def labels_json(labels: Labels) -> str:
    quoted = [f"{encode_basestring(name)}:{encode_basestring(value)}" for name, value in labels]
    return f"{{{','.join(quoted)}}}"
