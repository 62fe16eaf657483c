"""Reads YAML into pydantic models and tells every fault at once, by file, line and key.

A fault reads `file:line: path.key: what is wrong and what would be right`.
"""

import difflib
import os
import re
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
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

from fleetpulse.errors import ConfigError, StartError
from fleetpulse.values import (
    ListenAddress,
    format_duration,
    parse_duration,
    parse_listen_address,
    parse_size,
)

KeyPath = tuple[str | int, ...]
Secret = SecretStr

_MAX_BYTES = 10 << 20
_MAX_NODES = 500_000
# ${1} is no variable but a group of a regular expression, as relabelling's replacements have it.
_REFERENCE = re.compile(r"\$(?:\$|\{((?!\d+\})[^}]*)\})")
_SECRET_BYTES = 64 << 10


class Section(BaseModel):
    """Base of every configuration model: unknown keys are faults, nothing changes later."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True
    )


def _duration(value: object) -> float:
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == 0:
        return 0.0
    raise ValueError(f"{value!r} has no unit; write for example 10s, 5m or 1h30m")


def _size(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError(f"{value!r} is no size; write for example 512KB, 50MB or 1GB")
    return parse_size(str(value))


def _listen(value: object) -> ListenAddress:
    return value if isinstance(value, ListenAddress) else parse_listen_address(str(value))


def _relative(value: object, info: ValidationInfo) -> Path:
    if not isinstance(value, (str, Path)) or not str(value):
        raise ValueError("write the path of a file")
    base = (info.context or {}).get("base", Path())
    return Path(base, Path(value).expanduser())


# Seconds, written as a Prometheus duration.
Duration = Annotated[float, BeforeValidator(_duration), PlainSerializer(format_duration)]
# Bytes, written with a unit; KB, MB and GB are powers of 1024.
Size = Annotated[int, BeforeValidator(_size)]
Listen = Annotated[ListenAddress, BeforeValidator(_listen), PlainSerializer(str)]
# Relative to the folder of the file it is written in.
FilePath = Annotated[Path, BeforeValidator(_relative)]


def read_secret(inline: Secret | None, file: Path | None) -> str | None:
    """The secret, read anew from its file if it has one, without surrounding white space.

    StartError names a file that cannot be read; the secret itself is in no message.
    """
    if file is None:
        return inline.get_secret_value() if inline is not None else None
    try:
        with file.open("rb") as stream:
            return stream.read(_SECRET_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as err:
        reason = err.strerror if isinstance(err, OSError) else "it is no text"
        raise StartError(f"{file}: cannot read the secret: {reason}") from err


class Document:
    """A YAML file as plain data, which remembers the line of every key and item."""

    def __init__(self, data: Any, file: str, lines: Mapping[KeyPath, int]) -> None:
        self.data, self.file, self._lines = data, file, lines

    @classmethod
    def parse(cls, text: str, file: str, env: Mapping[str, str] | None = None) -> "Document":
        """ConfigError where text is no YAML, has a key twice or names an unset ${VARIABLE}.

        env=None leaves ${…} as it stands.
        """
        builder = _Builder(file, env)
        try:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
            data = builder.build(root, ()) if root is not None else None
        except yaml.MarkedYAMLError as err:
            mark = err.problem_mark or err.context_mark
            line = mark.line + 1 if mark else 1
            what = " ".join(part for part in (err.context, err.problem) if part)
            raise ConfigError([f"{file}:{line}: not valid YAML: {what}"]) from err
        except yaml.YAMLError as err:
            raise ConfigError([f"{file}:1: not valid YAML: {err}"]) from err
        except RecursionError as err:
            raise ConfigError([f"{file}:1: nested too deeply"]) from err
        if builder.faults:
            raise ConfigError(builder.faults)
        return cls(data, file, builder.lines)

    def line(self, path: Sequence[str | int]) -> int:
        """The line of a key or item, or of the nearest thing around it that is in the file."""
        where = tuple(path)
        while where and where not in self._lines:
            where = where[:-1]
        return self._lines.get(where, 1)

    def known(self, path: Sequence[str | int]) -> KeyPath:
        """path without the parts that are in no file: pydantic puts union branches among them."""
        found: KeyPath = ()
        for index, part in enumerate(path):
            if (*found, part) in self._lines or index == len(path) - 1:
                found = (*found, part)
        return found

    def fault(self, path: Sequence[str | int], message: str) -> str:
        where = dotted(path)
        return f"{self.file}:{self.line(path)}: {where + ': ' if where else ''}{message}"


def dotted(path: Sequence[str | int]) -> str:
    """('jobs', 0, 'name') → `jobs[0].name`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


