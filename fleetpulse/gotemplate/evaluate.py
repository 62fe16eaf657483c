"""Walks a parsed template and writes its text, within bounds.

Nothing of Python shows through: a field is a key of a map or what a Struct offers, a function is
one of the table that the caller gives. Steps, time, and the text made are bounded, so that no
template can hold up the one who expands it.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleetpulse.errors import FleetPulseError
from fleetpulse.gotemplate.nodes import (
    Action,
    Body,
    Call,
    Command,
    Constant,
    Dot,
    Field,
    Function,
    If,
    Jump,
    Node,
    Operand,
    Pipeline,
    Range,
    Template,
    TemplateError,
    Text,
    Variable,
    With,
)
from fleetpulse.gotemplate.printing import show
from fleetpulse.gotemplate.values import (
    AnyMap,
    GoFunction,
    SafeHtml,
    Struct,
    go_type,
    is_list,
    truth,
)

_LAZY = ("and", "or")
_MAX_CALLS = 50
_TIME_CHECK_EVERY = 256
# All texts that functions make in one expansion, in multiples of what it may write: a list in a
# variable can hold on to every one of them.
_MADE_PER_OUTPUT = 64
_NOTHING: Any = object()
_FAILURES = (
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    LookupError,
    RecursionError,
    FleetPulseError,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one expansion may use: nodes visited, characters written, seconds."""

    steps: int = 100_000
    output: int = 65_536
    seconds: float = 10.0


class _Break(Exception):  # noqa: N818 - it is no error
    pass


class _Continue(Exception):  # noqa: N818 - it is no error
    pass


