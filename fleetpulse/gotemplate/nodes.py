"""A parsed template: what the parser builds and the evaluation walks. Lines count from 1."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class TemplateError(ValueError):
    """A template that cannot be read or expanded: `line N: what is wrong`.

    template is the name of the one that the line stands in, where it is not the main text.
    """

    def __init__(self, line: int, message: str, template: str = "") -> None:
        place = f" (in template {template!r})" if template else ""
        super().__init__(f"line {line}: {message}{place}")
        self.line, self.message, self.template = line, message, template

    def of(self, text: str) -> "TemplateError":
        """The same, naming the text: for a reader who cannot see the place."""
        error = TemplateError(self.line, self.message, self.template)
        error.args = (f"template {text[:60]!r}: {self}",)
        return error


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal: text, int, float, bool, or None for nil."""

    line: int
    value: Any


@dataclass(frozen=True, slots=True)
class Dot:
    line: int


@dataclass(frozen=True, slots=True)
class Variable:
    """`$name`, or `$` alone."""

    line: int
    name: str


@dataclass(frozen=True, slots=True)
class Function:
    line: int
    name: str


@dataclass(frozen=True, slots=True)
class Field:
    """`.name` of a value; the last of a chain may be a method with the command's arguments."""

    line: int
    of: "Operand"
    name: str


@dataclass(frozen=True, slots=True)
class Command:
    """Operands in a row: a function or method with its arguments, or a single value."""

    line: int
    operands: tuple["Operand", ...]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Commands joined by |, and the variables that their value is given to, if any."""

    line: int
    commands: tuple[Command, ...]
    variables: tuple[str, ...] = ()
    declares: bool = False


Operand = Constant | Dot | Variable | Function | Field | Pipeline


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Action:
    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class If:
    pipeline: Pipeline
    body: "Body"
    otherwise: "Body"


@dataclass(frozen=True, slots=True)
class With:
    pipeline: Pipeline
    body: "Body"
    otherwise: "Body"


@dataclass(frozen=True, slots=True)
class Range:
    pipeline: Pipeline
    body: "Body"
    otherwise: "Body"


@dataclass(frozen=True, slots=True)
class Call:
    """`{{ template "name" pipeline }}`."""

    line: int
    name: str
    pipeline: Pipeline | None


@dataclass(frozen=True, slots=True)
class Jump:
    """`{{ break }}` or `{{ continue }}`."""

    is_break: bool


Node = Text | Action | If | With | Range | Call | Jump
Body = tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """The main body and the bodies that `define` named."""

    body: Body
    named: Mapping[str, Body]
