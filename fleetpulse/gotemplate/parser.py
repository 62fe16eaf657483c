"""Go template text → nodes. What is wrong is said with its line, before anything is expanded."""

from collections.abc import Container, Iterable

from fleetpulse.gotemplate.lexer import Token, tokens
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

_KEYWORDS = frozenset(
    ("if", "else", "end", "range", "with", "define", "block", "template", "break", "continue")
)
_CONTROLS: dict[str, type[If | With | Range]] = {"if": If, "with": With, "range": Range}
_MAX_DEPTH = 50
_END = Token("text", "", 0)


def parse(
    text: str,
    functions: Container[str],
    variables: Iterable[str] = (),
    *,
    whole: bool = True,
) -> Template:
    """The template. Raises TemplateError.

    functions are the names that may be called, variables those that stand declared before it;
    whole: every template that it calls must be defined in the same text.
    """
    return _Parser(text, functions, variables).template(whole)


class _Parser:
    """A recursive descent over the tokens. Made for one template and then thrown away."""

    def __init__(self, text: str, functions: Container[str], variables: Iterable[str]) -> None:
        self._tokens = list(tokens(text))
        self._at = 0
        self._functions = functions
        self._scope = ["", *variables]  # "" is $, which is always there
        self._named: dict[str, Body] = {}
        self._called: list[Call] = []
        self._loops = 0
        self._depth = 0

    def template(self, whole: bool) -> Template:
        body, stop, line = self._body()
        if stop:
            raise TemplateError(line, f"unexpected {{{{{stop}}}}}; nothing is open here")
        for call in self._called:
            if whole and call.name not in self._named:
                raise TemplateError(call.line, f"template {call.name!r} is not defined")
        return Template(body, self._named)

    # Bodies and control structures

    def _body(self) -> tuple[Body, str, int]:
        """Nodes up to `end`, `else` or the end of the text; which of these, and its line."""
        nodes: list[Node] = []
        while self._at < len(self._tokens):
            token = self._next()
            if token.kind == "text":
                nodes.append(Text(token.value))
                continue
            word = self._peek()
            if word.kind == "word" and word.value in ("end", "else"):
                self._next()
                return tuple(nodes), word.value, word.line
            node = self._action(token.line)
            if node is not None:
                nodes.append(node)
        return tuple(nodes), "", self._tokens[-1].line if self._tokens else 1

    def _action(self, line: int) -> Node | None:
        word = self._peek()
        if word.kind != "word" or word.value not in _KEYWORDS:
            pipeline = self._pipeline()
            self._close("command")
            return Action(pipeline)
        self._next()
        if word.value == "define":
            self._define(line)
            return None
        if word.value == "block":
            return self._block(line)
        if word.value == "template":
            return self._template_call(line)
        if word.value in ("break", "continue"):
            self._close(word.value)
            if not self._loops:
                raise TemplateError(line, f"{{{{{word.value}}}}} outside {{{{range}}}}")
            return Jump(word.value == "break")
        return self._control(word.value, line)

    def _control(self, kind: str, line: int) -> Node:
        """if, with and range: the pipeline, the body, and what else there is."""
        self._deeper(line)
        outer = len(self._scope)
        pipeline = self._pipeline(range_variables=kind == "range")
        self._close(kind)
        self._loops += kind == "range"
        body, stop, _ = self._body()
        self._loops -= kind == "range"
        otherwise = self._otherwise(kind, stop, line)
        del self._scope[outer:]
        self._depth -= 1
        return _CONTROLS[kind](pipeline, body, otherwise)

    def _otherwise(self, kind: str, stop: str, line: int) -> Body:
        if not stop:
            raise TemplateError(line, f"{{{{{kind}}}}} is never closed; it ends with {{{{end}}}}")
        if stop == "end":
            self._close("end")
            return ()
        word = self._peek()
        if word.kind == "word" and word.value == kind and kind != "range":
            # `else if` holds the whole rest, and its end is ours too.
            self._next()
            return (self._control(kind, line),)
        self._close("else")
        body, stop, at = self._body()
        if stop != "end":
            what = "a second {{else}}" if stop else "the end of the text"
            raise TemplateError(at, f"{what} where {{{{end}}}} should close {{{{{kind}}}}}")
        self._close("end")
        return body

    def _define(self, line: int) -> None:
        name = self._name("define")
        self._close("define")
        self._named[name] = self._separate_body("define", line)

    def _block(self, line: int) -> Node:
        name = self._name("block")
        pipeline = self._pipeline()
        self._close("block")
        self._named[name] = self._separate_body("block", line)
        return Call(line, name, pipeline)

    def _separate_body(self, kind: str, line: int) -> Body:
        """A named body: it sees no variable but $ and no loop of the text around it."""
        self._deeper(line)
        kept, self._scope, loops, self._loops = self._scope, [""], self._loops, 0
        body, stop, _ = self._body()
        if stop != "end":
            raise TemplateError(line, f"{{{{{kind}}}}} is never closed; it ends with {{{{end}}}}")
        self._close("end")
        self._scope, self._loops = kept, loops
        self._depth -= 1
        return body

    def _template_call(self, line: int) -> Node:
        name = self._name("template")
        pipeline = None if self._peek().kind == "close" else self._pipeline()
        self._close("template")
        call = Call(line, name, pipeline)
        self._called.append(call)
        return call

    def _name(self, kind: str) -> str:
        token = self._next()
        if token.kind != "constant" or not isinstance(token.value, str):
            raise TemplateError(token.line, f'{kind} needs a name in quotes, as in {kind} "x"')
        return token.value

    # Pipelines

    def _pipeline(self, *, range_variables: bool = False) -> Pipeline:
        line = self._peek().line
        names, declares = self._declaration(2 if range_variables else 1)
        commands = [self._command()]
        while self._peek().is_mark("|"):
            self._next()
            commands.append(self._command())
        for stage, command in enumerate(commands[1:], 2):
            if isinstance(command.operands[0], Constant | Dot):
                message = f"non executable command in pipeline stage {stage}"
                raise TemplateError(command.line, message)
        if declares:
            self._scope.extend(names)
        return Pipeline(line, tuple(commands), names, declares)

    def _declaration(self, most: int) -> tuple[tuple[str, ...], bool]:
        """`$x :=`, `$x =` or, in a range, `$i, $x :=`; nothing is taken if none of them is here."""
        start, names = self._at, []
        while self._peek().kind == "variable":
            names.append(self._next())
            mark = self._peek()
            if mark.is_mark(":=", "="):
                self._next()
                if mark.value == "=":
                    self._must_be_declared(names)
                return tuple(token.value for token in names), mark.value == ":="
            if not mark.is_mark(","):
                break
            self._next()
            if len(names) == most:
                raise TemplateError(mark.line, "too many variables in the declaration")
        self._at = start
        return (), False

    def _must_be_declared(self, names: list[Token]) -> None:
        for token in names:
            if token.value not in self._scope:
                raise TemplateError(token.line, f"undefined variable ${token.value}")

    def _command(self) -> Command:
        line = self._peek().line
        operands: list[Operand] = []
        while not (self._peek().kind == "close" or self._peek().is_mark("|", ")")):
            if operands and not self._peek().spaced:
                message = f"unexpected {_shown(self._peek())} right after an operand"
                raise TemplateError(self._peek().line, message)
            operands.append(self._operand())
        if not operands:
            raise TemplateError(line, "a value or a function is missing here")
        first = operands[0]
        if len(operands) > 1 and not isinstance(first, Function | Field):
            raise TemplateError(line, "can't give an argument to something that is no function")
        return Command(line, tuple(operands))

    def _operand(self) -> Operand:
        token = self._peek()
        operand = self._term()
        while self._peek().kind == "field" and not self._peek().spaced:
            if isinstance(operand, Constant | Dot):
                raise TemplateError(token.line, f"unexpected . after term {_shown(token)}")
            field = self._next()
            operand = Field(field.line, operand, field.value)
        return operand

    def _term(self) -> Operand:
        token = self._next()
        if token.kind == "constant":
            return Constant(token.line, token.value)
        if token.kind == "dot":
            return Dot(token.line)
        if token.kind == "field":
            return Field(token.line, Dot(token.line), token.value)
        if token.kind == "variable":
            self._must_be_declared([token])
            return Variable(token.line, token.value)
        if token.kind == "word":
            return self._function(token)
        if token.is_mark("("):
            return self._parenthesis(token)
        raise TemplateError(token.line, f"unexpected {_shown(token)} in the action")

    def _function(self, token: Token) -> Function:
        if token.value not in self._functions:
            raise TemplateError(token.line, f"function {token.value!r} is not defined")
        return Function(token.line, token.value)

    def _parenthesis(self, token: Token) -> Pipeline:
        self._deeper(token.line)
        pipeline = self._pipeline()
        if not self._next().is_mark(")"):
            raise TemplateError(token.line, "unclosed left parenthesis")
        self._depth -= 1
        return pipeline

    # Tokens

    def _peek(self) -> Token:
        return self._tokens[self._at] if self._at < len(self._tokens) else _END

    def _next(self) -> Token:
        token = self._peek()
        self._at += 1
        return token

    def _close(self, context: str) -> None:
        token = self._next()
        if token.kind != "close":
            raise TemplateError(token.line, f"unexpected {_shown(token)} in {context}")

    def _deeper(self, line: int) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise TemplateError(line, f"nested more than {_MAX_DEPTH} deep")


def _shown(token: Token) -> str:
    prefix = {"field": ".", "variable": "$"}.get(token.kind, "")
    return repr(f"{prefix}{token.value}")
