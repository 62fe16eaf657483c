"""The data of Prometheus' query answers, from JSON to arrays, each shape looked at. Pure.

A range query's samples stay text until numpy reads them: no Python object is made for one.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetpulse.model import Labels, Series
from fleetpulse.promql.result import Matrix, Result, Scalar, String, Vector


class ShapeError(ValueError):
    """An answer that is not what Prometheus' API gives; the text says where."""


# The samples of one series: numbers, quotes and brackets, and nothing else. No text of JSON can
# look so, as a quote inside a text has a backslash before it.
_SAMPLES = re.compile(rb'"values":(\[\[[-+0-9eE.,\[\]"NanIinfty]*\]\])')
_MARKS = b'[]"'


def lifted(body: bytes) -> tuple[bytes, list[bytes]]:
    """The JSON with the samples of each series taken out, a number in their place; and those."""
    found: list[bytes] = []

    def take(match: re.Match[bytes]) -> bytes:
        found.append(match[1])
        return b'"values":%d' % (len(found) - 1)

    return _SAMPLES.sub(take, body), found


def result_of(answer: Mapping[str, Any], samples: Sequence[bytes] = ()) -> Result:
    """A Result of a successful answer's envelope. samples: what was lifted from it. ShapeError."""
    data = answer.get("data")
    if not isinstance(data, dict) or "result" not in data:
        raise ShapeError("there is no data.result")
    kind, found = data.get("resultType"), data["result"]
    try:
        read = _READERS[kind]
    except (KeyError, TypeError):
        raise ShapeError(f"its resultType is {kind!r}") from None
    try:
        value = read(found, samples)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as err:
        raise ShapeError(f"its data is no {kind}: {err}") from None
    warnings = _texts(answer.get("warnings"))
    if answer.get("isPartial"):  # of a VictoriaMetrics cluster
        warnings = (*warnings, "the answer is partial: a storage node did not answer")
    return Result(value, warnings, _texts(answer.get("infos")))


def _matrix(found: Any, lifted: Sequence[bytes]) -> Matrix:
    series = []
    for one in found:
        values = one["values"]
        pairs = _read(lifted[values]) if isinstance(values, int) else _pairs(values)
        times = np.rint(pairs[:, 0] * 1000).astype(np.int64)
        if not (np.diff(times) > 0).all():
            raise ValueError("times do not rise")
        if len(times):
            series.append(Series(Labels.of(one["metric"]), times, pairs[:, 1].copy()))
    return Matrix(sorted(series, key=lambda one: one.labels))


def _read(text: bytes) -> NDArray[np.float64]:
    """Rows of time and value. ValueError where they are none."""
    return np.fromstring(text.translate(None, _MARKS), np.float64, sep=",").reshape(-1, 2)


def _pairs(values: Any) -> NDArray[np.float64]:
    """The same of JSON with blanks in it, or without samples."""
    return np.array([(at, float(value)) for at, value in values], np.float64).reshape(-1, 2)


def _vector(found: Any, _lifted: Sequence[bytes]) -> Vector:
    values = np.array([float(one["value"][1]) for one in found], np.float64)
    times = {_ms(one["value"][0]) for one in found}
    if len(times) > 1:
        raise ValueError("its times differ")
    return Vector(times.pop() if times else 0, [Labels.of(one["metric"]) for one in found], values)


def _scalar(found: Any, _lifted: Sequence[bytes]) -> Scalar:
    at, value = found
    return Scalar(_ms(at), float(value))


def _string(found: Any, _lifted: Sequence[bytes]) -> String:
    at, text = found
    return String(_ms(at), str(text))


def _ms(at: Any) -> int:
    return round(float(at) * 1000)


def _texts(found: Any) -> tuple[str, ...]:
    return tuple(map(str, found)) if isinstance(found, Sequence) else ()


_READERS: Mapping[Any, Any] = {
    "matrix": _matrix,
    "vector": _vector,
    "scalar": _scalar,
    "string": _string,
}
