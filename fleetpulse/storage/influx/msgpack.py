"""Reads InfluxDB's answers in MessagePack: columns of numbers, without a Python object a point.

This is the hot path of every read; benchmarks/influx_formats.py measures it beside JSON and CSV.
What is around the rows is read value by value (msgvalues.py), the rows by numpy (msgrows.py).
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from fleetpulse.storage.influx.answer import NOT_WHOLE, AnswerError, Part, Source, Texts
from fleetpulse.storage.influx.msgrows import RowReader
from fleetpulse.storage.influx.msgvalues import length_of_list, length_of_map, value


def read_answer(pieces: Iterable[bytes], texts: Texts) -> Iterator[Part | str]:
    """The series of all documents in the order they come; a str is an error of the server's.

    AnswerError where it is no answer, or not all of it.
    """
    reading = _Reading(Source(pieces), texts)
    if not reading.source.hold(1):
        raise AnswerError("it is empty")
    while reading.source.hold(1):
        yield from reading.document()
    if reading.goes_on:
        raise AnswerError(NOT_WHOLE)


class _Reading:
    """goes_on: whether the last series was said to have more rows than came with it."""

    def __init__(self, source: Source, texts: Texts) -> None:
        self.source, self._rows = source, RowReader(source, texts)
        self.goes_on = False

    def document(self) -> Iterator[Part | str]:
        for key in self._keys():
            if key == "results":
                for _ in range(length_of_list(self.source)):
                    yield from self._result()
            elif key == "error":
                yield self._error()
            else:
                value(self.source)

    def _result(self) -> Iterator[Part | str]:
        for key in self._keys():
            if key == "series":
                for _ in range(length_of_list(self.source)):
                    yield self._series()
            elif key == "error":
                yield self._error()
            else:
                value(self.source)

    def _series(self) -> Part:
        told: dict[str, Any] = {}
        rows = None
        for key in self._keys():
            if key == "values":
                rows = self._rows.read(length_of_list(self.source))
            else:
                told[key] = value(self.source)
        self.goes_on = told.get("partial") is True
        name, tags = str(told.get("name", "")), _tags(told.get("tags", {}))
        columns = _columns(told.get("columns", ["time"]))
        if rows is None or not len(rows[0]):
            return Part(name, tags, np.zeros(0, np.int64), {})
        times, cells = rows
        if len(cells) != len(columns) - 1:
            raise AnswerError("a series' rows are not as long as its columns are many")
        return Part(name, tags, times, dict(zip(columns[1:], cells, strict=True)))

    def _error(self) -> str:
        self.goes_on = False
        return str(value(self.source))

    def _keys(self) -> Iterator[str]:
        """Of a mapping; whoever gets a key reads its value."""
        for _ in range(length_of_map(self.source)):
            yield str(value(self.source))


def _tags(found: Any) -> dict[str, str]:
    if not isinstance(found, dict):
        raise AnswerError("no mapping where tags should be")
    _check_texts(found.values())
    return found


def _columns(found: Any) -> list[str]:
    if not isinstance(found, list) or not found:
        raise AnswerError("no list where the names of columns should be")
    _check_texts(found)
    return found


def _check_texts(found: Iterable[object]) -> None:
    if not all(isinstance(one, str) for one in found):
        raise AnswerError("something else where a text should be")
