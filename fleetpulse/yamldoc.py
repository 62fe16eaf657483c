"""Reads YAML as plain data that remembers the line of every key; faults name file, line and key.

Without pydantic, which a small process need not load. Models are built on top: by `records` from
dataclasses, by `yamlconf` from pydantic.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fleetpulse.errors import ConfigError, StartError

if TYPE_CHECKING:
    import yaml

KeyPath = tuple[str | int, ...]

_MAX_BYTES = 10 << 20
_MAX_NODES = 500_000
# ${1} is no variable but a group of a regular expression, as relabelling's replacements have it.
_REFERENCE = re.compile(r"\$(?:\$|\{((?!\d+\})[^}]*)\})")
_SECRET_BYTES = 64 << 10


class HasSecret(Protocol):
    """A value that does not print itself, as Secret and pydantic's SecretStr do not."""

    def get_secret_value(self) -> str: ...


class Secret:
    """A text that shows itself to nobody who does not ask for it by name."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def get_secret_value(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret('**********')"

    def __str__(self) -> str:
        return "**********"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


def secret(value: object) -> Secret:
    if not isinstance(value, str):
        raise ValueError("is no text; write it in quotes")  # and no word of what was written
    return Secret(value)


class Document:
    """A YAML file as plain data, which remembers the line of every key and item."""

    def __init__(self, data: Any, file: str, lines: Mapping[KeyPath, int]) -> None:
        self.data, self.file, self._lines = data, file, lines

    @classmethod
    def parse(cls, text: str, file: str, env: Mapping[str, str] | None = None) -> "Document":
        """ConfigError where text is no YAML, has a key twice or names an unset ${VARIABLE}.

        env=None leaves ${…} as it stands.
        """
        import yaml  # by those only who have a file: a process on every host often has none

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
        import yaml

        self._constructor = yaml.SafeLoader("")
        self._mapping_node, self._sequence_node = yaml.MappingNode, yaml.SequenceNode
        self.lines: dict[KeyPath, int] = {}
        self.faults: list[str] = []
        self._nodes = 0

    def build(self, node: "yaml.Node", path: KeyPath) -> Any:
        self._nodes += 1
        if self._nodes > _MAX_NODES:  # a few aliases of aliases can stand for billions
            raise ConfigError([f"{self._file}:1: too many nodes; are there aliases of aliases?"])
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, self._mapping_node):
            return self._mapping(node, path)
        if isinstance(node, self._sequence_node):
            return [self.build(item, (*path, i)) for i, item in enumerate(node.value)]
        value = self._constructor.construct_object(node)
        if isinstance(value, str) and self._env is not None:
            return self._expand(value, node.start_mark.line + 1, path)
        # Dates, binaries and 7:2 as seven minutes are YAML's idea, not the person's: keep what was
        # written.
        plain = value is None or isinstance(value, (str, int, float, bool))
        timely = isinstance(value, (int, float)) and ":" in node.value
        return value if plain and not timely else node.value

    def _mapping(self, node: "yaml.MappingNode", path: KeyPath) -> dict[Any, Any]:
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


def read_secret(inline: HasSecret | None, file: Path | None) -> str | None:
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


def in_order(faults: Iterable[str]) -> list[str]:
    """Faults file by file, as the files first come up, by line in each; none twice."""
    places = {fault: _place_of(fault) for fault in faults}
    files = list(dict.fromkeys(file for file, _ in places.values()))
    return sorted(places, key=lambda one: (files.index(places[one][0]), places[one][1], one))


def _place_of(fault: str) -> tuple[str, int]:
    match = re.match(r"(.*?):(\d+): ", fault)
    return (match[1], int(match[2])) if match else ("", 0)


def unknown_key(key: str, known: Sequence[str]) -> str:
    """What is said of a key that nothing here has; known are those that there are."""
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"no such key; {hint}known here: {', '.join(known)}" if known else "no such key"
