"""Walks a parsed template and writes its text, within bounds.

Nothing of Python shows through: a field is a key of a mapping or what a Struct offers, a function
is one of the table that the caller gives. Steps, output and time are bounded, so that no template
can hold up the evaluation of the rules.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from fleetpulse.errors import FleetPulseError
from rules.template_format import MAX_TEXT, go_type, show
from rules.template_nodes import (
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
)

GoFunction = Callable[..., Any]
_LAZY = ("and", "or")
_MAX_CALLS = 50
_TIME_CHECK_EVERY = 256
_NOTHING: Any = object()


@runtime_checkable
class Struct(Protocol):
    """A value with fields and methods of its own; both raise KeyError for what is not there."""

    go_type: str

    def field(self, name: str) -> Any: ...

    def method(self, name: str) -> GoFunction: ...


class AnyMap(dict[str, Any]):
    """A map whose values are of any kind: what it lacks shows as `<no value>`, not as nothing."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one expansion may use: nodes visited, characters written, seconds."""

    steps: int = 100_000
    output: int = MAX_TEXT
    seconds: float = 10.0


class _Break(Exception):  # noqa: N818 - it is no error
    pass


class _Continue(Exception):  # noqa: N818 - it is no error
    pass


def truth(value: Any) -> bool:
    """Go's template truth: not the zero value of its type, and not empty."""
    if isinstance(value, Struct):
        return True
    return bool(value)