class Evaluation:
    """One expansion. Made for it and then thrown away."""

    def __init__(
        self,
        template: Template,
        functions: Mapping[str, GoFunction],
        *,
        named: Mapping[str, Body | GoFunction] | None = None,
        escape: Callable[[str], str] | None = None,
        limits: Limits = Limits(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """named: templates from elsewhere, some of them functions that make text of their data.

        escape: for every value that is not SafeHtml.
        """
        self._template = template
        self._named = named or {}
        self._functions = functions
        self._escape = escape
        self._limits = limits
        self._clock = clock
        self._deadline = clock() + limits.seconds
        self._steps = self._written = self._made = self._calls = 0
        self._out: list[str] = []
        self._scope: list[tuple[str, Any]] = []

    def run(self, dot: Any, variables: Mapping[str, Any] | None = None) -> str:
        """The text. Raises TemplateError."""
        self._scope = [("", dot), *(variables or {}).items()]
        try:
            self._walk(self._template.body, dot)
        except RecursionError as err:
            raise TemplateError(1, "nested too deeply") from err
        return "".join(self._out)

    # Nodes

    def _walk(self, body: Body, dot: Any) -> None:
        outer = len(self._scope)
        for node in body:
            _VISITS[type(node)](self, node, dot)
        del self._scope[outer:]

    def _text(self, node: Text, _dot: Any) -> None:
        self._write(node.text, 0)

    def _action(self, node: Action, dot: Any) -> None:
        pipeline = node.pipeline
        value = self._pipeline(pipeline, dot)
        if not pipeline.variables:
            self._write(self._shown(value, pipeline.line), pipeline.line)

    def _branch(self, node: If | With, dot: Any) -> None:
        outer = len(self._scope)
        value = self._pipeline(node.pipeline, dot)
        if truth(value):
            self._walk(node.body, value if isinstance(node, With) else dot)
        else:
            self._walk(node.otherwise, dot)
        del self._scope[outer:]

    def _jump(self, node: Jump, _dot: Any) -> None:
        raise _Break if node.is_break else _Continue

    def _range(self, node: Range, dot: Any) -> None:
        outer = len(self._scope)
        # The variables belong to the items: the pipeline's own value is given to none.
        plain = Pipeline(node.pipeline.line, node.pipeline.commands)
        empty = True
        for key, item in _items(self._pipeline(plain, dot), node.pipeline.line):
            empty = False
            del self._scope[outer:]
            self._step(node.pipeline.line)
            self._loop_variables(node.pipeline, key, item)
            try:
                self._walk(node.body, item)
            except _Continue:
                continue
            except _Break:
                break
        del self._scope[outer:]
        if empty:
            self._walk(node.otherwise, dot)

    def _loop_variables(self, pipeline: Pipeline, key: Any, item: Any) -> None:
        names = pipeline.variables
        values = (key, item) if len(names) == 2 else (item,)
        for name, value in zip(names, values, strict=False):
            self._give(name, value, declares=pipeline.declares)

    def _call(self, node: Call, dot: Any) -> None:
        self._step(node.line)
        value = None if node.pipeline is None else self._pipeline(node.pipeline, dot)
        body: Body | GoFunction | None = self._template.named.get(node.name)
        if body is None:
            body = self._named.get(node.name)
        if body is None:
            raise TemplateError(node.line, f"template {node.name!r} is not defined")
        if isinstance(body, GoFunction):
            text = self._guarded(body, [value], node.line)
            self._write(self._shown(text, node.line), node.line)
        else:
            self._inside(node, body, value)

    def _inside(self, node: Call, body: Body, value: Any) -> None:
        self._calls += 1
        if self._calls > _MAX_CALLS:
            raise TemplateError(node.line, f"more than {_MAX_CALLS} templates inside each other")
        kept, self._scope = self._scope, [("", value)]
        try:
            self._walk(body, value)
        except TemplateError as err:
            if err.template:
                raise
            raise TemplateError(err.line, err.message, node.name) from err
        self._scope = kept
        self._calls -= 1

    # Values

    def _pipeline(self, pipeline: Pipeline, dot: Any) -> Any:
        value = _NOTHING
        for command in pipeline.commands:
            self._step(command.line)
            value = self._command(command, dot, value)
        for name in pipeline.variables:
            self._give(name, value, declares=pipeline.declares)
        return value

    def _command(self, command: Command, dot: Any, final: Any) -> Any:
        """The command's value; final is what the stage before it gave: its last argument."""
        operands = command.operands
        first = operands[0]
        if isinstance(first, Function):
            return self._function(first, dot, operands[1:], final)
        if isinstance(first, Field):
            arguments = [self._operand(operand, dot) for operand in operands[1:]]
            if final is not _NOTHING:
                arguments.append(final)
            return self._field(first, dot, arguments)
        if final is not _NOTHING:
            raise TemplateError(command.line, "can't give argument to non-function")
        return self._operand(first, dot)

    def _operand(self, operand: Operand, dot: Any) -> Any:
        self._step(operand.line)
        kind = type(operand)
        if kind is Dot:
            return dot
        return _VALUES[kind](self, operand, dot)

    def _constant(self, operand: Constant, _dot: Any) -> Any:
        return operand.value

    def _variable(self, variable: Variable, _dot: Any) -> Any:
        for name, value in reversed(self._scope):
            if name == variable.name:
                return value
        raise TemplateError(variable.line, f"undefined variable: ${variable.name}")

    def _function(
        self,
        function: Function,
        dot: Any,
        operands: Sequence[Operand] = (),
        final: Any = _NOTHING,
    ) -> Any:
        name = function.name
        if name in _LAZY:
            return self._lazy(function, operands, dot, final)
        arguments = [self._operand(operand, dot) for operand in operands]
        if final is not _NOTHING:
            arguments.append(final)
        return self._guarded(self._functions[name], arguments, function.line)

    def _lazy(self, function: Function, operands: Sequence[Operand], dot: Any, final: Any) -> Any:
        """`and` and `or` look at no more arguments than they need."""
        if not operands and final is _NOTHING:
            message = f"wrong number of args for {function.name}: want at least 1 got 0"
            raise TemplateError(function.line, message)
        value: Any = final
        for operand in operands:
            value = self._operand(operand, dot)
            if truth(value) == (function.name == "or"):
                return value
        return value if final is _NOTHING else final

    def _field(self, field: Field, dot: Any, arguments: Sequence[Any] = ()) -> Any:
        owner = self._operand(field.of, dot)
        if isinstance(owner, Struct):
            method = owner.methods.get(field.name)
            if method is not None:
                return self._guarded(method, arguments, field.line, (owner,))
        if arguments:
            message = f"{field.name} is not a method but has arguments"
            raise TemplateError(field.line, message)
        return _member(owner, field)

    def _give(self, name: str, value: Any, *, declares: bool) -> None:
        if not declares:
            for index in range(len(self._scope) - 1, -1, -1):
                if self._scope[index][0] == name:
                    self._scope[index] = (name, value)
                    return
        self._scope.append((name, value))

    # Bounds

    def _step(self, line: int) -> None:
        self._steps += 1
        if self._steps > self._limits.steps:
            raise TemplateError(line, f"stopped after {self._limits.steps} steps")
        if not self._steps % _TIME_CHECK_EVERY and self._clock() > self._deadline:
            raise TemplateError(line, f"stopped after {self._limits.seconds:g} s")

    def _write(self, text: str, line: int) -> None:
        self._written += len(text)
        if self._written > self._limits.output:
            message = f"more than {self._limits.output} characters written"
            raise TemplateError(line or 1, message)
        self._out.append(text)

    def _shown(self, value: Any, line: int) -> str:
        try:
            text = show(value, self._limits.output)
        except (ValueError, RecursionError) as err:
            raise TemplateError(line, str(err)) from err
        if self._escape is None or isinstance(value, SafeHtml):
            return text
        return self._escape(text)

    def _guarded(
        self,
        function: GoFunction,
        arguments: Sequence[Any],
        line: int,
        owner: tuple[Any, ...] = (),
    ) -> Any:
        """What the function gives; its failure told with the line."""
        size = 0
        for argument in arguments:
            if isinstance(argument, str):
                size += len(argument)
        self._bound(size, function.name, line)
        try:
            result = function.call(arguments, owner)
        except TemplateError:
            raise
        except _FAILURES as err:
            raise TemplateError(line, f"error calling {function.name}: {err}") from err
        if isinstance(result, str):
            self._made += len(result)
            self._bound(len(result), function.name, line)
        return result

    def _bound(self, size: int, name: str, line: int) -> None:
        """Text that doubles in a loop would fill the memory before any other bound is met."""
        most = self._limits.output
        if size > most:
            raise TemplateError(line, f"more than {most} characters for {name}")
        if self._made > most * _MADE_PER_OUTPUT:
            message = f"functions made more than {most * _MADE_PER_OUTPUT} characters"
            raise TemplateError(line, message)


def _member(owner: Any, field: Field) -> Any:
    if isinstance(owner, Struct):
        try:
            return owner.field(field.name)
        except KeyError:
            message = f"can't evaluate field {field.name} in type {owner.go_type}"
            known = ", ".join(owner.known())
            raise TemplateError(field.line, f"{message}; it has {known}") from None
    if isinstance(owner, Mapping):
        return owner.get(field.name, None if isinstance(owner, AnyMap) else "")
    message = f"can't evaluate field {field.name} in type {go_type(owner)}"
    raise TemplateError(field.line, message)


def _items(value: Any, line: int) -> Iterator[tuple[Any, Any]]:
    """What a range goes over, as (index or key, item)."""
    if isinstance(value, Mapping):
        return iter(sorted(value.items()))
    if is_list(value):
        return enumerate(value)
    if type(value) is int:
        return ((number, number) for number in range(value))
    raise TemplateError(line, f"range can't iterate over {show(value)}")


_VISITS: dict[type[Node], Callable[[Evaluation, Any, Any], None]] = {
    Text: Evaluation._text,
    Action: Evaluation._action,
    If: Evaluation._branch,
    With: Evaluation._branch,
    Range: Evaluation._range,
    Call: Evaluation._call,
    Jump: Evaluation._jump,
}
_VALUES: dict[type[Operand], Callable[[Evaluation, Any, Any], Any]] = {
    Constant: Evaluation._constant,
    Variable: Evaluation._variable,
    Field: Evaluation._field,
    Function: Evaluation._function,
    Pipeline: Evaluation._pipeline,
}
