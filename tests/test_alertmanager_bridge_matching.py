"""Matchers as people write them for Alertmanager."""

import pytest

from alertmanager_bridge.matching import LabelFilter, matcher_text, parse_matchers

GOOD = [
    pytest.param("", [], id="nothing"),
    pytest.param("{}", [], id="empty braces"),
    pytest.param("foo=bar", ['foo="bar"'], id="bare value"),
    pytest.param('foo="bar"', ['foo="bar"'], id="quoted value"),
    pytest.param('{foo="bar"}', ['foo="bar"'], id="braces"),
    pytest.param('severity=~"warning|critical"', ['severity=~"warning|critical"'], id="regex"),
    pytest.param(
        "a=b, c!=d,e=~f.*,g!~h", ['a="b"', 'c!="d"', 'e=~"f.*"', 'g!~"h"'], id="all operators"
    ),
    pytest.param('foo = "bar", dings != "bums", ', ['foo="bar"', 'dings!="bums"'], id="comma last"),
    pytest.param("job=", ['job=""'], id="empty value"),
    pytest.param('x="a,b"', ['x="a,b"'], id="comma in quotes"),
    pytest.param(r'x="say \"hi\", a\\b\n"', [r'x="say \"hi\", a\\b\n"'], id="escapes"),
    pytest.param("tricky=~~~", ['tricky=~"~~"'], id="operator characters in the value"),
    pytest.param(r"trickier==\\=\=\"", [r'trickier="=\\=\\=\""'], id="bare value with escapes"),
    pytest.param('"my.label"="x"', ['my.label="x"'], id="quoted name"),
    pytest.param("grün=ja", ['grün="ja"'], id="name beyond ASCII"),
]


@pytest.mark.parametrize(("text", "expected"), GOOD)
def test_matchers_are_read_and_printed_as_alertmanager_does(text: str, expected: list[str]) -> None:
    assert [matcher_text(matcher) for matcher in parse_matchers(text)] == expected


BAD = [
    pytest.param("foo", id="no operator"),
    pytest.param(",", id="only a comma"),
    pytest.param("{foo=bar", id="brace left open"),
    pytest.param("foo=bar}", id="brace never opened"),
    pytest.param('job="value', id="quote left open"),
    pytest.param('job=value"', id="quote never opened"),
    pytest.param('x=foo"bar', id="quote within"),
    pytest.param('foo=~"[a"', id="broken regular expression"),
    pytest.param("=x", id="no name"),
]


@pytest.mark.parametrize("text", BAD)
def test_a_broken_matcher_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write for example|no regular expression|missing"):
        parse_matchers(text)


FILTERS = [
    pytest.param('a="x"', {"a": "x"}, True, id="equal"),
    pytest.param('a="x"', {}, False, id="a missing label is empty"),
    pytest.param('a=""', {}, True, id="and matches empty"),
    pytest.param('a!="x"', {}, True, id="not equal to what is not there"),
    pytest.param('a=~"x|y"', {"a": "xy"}, False, id="anchored"),
    pytest.param('a=~"x.*",b="1"', {"a": "xy", "b": "2"}, False, id="all must match"),
    pytest.param('a!~"x.*"', {"a": "zx"}, True, id="not matching"),
]


@pytest.mark.parametrize(("text", "labels", "expected"), FILTERS)
def test_filter(text: str, labels: dict[str, str], expected: bool) -> None:
    assert LabelFilter(parse_matchers(text))(labels) is expected
