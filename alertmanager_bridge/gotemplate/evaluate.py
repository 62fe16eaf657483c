"""Runs parsed templates, within bounds on depth, work and size of the outcome."""

import html
from collections.abc import Callable, Iterable, Mapping

from alertmanager_bridge.gotemplate.functions import FUNCTIONS, SafeHtml, show, truth
from alertmanager_bridge.gotemplate.syntax import Command, Node, Operand, Parsed, Pipe, parse
from alertmanager_bridge.gotemplate.values import KV, Record, lookup

_MAX_OUTPUT = 1 << 20  # characters
_MAX_DEPTH = 50
_MAX_STEPS = 50_000

# A named template that is not written in Go's language: data in, text out.
Builtin = Callable[[object], str]


class TemplateError(ValueError):
    """A template that cannot be filled in with this message's data."""


class TemplateSet:
    """Named templates, and a cache of those that stand in the configuration."""

    def __init__(
        self, sources: Iterable[str] = (), builtins: Mapping[str, Builtin] | None = None
    ) -> None:
        self._named: dict[str, list[Node]] = {}
        self._builtins = builtins or {}
        self._cache: dict[str, Parsed] = {}
        for source in sources:
            self._named.update(parse(source, FUNCTIONS).defined)

    def render(self, text: str, data: Record, *, escape: bool = False) -> str:
        """text filled in; escape makes every value safe in HTML. Raises TemplateError."""
        if "{{" not in text:
            return text
        try:
            parsed = self._cache.get(text)
            if parsed is None:
                parsed = self._cache[text] = parse(text, FUNCTIONS)
            run = _Run({**self._named, **parsed.defined}, self._builtins, escape)
            run.nodes(parsed.nodes, data, _Scope.root(data))
        except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as err:
            raise TemplateError(f"template {text[:60]!r}: {err}") from err
        return "".join(run.output)


class _Scope:
    """Variables of a block. Those of the blocks around it can be read and assigned."""

    def __init__(self, parent: "_Scope | None" = None) -> None:
        self._parent, self._own = parent, dict[str, object]()

    @classmethod
    def root(cls, data: object) -> "_Scope":
        scope = cls()
        scope.declare("$", data)
        return scope

    def _holder(self, name: str) -> "_Scope":
        scope: _Scope | None = self
        while scope is not None:
            if name in scope._own:
                return scope
            scope = scope._parent
        raise ValueError(f"the variable {name} is not declared")

    def get(self, name: str) -> object:
        return self._holder(name)._own[name]

    def declare(self, name: str, value: object) -> None:
        self._own[name] = value

    def assign(self, name: str, value: object) -> None:
        self._holder(name)._own[name] = value


class _LeaveRange(Exception):  # noqa: N818 - no error
    """break or continue on its way to its range."""


