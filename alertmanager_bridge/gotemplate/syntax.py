"""Reads Go's template syntax into a tree (the language of Go's text/template package)."""

import ast
import re
from collections.abc import Container
from dataclasses import dataclass, field
from typing import NoReturn

# Up to the end of an action, or to a text in quotes within it.
_STOP = re.compile(r"[\"`]|\}\}|\*/")
_QUOTED = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|`[^`]*`")
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?P<number>[+-]?\d+(?:\.\d+)?)
    |(?P<variable>\$\w*)|(?P<field>\.[A-Za-z_]\w*)|(?P<dot>\.)|(?P<word>[A-Za-z_]\w*)
    |(?P<mark>:=|[=|(),]))""",
    re.VERBOSE,
)


@dataclass(slots=True)
class Operand:
    """kind: literal, dot, variable, function or pipe; fields are looked up on it in turn."""

    kind: str
    value: object = None
    fields: tuple[str, ...] = ()


@dataclass(slots=True)
class Command:
    operands: list[Operand]


@dataclass(slots=True)
class Pipe:
    """variables: what the result is given to; declares tells `:=` from `=`."""

    commands: list[Command]
    variables: tuple[str, ...] = ()
    declares: bool = False


@dataclass(slots=True)
class Node:
    """kind: text, print, if, with, range, template, break or continue."""

    kind: str
    text: str = ""
    pipe: Pipe | None = None
    body: "list[Node]" = field(default_factory=list)
    otherwise: "list[Node]" = field(default_factory=list)


@dataclass(slots=True)
class Parsed:
    """The nodes of a template, and the templates that it defines by name."""

    nodes: list[Node]
    defined: dict[str, list[Node]]


def parse(text: str, functions: Container[str]) -> Parsed:
    """ValueError says what is wrong; functions are the names that may be called."""
    return _Parser(_split(text), functions).template()


def _split(text: str) -> list[tuple[str, str]]:
    """(kind, content) pieces, kind being text or action, with `{{-` and `-}}` seen to."""
    pieces: list[tuple[str, str]] = []
    position, trim = 0, False
    while (start := text.find("{{", position)) >= 0:
        end = _action_end(text, start)
        inner, before = text[start + 2 : end], text[position:start]
        before = before.lstrip() if trim else before
        if inner.startswith("-") and inner[1:2].isspace():
            inner, before = inner[1:], before.rstrip()
        trim = inner.endswith("-") and inner[-2:-1].isspace()
        inner = (inner[:-1] if trim else inner).strip()
        pieces.append(("text", before))
        if not inner.startswith("/*"):
            pieces.append(("action", inner))
        position = end + 2
    rest = text[position:]
    pieces.append(("text", rest.lstrip() if trim else rest))
    return [piece for piece in pieces if piece != ("text", "")]


def _action_end(text: str, start: int) -> int:
    """Where the }} of the action is that begins at start. Those in quotes or comments are none."""
    comment = text[start + 2 : start + 64].lstrip("- \t\r\n").startswith("/*")
    position = start + 2
    while (stop := _STOP.search(text, position)) is not None:
        if comment:
            # Nothing but the end of the comment counts in it.
            comment = stop[0] != "*/"
            position = stop.end()
        elif stop[0] == "}}":
            return stop.start()
        elif stop[0] == "*/":
            position = stop.end()
        else:
            quoted = _QUOTED.match(text, stop.start())
            if quoted is None:
                break
            position = quoted.end()
    raise ValueError(f"the action {text[start:][:40]!r} does not end; write }}}}")


class _Parser:
    def __init__(self, pieces: list[tuple[str, str]], functions: Container[str]) -> None:
        self._pieces, self._functions = pieces, functions
        self._at = 0
        self._defined: dict[str, list[Node]] = {}
        self._depth = self._ranges = 0

    def template(self) -> Parsed:
        nodes, end = self._nodes(())
        if end:
            raise ValueError(f"{{{{{end}}}}} without a beginning")
        return Parsed(nodes, self._defined)

    def _nodes(self, ends: tuple[str, ...]) -> tuple[list[Node], str]:
        """Nodes up to an action that begins with `end` or `else`; that action as well."""
        nodes: list[Node] = []
        self._depth += 1
        if self._depth > 100:
            raise ValueError("nested too deeply")
        while self._at < len(self._pieces):
            kind, content = self._pieces[self._at]
            self._at += 1
            if kind == "text":
                nodes.append(Node("text", content))
                continue
            word = re.match(r"\w*", content)
            if word and word[0] in ("end", "else"):
                self._depth -= 1
                return nodes, content
            node = self._action(word[0] if word else "", content)
            if node is not None:
                nodes.append(node)
        self._depth -= 1
        if ends:
            raise ValueError(f"{{{{{ends[0]}}}}} has no {{{{end}}}}")
        return nodes, ""

    def _action(self, word: str, content: str) -> Node | None:
        rest = content[len(word) :]
        if word in ("if", "with", "range"):
            return self._block(word, rest)
        if word in ("define", "block"):
            return self._define(word, rest)
        if word == "template":
            name, rest = _name(rest)
            return Node("template", name, self._pipe(rest) if rest.strip() else None)
        if word in ("break", "continue"):
            if not self._ranges:
                raise ValueError(f"{{{{{word}}}}} outside of a range")
            return Node(word)
        return Node("print", pipe=self._pipe(content))

    def _block(self, word: str, rest: str) -> Node:
        node = Node(word, pipe=self._pipe(rest))
        self._ranges += word == "range"
        node.body, end = self._nodes((word,))
        self._ranges -= word == "range"
        if end.startswith("else"):
            then = end[4:].strip()
            if then:
                inner, _, condition = then.partition(" ")
                if inner not in ("if", "with"):
                    raise ValueError(f"{{{{{end}}}}}: write else, else if or else with")
                node.otherwise = [self._block(inner, condition)]
                return node
            node.otherwise, end = self._nodes((word,))
        if end != "end":
            raise ValueError(f"{{{{{end}}}}} where {{{{end}}}} is wanted")
        return node

    def _define(self, word: str, rest: str) -> Node | None:
        name, rest = _name(rest)
        ranges, self._ranges = self._ranges, 0
        body, end = self._nodes((word,))
        self._ranges = ranges
        if end != "end":
            raise ValueError(f"{{{{{end}}}}} where {{{{end}}}} is wanted")
        self._defined[name] = body
        return Node("template", name, self._pipe(rest)) if word == "block" else None

    def _pipe(self, text: str) -> Pipe:
        return _PipeParser(_tokens(text), self._functions, text.strip()).whole()


def _name(text: str) -> tuple[str, str]:
    tokens = re.match(r"\s*(\"(?:[^\"\\\n]|\\.)*\"|`[^`]*`)", text)
    if tokens is None:
        raise ValueError(f"{text.strip()!r}: a template's name belongs in quotes")
    return _string(tokens[1]), text[tokens.end() :]