class Evaluation:
    """One expansion. Made for it and then thrown away."""

    def __init__(
        self,
        template: Template,
        functions: Mapping[str, GoFunction],
        *,
        limits: Limits = Limits(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._named = template.named
        self._body = template.body
        self._functions = functions
        self._limits = limits
        self._clock = clock
        self._deadline = clock() + limits.seconds
        self._steps = 0
        self._written = 0
        self._out: list[str] = []
        self._scope: list[tuple[str, Any]] = []
        self._calls = 0

    def run(self, dot: Any, variables: Mapping[str, Any]) -> str:
        """The text. Raises TemplateError."""
        self._scope = [("", dot), *variables.items()]
        self._walk(self._body, dot)
        return "".join(self._out)

    # Nodes

    def _walk(self, body: Body, dot: Any) -> None:
        outer = len(self._scope)
        for node in body:
            self._visit(node, dot)
        del self._scope[outer:]

    def _visit(self, node: Node, dot: Any) -> None:
        if isinstance(node, Text):
            self._write(node.text, 0)
        elif isinstance(node, Action):
            value = self._pipeline(node.pipeline, dot)
            if not node.pipeline.variables:
                self._write(_shown(value, node.pipeline.line), node.pipeline.line)
        elif isinstance(node, Range):
            self._range(node, dot)
        elif isinstance(node, Call):
            self._call_template(node, dot)
        elif isinstance(node, Jump):
            raise _Break if node.is_break else _Continue
        else:
            outer = len(self._scope)
            value = self._pipeline(node.pipeline, dot)
            inner = dot if isinstance(node, If) else value
            if truth(value):
                self._walk(node.body, inner)
            else:
                self._walk(node.otherwise, dot)
            del self._scope[outer:]

    def _range(self, node: Range, dot: Any) -> None:
        outer = len(self._scope)
        # The variables belong to the items: the pipeline's own value is given to none.
        plain = Pipeline(node.pipeline.line, node.pipeline.commands)
        items = _items(self._pipeline(plain, dot), node.pipeline.line)
        for key, item in items:
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
        if not items:
            self._walk(node.otherwise, dot)

    def _loop_variables(self, pipeline: Pipeline, key: Any, item: Any) -> None:
        names = pipeline.variables
        values = (key, item) if len(names) == 2 else (item,)
        for name, value in zip(names, values, strict=False):
            self._give(name, value, declares=pipeline.declares)

    def _call_template(self, node: Call, dot: Any) -> None:
        self._calls += 1
        if self._calls > _MAX_CALLS:
            raise TemplateError(node.line, f"more than {_MAX_CALLS} templates inside each other")
        value = None if node.pipeline is None else self._pipeline(node.pipeline, dot)
        kept, self._scope = self._scope, [("", value)]
        self._walk(self._named[node.name], value)
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
        first = command.operands[0]
        if isinstance(first, Function):
            return self._function(first, command.operands[1:], dot, final)
        if isinstance(first, Field):
            arguments = [self._operand(operand, dot) for operand in command.operands[1:]]
            return self._field(first, dot, [*arguments, *_given(final)])
        if final is not _NOTHING:
            raise TemplateError(command.line, "can't give argument to non-function")
        return self._operand(first, dot)

    def _operand(self, operand: Operand, dot: Any) -> Any:
        self._step(operand.line)
        if isinstance(operand, Constant):
            return operand.value
        if isinstance(operand, Dot):
            return dot
        if isinstance(operand, Variable):
            return self._look_up(operand)
        if isinstance(operand, Field):
            return self._field(operand, dot, [])
        if isinstance(operand, Function):
            return self._function(operand, (), dot, _NOTHING)
        return self._pipeline(operand, dot)

    def _function(
        self, function: Function, operands: Sequence[Operand], dot: Any, final: Any
    ) -> Any:
        if function.name in _LAZY:
            return self._lazy(function, operands, dot, final)
        arguments = [self._operand(operand, dot) for operand in operands]
        called = self._functions[function.name]
        return _guarded(called, [*arguments, *_given(final)], function.name, function.line)

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

    def _field(self, field: Field, dot: Any, arguments: list[Any]) -> Any:
        owner = self._operand(field.of, dot)
        if isinstance(owner, Struct):
            try:
                method = owner.method(field.name)
            except KeyError:
                pass
            else:
                return _guarded(method, arguments, field.name, field.line)
        if arguments:
            message = f"{field.name} is not a method but has arguments"
            raise TemplateError(field.line, message)
        return _member(owner, field)

    def _look_up(self, variable: Variable) -> Any:
        for name, value in reversed(self._scope):
            if name == variable.name:
                return value
        raise TemplateError(variable.line, f"undefined variable: ${variable.name}")

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
        if self._steps % _TIME_CHECK_EVERY == 0 and self._clock() > self._deadline:
            raise TemplateError(line, f"stopped after {self._limits.seconds:g} s")

    def _write(self, text: str, line: int) -> None:
        self._written += len(text)
        if self._written > self._limits.output:
            message = f"more than {self._limits.output} characters written"
            raise TemplateError(line or 1, message)
        self._out.append(text)


def _shown(value: Any, line: int) -> str:
    try:
        return show(value)
    except (ValueError, RecursionError) as err:
        raise TemplateError(line, str(err)) from err


def _given(final: Any) -> list[Any]:
    return [] if final is _NOTHING else [final]


def _guarded(function: GoFunction, arguments: list[Any], name: str, line: int) -> Any:
    # Text that doubles in a loop would fill the memory long before any other bound is met.
    if sum(len(one) for one in arguments if isinstance(one, str)) > MAX_TEXT:
        raise TemplateError(line, f"more than {MAX_TEXT} characters for {name}")
    try:
        return function(*arguments)
    except TemplateError:
        raise
    except (ValueError, RecursionError, FleetPulseError) as err:
        raise TemplateError(line, f"error calling {name}: {err}") from err


def _member(owner: Any, field: Field) -> Any:
    if isinstance(owner, AnyMap):
        return owner.get(field.name)
    if isinstance(owner, Mapping):
        return owner.get(field.name, "")
    if isinstance(owner, Struct):
        try:
            return owner.field(field.name)
        except KeyError:
            pass
    kind = go_type(owner)
    raise TemplateError(field.line, f"can't evaluate field {field.name} in type {kind}")


def _items(value: Any, line: int) -> list[tuple[Any, Any]]:
    """What a range goes over, as (index or key, item)."""
    if isinstance(value, Mapping):
        return sorted(value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return list(enumerate(value))
    if type(value) is int:
        return [(number, number) for number in range(min(value, Limits().steps + 1))]
    raise TemplateError(line, f"range can't iterate over {show(value)}")