class _Run:
    def __init__(
        self, named: Mapping[str, list[Node]], builtins: Mapping[str, Builtin], escape: bool
    ) -> None:
        self._named, self._builtins, self._escape = named, builtins, escape
        self._depth = self._size = self._steps = 0
        self.output: list[str] = []

    def _write(self, text: str) -> None:
        self._size += len(text)
        if self._size > _MAX_OUTPUT:
            raise ValueError("the outcome is too long")
        self.output.append(text)

    def nodes(self, nodes: list[Node], dot: object, scope: _Scope) -> None:
        for node in nodes:
            self._steps += 1
            if self._steps > _MAX_STEPS:
                raise ValueError("too much work")
            if node.kind == "text":
                self._write(node.text)
            elif node.kind in ("break", "continue"):
                raise _LeaveRange(node.kind)
            else:
                self._node(node, dot, scope)

    def _node(self, node: Node, dot: object, scope: _Scope) -> None:
        if node.kind == "template":
            self._template(node, dot, scope)
        elif node.kind == "range":
            self._range(node, dot, scope)
        elif node.pipe is not None and node.kind == "print":
            value = self._pipe(node.pipe, dot, scope)
            if not node.pipe.variables:
                self._print(value)
        elif node.pipe is not None:
            inner = _Scope(scope)
            value = self._pipe(node.pipe, dot, inner)
            branch = node.body if truth(value) else node.otherwise
            into = value if node.kind == "with" and branch is node.body else dot
            self.nodes(branch, into, inner)

    def _print(self, value: object) -> None:
        text = show(value)
        safe = not self._escape or isinstance(value, SafeHtml)
        self._write(text if safe else html.escape(text))

    def _template(self, node: Node, dot: object, scope: _Scope) -> None:
        data = self._pipe(node.pipe, dot, scope) if node.pipe is not None else None
        if node.text in self._named:
            self._depth += 1
            if self._depth > _MAX_DEPTH:
                raise ValueError(f"the template {node.text!r} calls itself without an end")
            self.nodes(self._named[node.text], data, _Scope.root(data))
            self._depth -= 1
        elif node.text in self._builtins:
            text = self._builtins[node.text](data)
            self._write(
                text if not self._escape or isinstance(text, SafeHtml) else html.escape(text)
            )
        else:
            raise ValueError(f"there is no template {node.text!r}")

    def _range(self, node: Node, dot: object, scope: _Scope) -> None:
        assert node.pipe is not None
        bare = Pipe(node.pipe.commands)
        pairs = _pairs(self._pipe(bare, dot, scope))
        for key, value in pairs:
            inner = _Scope(scope)
            names = node.pipe.variables
            for name, part in zip(
                names, (key, value) if len(names) > 1 else (value,), strict=False
            ):
                (inner.declare if node.pipe.declares else inner.assign)(name, part)
            try:
                self.nodes(node.body, value, inner)
            except _LeaveRange as leave:
                if leave.args[0] == "break":
                    break
        if not pairs:
            self.nodes(node.otherwise, dot, _Scope(scope))

    def _pipe(self, pipe: Pipe, dot: object, scope: _Scope) -> object:
        value: object = None
        for index, command in enumerate(pipe.commands):
            value = self._command(command, dot, scope, [value] if index else [])
        for name in pipe.variables:
            (scope.declare if pipe.declares else scope.assign)(name, value)
        return value

    def _command(self, command: Command, dot: object, scope: _Scope, piped: list[object]) -> object:
        first, *rest = command.operands
        if first.kind == "function":
            if first.value in ("and", "or"):
                return self._shortcut(first, rest, dot, scope, piped)
            arguments = [self._value(operand, dot, scope) for operand in rest] + piped
            result: object = FUNCTIONS[str(first.value)](*arguments)
            return _fields(result, first.fields, [])
        arguments = [self._value(operand, dot, scope) for operand in rest] + piped
        if not first.fields and arguments:
            raise ValueError("only functions and methods take arguments")
        return self._value(first, dot, scope, arguments)

    def _shortcut(
        self, first: Operand, rest: list[Operand], dot: object, scope: _Scope,
        piped: list[object],
    ) -> object:  # fmt: skip
        value: object = None
        for operand in rest:
            value = self._value(operand, dot, scope)
            if truth(value) == (first.value == "or"):
                return value
        return piped[0] if piped else value

    def _value(
        self, operand: Operand, dot: object, scope: _Scope,
        arguments: list[object] | None = None,
    ) -> object:  # fmt: skip
        value = operand.value
        if operand.kind == "dot":
            value = dot
        elif operand.kind == "variable":
            value = scope.get(str(operand.value))
        elif operand.kind == "function":
            value = FUNCTIONS[str(operand.value)]()
        elif isinstance(value, Pipe):
            value = self._pipe(value, dot, scope)
        return _fields(value, operand.fields, arguments or [])


def _fields(value: object, names: tuple[str, ...], arguments: list[object]) -> object:
    for index, name in enumerate(names):
        value = lookup(value, name, arguments if index == len(names) - 1 else [])
    return value


def _pairs(value: object) -> list[tuple[object, object]]:
    if value is None:
        return []
    if isinstance(value, KV):
        return [(name, value[name]) for name in sorted(value)]
    if isinstance(value, list):
        return list(enumerate(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return [(number, number) for number in range(min(value, _MAX_STEPS + 1))]
    raise ValueError("range needs a list or labels")
