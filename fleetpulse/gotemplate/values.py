"""The values of a template beyond plain text, numbers, lists and maps."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

# Gives back the argument in the form that a function takes; ValueError where it is no such thing.
Kind = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class GoFunction:
    """A function or method that checks its arguments' number and kinds first, as Go does.

    more: the kind of all further arguments; None where there may be none.
    """

    name: str
    kinds: tuple[Kind, ...]
    function: Callable[..., Any]
    more: Kind | None = None

    def call(self, arguments: Sequence[Any], owner: tuple[Any, ...] = ()) -> Any:
        """owner: the value that a method belongs to. Raises ValueError."""
        wanted, got = len(self.kinds), len(arguments)
        if got != wanted and (got < wanted or self.more is None):
            least = "" if self.more is None else "at least "
            message = f"wrong number of args for {self.name}: want {least}{wanted} got {got}"
            raise ValueError(message)
        fitting = [kind(argument) for kind, argument in zip(self.kinds, arguments, strict=False)]
        if self.more is not None:
            fitting += map(self.more, arguments[wanted:])
        return self.function(*owner, *fitting)


def table(*functions: GoFunction) -> dict[str, GoFunction]:
    """The functions by their names."""
    return {function.name: function for function in functions}


class Struct:
    """A value with fields and methods of its own: what it does not offer, no template reaches."""

    __slots__ = ()
    go_type: ClassVar[str] = "struct"
    methods: ClassVar[Mapping[str, GoFunction]] = {}

    def field(self, name: str) -> Any:
        """Raises KeyError for a field that is not there."""
        raise KeyError(name)

    def known(self) -> Iterable[str]:
        """The names to tell to whoever asks for one that is not there."""
        return self.methods

    def text(self) -> str | None:
        """How it prints; None: as the list or map that it is as well."""
        return None


class AnyMap(dict[str, Any]):
    """A map whose values are of any kind: what it lacks shows as `<no value>`, not as nothing."""


class SafeHtml(str):
    """Text that is HTML already and is not escaped again."""

    __slots__ = ()


_NAMES: dict[type, str] = {
    bool: "bool",
    int: "int",
    float: "float64",
    str: "string",
    SafeHtml: "template.HTML",
    AnyMap: "map[string]interface {}",
    type(None): "<nil>",
}


def go_type(value: Any) -> str:
    """The type that Go's messages would name."""
    if type(value) in _NAMES:
        return _NAMES[type(value)]
    if isinstance(value, Struct):
        return value.go_type
    if isinstance(value, Mapping):
        return "map[string]string"
    if is_list(value):
        return f"[]{go_type(value[0])}" if value else "[]interface {}"
    return type(value).__name__


def is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def truth(value: Any) -> bool:
    """Go's template truth: not the zero value of its type, and not empty."""
    if isinstance(value, Struct) and not isinstance(value, Mapping | Sequence):
        return True
    return bool(value)


# Kinds of arguments


def anything(value: Any) -> Any:
    return value


def string(value: Any) -> str:
    if not isinstance(value, str):
        raise wrong_type("string", value)
    return value


def strings(value: Any) -> list[str]:
    if not is_list(value) or not all(isinstance(item, str) for item in value):
        raise wrong_type("[]string", value)
    return list(value)


def vector(value: Any) -> Sequence[Any]:
    """A list of whatever."""
    if not is_list(value):
        raise wrong_type("list", value)
    found: Sequence[Any] = value
    return found


def wrong_type(wanted: str, value: Any) -> ValueError:
    return ValueError(f"wrong type for value; expected {wanted}; got {go_type(value)}")
