"""Configuration as frozen dataclasses, read from a YAML document with every fault at once.

What yamlconf does with pydantic, for processes that are to stay small. A field says by key() how
its value is read; a class may have `check()`, which yields (key, message) for rules between fields.

    @dataclass(frozen=True, slots=True)
    class MountConfig:
        timeout: float = key(duration, 2.0, more_than="0s")
        skip: tuple[str, ...] = key(several(text), ())
"""

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from fleetpulse.errors import ConfigError
from fleetpulse.yamldoc import Document, KeyPath, in_order, read_text, unknown_key

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands. Its faults join a list that all places of a reading share."""

    document: Document
    path: KeyPath
    base: Path
    faults: list[str]

    def at(self, *parts: str | int) -> "Place":
        return dataclasses.replace(self, path=(*self.path, *parts))

    def fault(self, message: str) -> None:
        self.faults.append(self.document.fault(self.path, message))


class ToldError(Exception):
    """What is wrong with a value has been put on the list already."""


@dataclass(frozen=True, slots=True)
class Within(Generic[T]):
    """A reader that needs to know where it is: for what holds other values, and for paths."""

    read: Callable[[object, Place], T]
    record: type | None = None  # the class, where it reads a record


# A plain reader takes what YAML made of the value; ValueError says what would be right.
Reader = Callable[[object], T] | Within[T]


@dataclass(frozen=True, slots=True)
class Key:
    """How one key of a record is read. Bounds are what a file would hold: "1s", "5MB"."""

    read: Reader[Any]
    required: bool
    least: object
    most: object
    more_than: object

    def of_record(self) -> type | None:
        """The class, where the key holds a record."""
        return self.read.record if isinstance(self.read, Within) else None

    def value(self, found: object, place: Place) -> Any:
        value = _read(self.read, found, place)
        if self.least is not None and value < _read(self.read, self.least, place):
            raise ValueError(f"must be at least {self.least}")
        if self.most is not None and value > _read(self.read, self.most, place):
            raise ValueError(f"must be at most {self.most}")
        if self.more_than is not None and value <= _read(self.read, self.more_than, place):
            raise ValueError(f"must be more than {self.more_than}")
        return value


def key(
    read: Reader[T],
    default: Any = ...,
    *,
    least: object = None,
    most: object = None,
    more_than: object = None,
) -> Any:
    """A dataclass field that is read by `read`. Without a default the key must be there."""
    metadata = {"key": Key(read, default is ..., least, most, more_than)}
    if default is ...:
        return dataclasses.field(metadata=metadata)
    if isinstance(default, dict):  # dataclasses wants a fresh one for each instance
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def _path(value: object, place: Place) -> Path:
    if not isinstance(value, (str, Path)) or not str(value):
        raise ValueError("write the path of a file")
    return Path(place.base, Path(value).expanduser())


# Relative to the folder of the file it is written in.
path: Within[Path] = Within(_path)


def optional(read: Reader[T]) -> Within[T | None]:
    """None where the file has null, or nothing after the colon."""
    return Within(lambda value, place: None if value is None else _read(read, value, place))


def several(read: Reader[T], *, or_one: bool = False) -> Within[tuple[T, ...]]:
    """A list; with or_one also a single value that is none."""

    def items(value: object, place: Place) -> tuple[T, ...]:
        if not isinstance(value, (list, tuple)):
            if or_one and value is not None:
                return (_read(read, value, place),)
            raise ValueError("write a list, as in [a, b]")
        found = _all(place, ((index, read, item) for index, item in enumerate(value)))
        return tuple(found.values())

    return Within(items)


def mapping(read: Reader[T]) -> Within[dict[str, T]]:
    """Names and values, such as labels."""

    def pairs(value: object, place: Place) -> dict[str, T]:
        found = _all(place, ((name, read, one) for name, one in _names(value).items()))
        return {str(name): one for name, one in found.items()}

    return Within(pairs)


def record(cls: type[T]) -> Within[T]:
    """A mapping with the keys of a dataclass; nothing after the colon is one of defaults."""
    return Within(lambda value, place: _record(cls, value, place), cls)


def section(cls: type[Any]) -> Any:
    """A dataclass field that holds a record; by default one of defaults."""
    return key(record(cls), cls())


def read_record(
    cls: type[T], document: Document, path: Sequence[str | int] = (), base: Path = Path()
) -> T:
    """The record at a place in the document, or ConfigError with every fault by line.

    A place that is not there is a record of defaults. base is for relative paths.
    """
    found = document.data
    for part in path:
        found = found.get(part) if isinstance(found, dict) else None
    place = Place(document, tuple(path), base, [])
    try:
        return _record(cls, found, place)
    except ValueError as err:
        place.fault(str(err))
    except ToldError:
        pass
    raise ConfigError(in_order(place.faults))


def load_record(path: Path, cls: type[T], *, env: Mapping[str, str] | None = None) -> T:
    """Reads a configuration file, ${ENV} expanded (from os.environ by default)."""
    environment = os.environ if env is None else env
    return read_record(
        cls, Document.parse(read_text(path), str(path), environment), base=path.parent
    )


def keys_of(cls: type) -> dict[str, Key]:
    return {field.name: field.metadata["key"] for field in dataclasses.fields(cls)}


def _read(read: Reader[T], value: object, place: Place) -> T:
    return read.read(value, place) if isinstance(read, Within) else read(value)


def checked(record: object) -> Iterable[tuple[str, str]]:
    """What the record's own check() says."""
    check = getattr(record, "check", None)
    return check() if check is not None else ()


def _record(cls: type[T], value: object, place: Place) -> T:
    found = {} if value is None else _names(value)
    known, before = keys_of(cls), len(place.faults)
    for name in found:
        if name not in known:
            place.at(name).fault(unknown_key(str(name), sorted(known)))
    for name, wanted in known.items():
        if wanted.required and name not in found:
            place.at(name).fault("missing; this key is needed")
    there = ((name, Within(one.value), found[name]) for name, one in known.items() if name in found)
    values = _all(place, there, before)
    made = cls(**values)
    for where, message in checked(made):
        place.at(*filter(None, where.split("."))).fault(message)
    if len(place.faults) > before:
        raise ToldError
    return made


def _names(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("write a mapping of keys, as in `key: value`")
    return value


K = TypeVar("K", str, int)


def _all(
    place: Place, values: Iterable[tuple[K, Reader[T], object]], before: int | None = None
) -> dict[K, T]:
    """Each value read at its place. Where some are wrong, all are told and ToldError rises.

    before: how many faults there were when all of it was fine; as many as now by default.
    """
    before = len(place.faults) if before is None else before
    done: dict[K, T] = {}
    for name, read, value in values:
        here = place.at(name)
        try:
            done[name] = _read(read, value, here)
        except ValueError as err:
            here.fault(str(err))
        except ToldError:
            continue
    if len(place.faults) > before:
        raise ToldError
    return done