class _Builder:
    """Turns YAML nodes into plain data; notes lines, doubled keys and unset variables."""

    def __init__(self, file: str, env: Mapping[str, str] | None) -> None:
        self._file, self._env = file, env
        self._constructor = yaml.SafeLoader("")
        self.lines: dict[KeyPath, int] = {}
        self.faults: list[str] = []
        self._nodes = 0

    def build(self, node: yaml.Node, path: KeyPath) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES:  # a few aliases of aliases can stand for billions
            raise ConfigError([f"{self._file}:1: too many nodes; are there aliases of aliases?"])
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, i)) for i, item in enumerate(node.value)]
        value = self._constructor.construct_object(node)
        if isinstance(value, str) and self._env is not None:
            return self._expand(value, node.start_mark.line + 1, path)
        # Dates and binaries are YAML's idea, not the person's: keep what was written.
        plain = value is None or isinstance(value, (str, int, float, bool))
        return value if plain else node.value

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[Any, Any]:
        # Merge keys (<<: *defaults) are resolved by PyYAML itself.
        written = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        doubled = {key for key in written if isinstance(key, str) and written.count(key) > 1}
        self._constructor.flatten_mapping(node)
        result: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self._constructor.construct_object(key_node)
            name = key if isinstance(key, (str, int)) else str(key_node.value)
            line = key_node.start_mark.line + 1
            if name in doubled and name in result:
                where = dotted((*path, name))
                self.faults.append(f"{self._file}:{line}: {where}: the key is there twice")
            self.lines[(*path, name)] = line
            result[name] = self.build(value_node, (*path, name))
        return result

    def _expand(self, text: str, line: int, path: KeyPath) -> str:
        def replace(match: re.Match[str]) -> str:
            if match[0] == "$$":
                return "$"
            name, found = match[1], (self._env or {}).get(match[1])
            if found is None:
                where = dotted(path)
                self.faults.append(
                    f"{self._file}:{line}: {where}: the environment has no {name}; "
                    f"set it, or write $${{{name}}} for the text itself"
                )
            return found or ""

        return _REFERENCE.sub(replace, text)


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
        faults = {_fault(document, model, detail): None for detail in details}
        raise ConfigError(sorted(faults, key=_line_of)) from None


def load_model(path: Path, model: type[ModelT], *, env: Mapping[str, str] | None = None) -> ModelT:
    """Reads and parses a configuration file, ${ENV} expanded (from os.environ by default)."""
    text = read_text(path)
    environment = os.environ if env is None else env
    return parse_model(text, model, file=str(path), base=path.parent, env=environment)


def read_text(path: Path) -> str:
    """The text of a file a person wrote; ConfigError where there is none."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MAX_BYTES + 1)
    except OSError as err:
        raise ConfigError([f"{path}:1: cannot be read: {err.strerror}"]) from err
    if len(raw) > _MAX_BYTES:
        raise ConfigError([f"{path}:1: larger than 10 MB; is this the right file?"])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = raw[: err.start].count(b"\n") + 1
        raise ConfigError([f"{path}:{line}: not UTF-8; save the file as UTF-8"]) from err


def _line_of(fault: str) -> tuple[int, str]:
    match = re.search(r":(\d+): ", fault)
    return (int(match[1]) if match else 0, fault)


def _fault(document: Document, model: type[BaseModel], detail: ErrorDetails) -> str:
    path = document.known(detail["loc"])
    kind, message = detail["type"], detail["msg"]
    if kind == "extra_forbidden":
        keys = sorted(_keys_at(model, path[:-1]))
        message = _unknown_key(str(path[-1]), keys)
    elif kind == "missing":
        message = "missing; this key is needed"
    elif kind in ("value_error", "assertion_error"):
        message = message.partition(", ")[2]
    else:
        message = message.replace("Input should", "should", 1)
    return document.fault(path, message)


def _unknown_key(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"no such key; {hint}known here: {', '.join(known)}" if known else "no such key"


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
