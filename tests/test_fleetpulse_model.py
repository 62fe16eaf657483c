"""Labels, layouts, pages, matchers and regular expressions."""

import math
from array import array

import pytest

from fleetpulse.matchers import Matcher, all_match
from fleetpulse.model import STALE_NAN, Labels, Layout, Page, is_stale, lines_of
from fleetpulse.regex import compile_pattern, expand


def test_labels_are_equal_whatever_the_order_and_lose_empty_values() -> None:
    assert Labels.of(b="2", a="1", c="") == Labels.from_pairs([("a", "1"), ("b", "2")])


def test_labels_read_like_a_selector() -> None:
    labels = Labels.of(__name__="up", job="a", path='C:\\"x"\n')
    assert str(labels) == 'up{job="a", path="C:\\\\\\"x\\"\\n"}'
    assert str(Labels()) == "{}"
    assert str(Labels.of(__name__="up")) == "up"


def test_a_line_overrides_its_target_and_can_take_a_label_away() -> None:
    target = Labels.of(job="node", instance="a:1")
    (line,) = lines_of([{"__name__": "x", "job": "own", "instance": ""}])
    assert target.merged(line) == Labels.of(__name__="x", job="own")
    more = Labels.of(__name__="x", zone="z")
    assert target.merged(more) == Labels.of({**dict(target), **dict(more)})


def test_changes_make_copies() -> None:
    labels = Labels.of(a="1", b="2")
    assert labels.with_(a="", c="3") == Labels.of(b="2", c="3")
    assert labels.without("a") == Labels.of(b="2")
    assert labels.only("a") == Labels.of(a="1")
    assert labels == Labels.of(a="1", b="2")


def test_the_staleness_marker_is_one_nan_among_many() -> None:
    assert math.isnan(STALE_NAN)
    assert is_stale(STALE_NAN)
    assert not is_stale(math.nan)
    assert not is_stale(1.0)


def test_a_digest_tells_layouts_apart_by_order_and_by_borders() -> None:
    one, two = Labels.of(__name__="a"), Labels.of(__name__="b")
    assert Layout((one, two)).digest == Layout((one, two)).digest
    assert Layout((one, two)).digest != Layout((two, one)).digest
    assert Layout((Labels.of(ab="c"),)).digest != Layout((Labels.of(a="bc"),)).digest


def test_a_page_with_a_value_too_few_is_refused() -> None:
    layout = Layout((Labels.of(__name__="a"), Labels.of(__name__="b")))
    with pytest.raises(ValueError, match="1 values for 2 lines"):
        Page(Labels(), layout, 0, array("d", [1.0]))


MATCHES = [
    ("=", "a", "a", True), ("=", "a", "ab", False), ("!=", "a", "b", True), ("!=", "a", "a", False),
    ("=~", "a|b", "b", True), ("=~", "a", "ab", False), ("=~", "a.*", "a\nb", True),
    ("!~", "a.*", "ab", False), ("!~", "a", "", True), ("=~", "(?i:A)", "a", True),
]  # fmt: skip


@pytest.mark.parametrize(("op", "wanted", "value", "matches"), MATCHES)
def test_matcher(op: str, wanted: str, value: str, matches: bool) -> None:
    assert Matcher("x", op, wanted).matches(value) is matches  # type: ignore[arg-type]


def test_a_missing_label_is_an_empty_value() -> None:
    matchers = [Matcher("a", "=", "1"), Matcher("b", "=", "")]
    assert all_match(matchers, Labels.of(a="1"))
    assert not all_match(matchers, Labels.of(a="1", b="2"))


def test_a_broken_expression_is_refused_when_the_matcher_is_made() -> None:
    with pytest.raises(ValueError, match="is no regular expression"):
        Matcher("x", "=~", "(")


def test_a_cruel_expression_takes_no_exponential_time() -> None:
    # With a backtracking engine this would take longer than the universe is old.
    assert compile_pattern("(a+)+$").fullmatch("a" * 5_000 + "b") is None


@pytest.mark.parametrize(
    ("template", "filled"),
    [("$1", "web"), ("${1}-${2}", "web-7"), ("$host", "web"), ("$$1", "$1"), ("$9", ""),
     ("$1x", ""), ("a$", "a$")],
)  # fmt: skip
def test_references_are_filled_in_as_go_does(template: str, filled: str) -> None:
    match = compile_pattern(r"(?P<host>\w+?)(\d+)").fullmatch("web7")
    assert match is not None
    assert expand(match, template) == filled
