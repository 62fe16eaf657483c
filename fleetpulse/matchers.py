"""Label matchers: what a selector, a silence or a route asks of a label."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from fleetpulse.model import Labels
from fleetpulse.regex import compile_pattern

MatchOp = Literal["=", "!=", "=~", "!~"]


@dataclass(frozen=True, slots=True)
class Matcher:
    """name op value. Regular expressions are anchored; a missing label is an empty value."""

    name: str
    op: MatchOp
    value: str

    def __post_init__(self) -> None:
        """ValueError where value is a broken regular expression."""
        if self.op in ("=~", "!~"):
            compile_pattern(self.value)

    def predicate(self) -> Callable[[str], bool]:
        """A function of a label's value; fetch it once and call it for many values."""
        wanted = self.value
        if self.op == "=":
            return lambda value: value == wanted
        if self.op == "!=":
            return lambda value: value != wanted
        fullmatch = compile_pattern(wanted).fullmatch
        if self.op == "=~":
            return lambda value: fullmatch(value) is not None
        return lambda value: fullmatch(value) is None

    def matches(self, value: str) -> bool:
        return self.predicate()(value)

    @property
    def matches_empty(self) -> bool:
        """Whether a series without the label passes."""
        return self.matches("")

    def __str__(self) -> str:
        value = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'{self.name}{self.op}"{value}"'


def all_match(matchers: Sequence[Matcher], labels: Labels) -> bool:
    found = dict(labels)
    return all(matcher.matches(found.get(matcher.name, "")) for matcher in matchers)
