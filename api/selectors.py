"""match[] parameters: series selectors without a time, as matchers."""

from collections.abc import Sequence

from flask import Request

from api import params
from fleetpulse.errors import QueryError
from fleetpulse.matchers import Matcher
from fleetpulse.model import METRIC_NAME
from fleetpulse.promql.syntax import Selector, parse


def matcher_sets(request: Request) -> list[list[Matcher]]:
    """One set of matchers for each match[]; Refusal names what is wrong with one."""
    sets = []
    for text in params.values(request, "match[]"):
        try:
            sets.append(parse_selector(text))
        except QueryError as err:
            raise params.invalid("match[]", str(err)) from err
    return sets


def parse_selector(text: str) -> list[Matcher]:
    """The matchers of `name{label="value"}`. QueryError of type bad_data."""
    found = parse(text)
    if not isinstance(found, Selector):
        raise QueryError("bad_data", f'{text!r} is no series selector; write name{{label="v"}}')
    matchers: Sequence[Matcher] = found.matchers
    if found.name:
        matchers = [Matcher(METRIC_NAME, "=", found.name), *matchers]
    if all(matcher.matches_empty for matcher in matchers):
        raise QueryError("bad_data", "must contain at least one non-empty matcher")
    return list(matchers)
