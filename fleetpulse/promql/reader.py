"""Goes through a query's tokens one by one, reads literals, and words the faults."""

from collections.abc import Sequence
from typing import Literal

from fleetpulse.errors import QueryError
from fleetpulse.promql import words
from fleetpulse.promql.literals import is_utf8, number, unquote
from fleetpulse.promql.tokens import Token, parse_error, position
from fleetpulse.promql.tree import Node

SIGNS: dict[str, Literal["+", "-"]] = {"+": "+", "-": "-"}


class Reader:
    """here: the token that is next; context: what errors say they were met in.

    tokens: of tokens.scan(), the end is the last. A string's text begins with its quote, so that
    no comparison of texts takes it for a word or an operator.
    """

    def __init__(self, text: str, tokens: Sequence[Token]) -> None:
        self._text, self._tokens = text, tokens
        self._next = 0
        self.here = tokens[0]
        self.context = ""

    @property
    def following(self) -> Token:
        """The token after the next; the end again at the end."""
        return self._tokens[min(self._next + 1, len(self._tokens) - 1)]

    def take(self) -> Token:
        """The next token, which is gone through then. The end stays."""
        token = self.here
        self._next = min(self._next + 1, len(self._tokens) - 1)
        self.here = self._tokens[self._next]
        return token

    def expect(self, bracket: str) -> None:
        if self.here.text != bracket:
            raise self.unexpected()
        self.take()

    def sign(self) -> bool:
        """Takes a sign, if there is one; whether it is a minus."""
        return self.here.text in SIGNS and self.take().text == "-"

    def at_number(self) -> bool:
        return self.here.kind == "number" or self.here.word in words.NUMBERS

    def number(self) -> float:
        """A number, or a duration in seconds."""
        token = self.take()
        try:
            return number(token.text)
        except ValueError:
            message = f"bad number or duration syntax: {words.quoted(token.text)}"
            raise self.fault(token, message) from None

    def string(self) -> str:
        """What a string literal stands for; see literals.unquote()."""
        token = self.take()
        try:
            return unquote(token.text)
        except ValueError as err:
            raise self.fault(token, str(err)) from None

    def text_of_string(self) -> str:
        """As string(), where bytes that are not UTF-8 are of no use."""
        token = self.here
        text = self.string()
        if not is_utf8(text):
            raise self.unsupported(token, f"{token.text} is not UTF-8")
        return text

    def unexpected(self, context: str = "", expected: str = "") -> QueryError:
        """That the next token is not what has to come."""
        fault = words.broken(self.here, self._tokens[: self._next + 1])
        if fault is None:
            context = context or self.context
            inside = context == "label matching"
            fault = f"unexpected {words.described(self.here, inside=inside)}"
            fault += f" in {context}" if context else ""
            fault += f", expected {expected}" if expected else ""
        return self.fault(self.here, fault)

    def fault(self, place: Token | Node, message: str) -> QueryError:
        at = place.at if isinstance(place, Token) else place.pos
        return parse_error(self._text, at, message)

    def unsupported(self, place: Token, what: str) -> QueryError:
        return QueryError("bad_data", f"{position(self._text, place.at)}: not supported: {what}")
