"""What a command line says, put over a record that was read from a file or made of defaults."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fleetpulse.records import Place, ToldError, checked, keys_of
from fleetpulse.yamldoc import Document

T = TypeVar("T")


def read_value(cls: type, names: Sequence[str], value: object, base: Path = Path()) -> Any:
    """value as the key at names would be read from a file. ValueError says what is wrong."""
    *outer, last = names
    for name in outer:
        inner = keys_of(cls)[name].of_record()
        assert inner is not None, f"{name} holds no record"
        cls = inner
    place = Place(Document(None, "", {}), (), base, [])
    try:
        return keys_of(cls)[last].value(value, place)
    except ToldError:
        raise ValueError("; ".join(one.split(": ", 1)[1] for one in place.faults)) from None


def changed(record: T, names: Sequence[str], value: object) -> T:
    """A copy of record with another value at names; check() is not asked."""
    name, *inner = names
    new = changed(getattr(record, name), inner, value) if inner else value
    return dataclasses.replace(record, **{name: new})  # type: ignore[type-var]


def complaints(record: object) -> Iterator[tuple[str, str]]:
    """What check() says of the record and of those in it: (path.key, message)."""
    for name, one in keys_of(type(record)).items():
        if one.of_record() is not None:
            for where, message in complaints(getattr(record, name)):
                yield f"{name}.{where}" if where else name, message
    yield from checked(record)