def _string(literal: str) -> str:
    if literal.startswith("`"):
        return literal[1:-1]
    try:
        return str(ast.literal_eval(literal))
    except (ValueError, SyntaxError) as err:
        raise ValueError(f"{literal}: a backslash too many or too few") from err


def _tokens(text: str) -> list[tuple[str, str, bool]]:
    """(kind, text, whether white space or nothing stands before it)."""
    tokens: list[tuple[str, str, bool]] = []
    position = 0
    while text[position:].strip():
        found = _TOKEN.match(text, position)
        if found is None:
            raise ValueError(
                f"{text.strip()!r}: cannot read from {text[position:].strip()[:20]!r} on"
            )
        kind = found.lastgroup or ""
        tokens.append((kind, found[kind], found.start(kind) > position or position == 0))
        position = found.end()
    return tokens


class _PipeParser:
    def __init__(
        self, tokens: list[tuple[str, str, bool]], functions: Container[str], source: str
    ) -> None:
        self._tokens, self._functions, self._source = tokens, functions, source
        self._at = 0

    def whole(self) -> Pipe:
        pipe = self._pipe()
        if self._at < len(self._tokens):
            self._fail(f"{self._tokens[self._at][1]!r} is out of place")
        return pipe

    def _fail(self, message: str) -> NoReturn:
        raise ValueError(f"{{{{ {self._source} }}}}: {message}")

    def _peek(self) -> tuple[str, str, bool]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("", "", True)

    def _pipe(self) -> Pipe:
        variables, declares = self._variables()
        commands = [self._command()]
        while self._peek()[1] == "|" and self._peek()[0] == "mark":
            self._at += 1
            commands.append(self._command())
        return Pipe(commands, variables, declares)

    def _variables(self) -> tuple[tuple[str, ...], bool]:
        names, at = [], self._at
        while at < len(self._tokens) and self._tokens[at][0] == "variable":
            names.append(self._tokens[at][1])
            mark = self._tokens[at + 1][1] if at + 1 < len(self._tokens) else ""
            at += 2
            if mark in (":=", "="):
                self._at = at
                return tuple(names), mark == ":="
            if mark != ",":
                break
        return (), False

    def _command(self) -> Command:
        operands = []
        while (token := self._peek())[0] and token[1] not in ("|", ")"):
            operands.append(self._operand())
        if not operands:
            self._fail("something is missing")
        return Command(operands)

    def _operand(self) -> Operand:
        kind, text, _ = self._peek()
        self._at += 1
        operand = self._simple(kind, text)
        fields = list(operand.fields)
        while self._peek()[0] == "field" and not self._peek()[2]:
            fields.append(self._peek()[1][1:])
            self._at += 1
        operand.fields = tuple(fields)
        return operand

    def _simple(self, kind: str, text: str) -> Operand:
        if kind == "string":
            return Operand("literal", _string(text))
        if kind == "number":
            return Operand("literal", float(text) if "." in text else int(text))
        if kind in ("dot", "variable"):
            return Operand(kind, text)
        if kind == "field":
            return Operand("dot", fields=(text[1:],))
        if kind == "word":
            return self._word(text)
        if text != "(":
            self._fail(f"{text!r} is out of place")
        pipe = self._pipe()
        if self._peek()[1] != ")":
            self._fail("a ) is missing")
        self._at += 1
        return Operand("pipe", pipe)

    def _word(self, text: str) -> Operand:
        if text in ("true", "false", "nil"):
            return Operand("literal", {"true": True, "false": False, "nil": None}[text])
        if text not in self._functions:
            self._fail(f"no function {text!r} is known here")
        return Operand("function", text)
