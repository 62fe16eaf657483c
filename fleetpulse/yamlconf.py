"""Reads YAML into pydantic models and tells every fault at once, by file, line and key.

A fault reads `file:line: path.key: what is wrong and what would be right`.
"""

import os
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    SecretStr,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import ErrorDetails

from fleetpulse.errors import ConfigError
from fleetpulse.values import (
    ListenAddress,
    duration,
    format_duration,
    listen_address,
    size,
)
from fleetpulse.yamldoc import Document, KeyPath, in_order, read_text, unknown_key

Secret = SecretStr


class Section(BaseModel):
    """Base of every configuration model: unknown keys are faults, nothing changes later."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True
    )


class FaultAtError(ValueError):
    """A validator's fault in something below what it validates: path leads there."""

    def __init__(self, path: KeyPath, message: str) -> None:
        super().__init__(message)
        self.path = path


class OtherFilesError(ValueError):
    """A validator's faults in files that what it validates names, each with its own place."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


def _relative(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, (str, Path)) or not str(value):
        raise ValueError("write the path of a file")
    base = (info.context or {}).get("base", Path())
    return Path(base, Path(value).expanduser())


# Seconds, written as a Prometheus duration.
Duration = Annotated[float, BeforeValidator(duration), PlainSerializer(format_duration)]
# Bytes, written with a unit; KB, MB and GB are powers of 1024.
Size = Annotated[int, BeforeValidator(size)]
Listen = Annotated[ListenAddress, BeforeValidator(listen_address), PlainSerializer(str)]
# Relative to the folder of the file it is written in.
FilePath = Annotated[Path, BeforeValidator(_relative)]

ModelT = TypeVar("ModelT", bound=BaseModel)


def parse_model(
    text: str,
    model: type[ModelT],
    *,
    file: str,
    base: Path,
    env: Mapping[str, str] | None = None,
) -> ModelT:
    """The model's instance, or ConfigError with every fault. base is for relative paths."""
    document = Document.parse(text, file, env)
    return validate(document, model, base)


def validate(document: Document, model: type[ModelT], base: Path) -> ModelT:
    data = {} if document.data is None else document.data
    if not isinstance(data, dict):
        raise ConfigError([f"{document.file}:1: write a mapping of keys, as in `key: value`"])
    try:
        return model.model_validate(data, context={"base": base})
    except ValidationError as err:
        details = err.errors(include_url=False, include_input=False)
        faults = [fault for one in details for fault in _faults(document, model, one)]
        raise ConfigError(in_order(faults)) from None


def load_model(path: Path, model: type[ModelT], *, env: Mapping[str, str] | None = None) -> ModelT:
    """Reads and parses a configuration file, ${ENV} expanded (from os.environ by default)."""
    text = read_text(path)
    environment = os.environ if env is None else env
    return parse_model(text, model, file=str(path), base=path.parent, env=environment)


def _faults(document: Document, model: type[BaseModel], detail: ErrorDetails) -> Sequence[str]:
    error = detail.get("ctx", {}).get("error")
    if isinstance(error, OtherFilesError):
        return error.faults
    below = error.path if isinstance(error, FaultAtError) else ()
    path = document.known((*detail["loc"], *below))
    kind, message = detail["type"], detail["msg"]
    if kind == "extra_forbidden":
        keys = sorted(_keys_at(model, path[:-1]))
        message = unknown_key(str(path[-1]), keys)
    elif kind == "missing":
        message = "missing; this key is needed"
    elif kind in ("value_error", "assertion_error"):
        message = message.partition(", ")[2]
    else:
        message = message.replace("Input should", "should", 1)
    return [document.fault(path, message)]


def _keys_at(model: type[BaseModel], path: Sequence[str | int]) -> Iterable[str]:
    """The keys that the models at a path know. Follows lists, mappings and unions."""
    found: list[Any] = [model]
    for part in path:
        found = [step for one in found for step in _step(one, part)]
    return {
        field.alias or name
        for one in found
        if isinstance(one, type) and issubclass(one, BaseModel)
        for name, field in one.model_fields.items()
        if not field.exclude  # keys that are known only to be refused
    }


def _step(annotation: Any, part: str | int) -> list[Any]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, field in annotation.model_fields.items():
            if part in (name, field.alias):
                return _unwrap(field.annotation)
        return []
    arguments = typing.get_args(annotation)
    return _unwrap(arguments[-1] if isinstance(part, str) else arguments[0]) if arguments else []


def _unwrap(annotation: Any) -> list[Any]:
    """The branches of a union and the bare type of an Annotated."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        return _unwrap(typing.get_args(annotation)[0])
    if origin is typing.Union or type(annotation).__name__ == "UnionType":
        return [one for branch in typing.get_args(annotation) for one in _unwrap(branch)]
    return [annotation]
