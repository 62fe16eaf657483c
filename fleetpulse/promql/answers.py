"""The data of Prometheus' query answers, from JSON to arrays, each shape looked at. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fleetpulse.model import Labels, Series
from fleetpulse.promql.result import Matrix, Result, Scalar, String, Vector


class ShapeError(ValueError):
    """An answer that is not what Prometheus' API gives; the text says where."""


def result_of(answer: Mapping[str, Any]) -> Result:
    """A Result of a successful answer's envelope. ShapeError."""
    data = answer.get("data")
    if not isinstance(data, dict) or "result" not in data:
        raise ShapeError("there is no data.result")
    kind, found = data.get("resultType"), data["result"]
    try:
        read = _READERS[kind]
    except (KeyError, TypeError):
        raise ShapeError(f"its resultType is {kind!r}") from None
    try:
        value = read(found)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError) as err:
        raise ShapeError(f"its data is no {kind}: {err}") from None
    warnings = _texts(answer.get("warnings"))
    if answer.get("isPartial"):  # of a VictoriaMetrics cluster
        warnings = (*warnings, "the answer is partial: a storage node did not answer")
    return Result(value, warnings, _texts(answer.get("infos")))


def _matrix(found: Any) -> Matrix:
    series = []
    for one in found:
        samples = np.array([(at, float(value)) for at, value in one["values"]], np.float64)
        samples = samples.reshape(-1, 2)
        times = np.rint(samples[:, 0] * 1000).astype(np.int64)
        if not (np.diff(times) > 0).all():
            raise ValueError("times do not rise")
        if len(times):
            series.append(Series(Labels.of(one["metric"]), times, samples[:, 1].copy()))
    return Matrix(sorted(series, key=lambda one: one.labels))


def _vector(found: Any) -> Vector:
    values = np.array([float(one["value"][1]) for one in found], np.float64)
    times = {_ms(one["value"][0]) for one in found}
    if len(times) > 1:
        raise ValueError("its times differ")
    return Vector(times.pop() if times else 0, [Labels.of(one["metric"]) for one in found], values)


def _scalar(found: Any) -> Scalar:
    at, value = found
    return Scalar(_ms(at), float(value))


def _string(found: Any) -> String:
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
