"""Series selectors by themselves: `name{label="value"}` as a match[] has it, without a time."""

from fleetpulse.errors import QueryError
from fleetpulse.matchers import Matcher
from fleetpulse.promql import words
from fleetpulse.promql.parser import Parser
from fleetpulse.promql.tokens import scan


class _SelectorParser(Parser):
    """One reading of one selector."""

    def selector(self) -> list[Matcher]:
        token = self.here
        named = token.kind == "name" and token.word not in words.NUMBERS | words.NO_METRICS
        if not named and token.text not in ("{", ":"):
            raise self.unexpected()
        found = self._selector(None if token.text == "{" else self.take().text, token.at)
        if self.here.kind != "end":
            raise self.unexpected()
        return list(found.matchers)


def parse_selector(text: str) -> list[Matcher]:
    """The matchers of a selector. QueryError("bad_data") says where what is wrong, as parse()."""
    return _SelectorParser(text, scan(text)).selector()


def parse_series_selector(text: str) -> list[Matcher]:
    """The same, where one that every series could pass is refused too."""
    matchers = parse_selector(text)
    if all(matcher.matches_empty for matcher in matchers):
        raise QueryError("bad_data", "match[] must contain at least one non-empty matcher")
    return matchers
