"""Many floats as the texts that Prometheus writes: the hot path of a range query's answer.

orjson writes an array of numpy's as it is, without an object for each number, and finds the
shortest form in a third of the time of the next best. Rows of one value only, and rows of whole
numbers, which are most of a host's, are told first: they take a fraction of that.
"""

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal

import numpy as np
import orjson
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_WHOLE = float(1 << 53)  # from here on not every whole number is a float


def value_text(value: float) -> str:
    """The shortest form that reads back exactly, without an exponent from 1e-6 up to 1e21."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    if "e" in text and 1e-6 <= abs(value) < 1e21:
        return format(Decimal(text), "f")
    return text.removesuffix(".0")


def value_texts(values: Floats) -> list[str]:
    """Of each value of (values,) its value_text()."""
    return _texts(values, _odd(values), zeros=True) if len(values) else []


def pairs_texts(marks: Sequence[str], heads: Sequence[str], rows: Floats) -> Iterator[str]:
    """Of each row of (rows, values) its head and then `[[time,"value"],…]`.

    marks: as of time_marks().
    """
    bits = rows.view(np.int64)
    same = (bits == bits[:, :1]).all(axis=1).tolist()
    with np.errstate(invalid="ignore"):
        numbers = rows.astype(np.int64)
        even = numbers == rows
    # -0 is a number of its own, and has no sign any more once it is whole.
    whole = even & (np.abs(rows) < _WHOLE) & ((numbers != 0) | (bits == 0))
    wholes, odd = whole.sum(axis=1).tolist(), _odd(rows)
    # JSON ends these with `.0`, whether they are whole for the quick way or not.
    zeros = (even | odd).any(axis=1).tolist()
    for row, head in enumerate(heads):
        if same[row]:
            yield _one_value(marks, head, float(rows[row, 0]))
        elif wholes[row] == rows.shape[1]:
            yield _pairs(marks, head, _split(_dumped(numbers[row])))
        else:
            yield _pairs(marks, head, _texts(rows[row], odd[row], zeros=zeros[row]))


def _odd(values: Floats) -> NDArray[np.bool_]:
    """Where JSON's form differs: it has an exponent, or JSON has no such number."""
    size = np.abs(values)
    with np.errstate(invalid="ignore"):  # a NaN may be one that signals
        usual: NDArray[np.bool_] = ((size >= 1e-4) & (size < 1e16)) | (size == 0)
    return ~usual


def _texts(values: Floats, odd: NDArray[np.bool_], *, zeros: bool) -> list[str]:
    """zeros: whether any may be a whole number, which JSON ends with `.0`."""
    dumped = _dumped(np.ascontiguousarray(values))
    texts = _split(dumped.replace(b".0,", b",").removesuffix(b".0") if zeros else dumped)
    for place in np.flatnonzero(odd).tolist():
        texts[place] = value_text(float(values[place]))
    return texts


def time_marks(times_ms: NDArray[np.int64]) -> list[str]:
    """Of each time its text with what stands around it, from the value before to its own."""
    if (times_ms % 1000 == 0).all():
        texts = _split(_dumped(np.ascontiguousarray(times_ms // 1000)))
    else:
        texts = [seconds(at) for at in times_ms.tolist()]
    return ("[[" + ',"\0"],['.join(texts) + ',"').split("\0")


def seconds(at_ms: int) -> str:
    """Unix milliseconds as seconds: 1500 → `1.500`."""
    whole, rest = divmod(abs(at_ms), 1000)
    sign = "-" if at_ms < 0 else ""
    return f"{sign}{whole}.{rest:03d}" if rest else f"{sign}{whole}"


def _one_value(marks: Sequence[str], head: str, value: float) -> str:
    text = value_text(value)
    return f'{head}{text.join(marks)}{text}"]]'


def _pairs(marks: Sequence[str], head: str, texts: Sequence[str]) -> str:
    size = 2 * len(texts)
    parts = [head, *([""] * size), '"]]']
    parts[1:-1:2] = marks
    parts[2:-1:2] = texts
    return "".join(parts)


def _dumped(values: NDArray[np.int64] | Floats) -> bytes:
    """`1,2.5,…`"""
    return orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]


def _split(numbers: bytes) -> list[str]:
    return numbers.decode().split(",")
