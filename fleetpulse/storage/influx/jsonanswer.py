"""Reads InfluxDB's answers in JSON, for a server that has no MessagePack: InfluxDB 3."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from pydantic_core import from_json

from fleetpulse.storage.influx.msgpack import Floats, MsgpackError, Part


def read_json(pieces: Iterable[bytes], texts: Callable[[str], float]) -> Iterator[Part | str]:
    """As msgpack.read_answer: a document a line, each whole in memory."""
    for line in b"".join(pieces).splitlines():
        try:
            document = from_json(line)
            if "error" in document:
                yield str(document["error"])
                continue
            for result in document["results"]:
                if "error" in result:
                    yield str(result["error"])
                for series in result.get("series", ()):
                    yield _part(series, texts)
        except (KeyError, TypeError, AttributeError, ValueError, IndexError) as err:
            raise MsgpackError(f"no answer of InfluxDB: {err}") from None


def _part(series: dict[str, Any], texts: Callable[[str], float]) -> Part:
    times, *columns = zip(*series["values"], strict=True)
    named = zip(series["columns"][1:], columns, strict=True)
    return Part(
        series["name"],
        series.get("tags", {}),
        np.array(times, np.int64),
        {name: _floats(column, texts) for name, column in named},
    )


def _floats(column: tuple[Any, ...], texts: Callable[[str], float]) -> Floats:
    """None is NaN."""
    try:
        return np.array(column, np.float64)
    except ValueError:
        return np.array([texts(one) if isinstance(one, str) else one for one in column], np.float64)
