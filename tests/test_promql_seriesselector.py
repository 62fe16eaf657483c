"""Series selectors by themselves, with Prometheus' words for what is none."""

import pytest

from fleetpulse.errors import QueryError
from fleetpulse.matchers import Matcher
from fleetpulse.promql.seriesselector import parse_selector, parse_series_selector

NAME = Matcher("__name__", "=", "up")

GOOD = [
    pytest.param("up", [NAME], id="a name"),
    pytest.param('up{a!="b"}', [NAME, Matcher("a", "!=", "b")], id="a name and a matcher"),
    pytest.param('{a=~"b"}', [Matcher("a", "=~", "b")], id="a matcher"),
    pytest.param('{"up"}', [NAME], id="a name in quotes"),
    pytest.param("sum", [Matcher("__name__", "=", "sum")], id="a word that is a name too"),
    pytest.param('up{__name__="x"}', [NAME, Matcher("__name__", "=", "x")], id="what no series is"),
]


@pytest.mark.parametrize(("text", "expected"), GOOD)
def test_a_selector(text: str, expected: list[Matcher]) -> None:
    assert parse_selector(text) == parse_series_selector(text) == expected


BAD = [
    pytest.param("", "1:1: parse error: unexpected end of input", id="nothing"),
    pytest.param("5", '1:1: parse error: unexpected number "5"', id="a number"),
    pytest.param("inf", '1:1: parse error: unexpected number "inf"', id="infinity"),
    pytest.param('"a"', '1:1: parse error: unexpected string "\\"a\\""', id="text"),
    pytest.param("{", "1:2: parse error: unexpected end of input inside braces", id="half"),
    pytest.param("rate(up[5m])", '1:5: parse error: unexpected "("', id="a call"),
    pytest.param("up[5m]", '1:3: parse error: unexpected "["', id="a range"),
    pytest.param("up offset 5m", "1:4: parse error: unexpected <offset>", id="an offset"),
    pytest.param("up x", '1:4: parse error: unexpected identifier "x"', id="one too many"),
    pytest.param("on", "1:1: parse error: unexpected <on>", id="a word that is no name"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_what_is_none(text: str, message: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_selector(text)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["{}", '{a=~".*"}', '{a!="b"}'])
def test_one_that_could_match_all_series(text: str) -> None:
    parse_selector(text)
    with pytest.raises(QueryError, match="at least one non-empty matcher"):
        parse_series_selector(text)
