"""Reads InfluxDB's answers in JSON: the fastest where each series has few rows.

And all that a server has that makes no MessagePack, as InfluxDB 3.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import orjson

from fleetpulse.storage.influx.answer import NOT_WHOLE, AnswerError, Floats, Part, Texts

_MISSHAPEN = (KeyError, TypeError, AttributeError, ValueError, IndexError, OverflowError)


def read_json(pieces: Iterable[bytes], texts: Texts) -> Iterator[Part | str]:
    """As msgpack.read_answer: a document a line, each whole in memory."""
    empty, goes_on = True, False
    for line in lines_of(pieces):
        empty = False
        try:
            document = parsed(line)
            if "error" in document:
                goes_on = False
                yield str(document["error"])
                continue
            for result in document["results"]:
                for series in result.get("series", ()):
                    goes_on = series.get("partial") is True
                    yield _part(series, texts)
                if "error" in result:
                    goes_on = False
                    yield str(result["error"])
        except AnswerError:
            raise
        except _MISSHAPEN as err:
            raise AnswerError(f"no answer of InfluxDB: {err}") from None
    if empty or goes_on:
        raise AnswerError("it is empty" if empty else NOT_WHOLE)


# JSON has no other way to write it, and its readers take it for a whole number.
_MINUS_ZERO = re.compile(rb"[\[,]-0[,\]]")


def parsed(line: bytes) -> Any:
    """ValueError where it is no JSON. Numbers as they were written, bit for bit."""
    if _MINUS_ZERO.search(line):
        return json.loads(line, parse_int=lambda text: -0.0 if text == "-0" else int(text))
    return orjson.loads(line)


def lines_of(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Lines as they come, without their line feeds; empty ones are left out."""
    held: list[bytes] = []
    for piece in pieces:
        *whole, rest = piece.split(b"\n")
        for line in whole:
            held.append(line)
            if text := b"".join(held).strip():
                yield text
            held.clear()
        held.append(rest)
    if text := b"".join(held).strip():
        yield text


def _part(series: dict[str, Any], texts: Texts) -> Part:
    rows, names = series.get("values", ()), series["columns"][1:]
    tags = series.get("tags") or {}
    if not all(isinstance(one, str) for pair in tags.items() for one in pair):
        raise AnswerError("something else where a text should be")
    if not rows:
        return Part(str(series["name"]), tags, np.zeros(0, np.int64), {})
    times, *columns = zip(*rows, strict=True)
    if set(map(type, times)) != {int}:
        raise AnswerError("a row without a time")
    found = {name: _floats(column, texts) for name, column in zip(names, columns, strict=True)}
    return Part(str(series["name"]), tags, np.array(times, np.int64), found)


def _floats(column: tuple[Any, ...], texts: Texts) -> Floats:
    """None is NaN. A text is never read as a number, not even `NaN`: that is what texts is for."""
    kinds = set(map(type, column))
    if not kinds <= {int, float, bool, str, type(None)}:
        raise AnswerError("a row holds something that is no number, text or yes or no")
    if str in kinds:
        column = tuple(texts(one) if isinstance(one, str) else one for one in column)
    return np.array(column, np.float64)
