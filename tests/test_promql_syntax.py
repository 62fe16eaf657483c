"""The tree of a query, its positions, and what is refused before or by the parser."""

import contextlib
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetpulse.errors import QueryError
from fleetpulse.matchers import Matcher
from fleetpulse.promql.syntax import (
    Aggregate,
    Binary,
    Call,
    Expr,
    Matching,
    MatrixSelector,
    Number,
    Paren,
    Selector,
    Subquery,
    Text,
    Unary,
    children,
    parse,
    value_type,
    walk,
)

UP = Selector("up", (Matcher("__name__", "=", "up"),))

TREES = [
    pytest.param("up", UP, id="a name"),
    pytest.param(":", Selector(":", (Matcher("__name__", "=", ":"),)), id="a colon is a name"),
    pytest.param("(up)", Paren(UP), id="parentheses stay"),
    pytest.param("-up", Unary("-", UP), id="a sign"),
    pytest.param("-2", Number(-2.0), id="a negative number is a number"),
    pytest.param("1h30m", Number(5400.0), id="a duration is seconds"),
    pytest.param("'it\\'s'", Text("it's"), id="single quotes"),
    pytest.param("`\\d`", Text("\\d"), id="raw strings have no escapes"),
    pytest.param('"\\xc3\\xa9\\101\\u00e9"', Text("éAé"), id="bytes as escapes are UTF-8"),
    pytest.param(
        '{__name__=~"a.*", b!="c"}',
        Selector(None, (Matcher("__name__", "=~", "a.*"), Matcher("b", "!=", "c"))),
        id="matchers only",
    ),
    pytest.param(
        '{"strange name", "strange label"!~"x"}',
        Selector(
            None, (Matcher("__name__", "=", "strange name"), Matcher("strange label", "!~", "x"))
        ),
        id="quoted names",
    ),
    pytest.param(
        "up offset -5m @ 12.5", Selector("up", UP.matchers, -300_000, 12_500), id="offset and @"
    ),
    pytest.param("up @ -1.5", Selector("up", UP.matchers, 0, -1_500), id="a time before 1970"),
    pytest.param("up @ 1m30s", Selector("up", UP.matchers, 0, 90_000), id="@ with a duration"),
    pytest.param("up @ end()", Selector("up", UP.matchers, 0, "end"), id="@ end()"),
    pytest.param("up[5m]", MatrixSelector(UP, 300_000), id="a range"),
    pytest.param("up[1.5]", MatrixSelector(UP, 1_500), id="a range in seconds"),
    pytest.param("up[1h:]", Subquery(UP, 3_600_000), id="a subquery of default step"),
    pytest.param(
        "up[1h:30s] @ start() offset 1ms",
        Subquery(UP, 3_600_000, 30_000, 1, "start"),
        id="a subquery in full",
    ),
    pytest.param(
        "sum without(a, b) (up)",
        Aggregate("sum", UP, None, ("a", "b"), without=True),
        id="an aggregation without labels",
    ),
    pytest.param(
        "topk by(a) (3, up)", Aggregate("topk", UP, Number(3.0), ("a",)), id="one with a parameter"
    ),
    pytest.param("up == bool 1", Binary("==", UP, Number(1.0), return_bool=True), id="bool"),
    pytest.param(
        "up and on(a) up",
        Binary("and", UP, UP, Matching("many-to-many", on=True, labels=("a",))),
        id="a set operator",
    ),
    pytest.param(
        "up * ignoring(a) group_left(b, c) up",
        Binary("*", UP, UP, Matching("many-to-one", False, ("a",), ("b", "c"))),
        id="many to one",
    ),
    pytest.param(
        "up / on() group_right up",
        Binary("/", UP, UP, Matching("one-to-many", on=True)),
        id="one to many",
    ),
    pytest.param(
        "2 ^ 3 ^ 2",
        Binary("^", Number(2.0), Binary("^", Number(3.0), Number(2.0))),
        id="powers bind to the right",
    ),
    pytest.param(
        "1 - 2 - 3",
        Binary("-", Binary("-", Number(1.0), Number(2.0)), Number(3.0)),
        id="the others to the left",
    ),
    pytest.param("-1 ^ 2", Unary("-", Binary("^", Number(1.0), Number(2.0))), id="power first"),
    pytest.param(
        "up + on(a) fill_right(-1) fill_left(Inf) up",
        Binary("+", UP, UP, Matching(on=True, labels=("a",), fill_left=inf, fill_right=-1.0)),
        id="fill on both sides",
    ),
    pytest.param(
        "up + fill + up",
        Binary("+", Binary("+", UP, Selector("fill", (Matcher("__name__", "=", "fill"),))), UP),
        id="fill can be a metric",
    ),
    pytest.param("time()", Call("time", (), "scalar"), id="a call without arguments"),
]


@pytest.mark.parametrize(("text", "tree"), TREES)
def test_text_becomes_the_tree(text: str, tree: Expr) -> None:
    assert parse(text) == tree


FAULTS = [
    pytest.param("", "no expression found", id="nothing"),
    pytest.param("foo(up)", '1:1: parse error: unknown function with name "foo"', id="a function"),
    pytest.param("up +\n  rated(up)", "2:3: parse error: unknown function", id="on line two"),
    pytest.param("up;", "1:3: parse error: unexpected character", id="a character"),
    pytest.param("sum(up", "unclosed left parenthesis", id="an open parenthesis"),
    pytest.param("up +", "parse error: unexpected end", id="half an operation"),
    pytest.param(
        "rate(up)",
        '1:6: .*expected type range vector in call to function "rate", got instant vector',
        id="a type",
    ),
    pytest.param('up{a=~"("}', "1:4: .*no regular expression: missing", id="a regular expression"),
    pytest.param("{}", "at least one non-empty matcher", id="all series there are"),
    pytest.param("1 == 1", "must use BOOL modifier", id="scalars compared"),
    pytest.param("up @ 1e300", "timestamp out of bounds", id="a time out of bounds"),
    pytest.param("up @ 1x", '1:6: .*bad number or duration syntax: "1x"', id="a time that is none"),
    pytest.param("up offset 1e999", "1:11: .*bad number", id="an endless offset"),
    pytest.param("up[Inf]", "1:4: .*duration out of range", id="an endless range"),
    pytest.param("up[5m:9e20]", "1:7: .*duration out of range", id="an endless step"),
    pytest.param("up[9999999999y]", "parse error", id="too many years"),
    pytest.param("up[0s]", "duration must be greater than 0", id="an empty range"),
    pytest.param(
        '"\\x41\\q"', r"1:1: .*unknown escape sequence U\+0071 'q'", id="an escape that is none"
    ),
    pytest.param('"\\x41\\ud800"', "invalid Unicode code point", id="half a character"),
    pytest.param('"\\xff"', "not supported: .* is not UTF-8", id="bytes that are no text"),
    pytest.param("1 + start_timestamp(up)", r"1:5: not supported: function start_t", id="start"),
    pytest.param("up smoothed", "1:4: not supported: smoothed", id="smoothed"),
    pytest.param(
        "up </ 1", r"1:4: not supported: operator </ \(native histograms\)", id="trimming"
    ),
    pytest.param("up[5m*2]", "1:6: not supported: duration expressions", id="reckoned ranges"),
    pytest.param("up offset step()", "1:11: not supported: duration", id="reckoned offsets"),
    pytest.param('up{a="\\xff"}', "1:6: not supported: .* is not UTF-8", id="a value of bytes"),
    pytest.param("(" * 99 + "1" + ")" * 99, "1:65: .*more than 64 open brackets", id="too deep"),
    pytest.param("+".join(["1"] * 502), "more than 500 operators", id="too many operators"),
    pytest.param("-" * 100_000 + "1", "at most 100000 are taken", id="too long"),
    pytest.param("-" * 9_999 + "1", "1:51: .*more than 50 powers and signs", id="too many signs"),
    pytest.param("a^" * 9_999 + "1", "more than 50 powers", id="too many powers"),
    pytest.param("abs(" * 9_999 + "1" + ")" * 9_999, "more than 64 open", id="too many calls"),
]


# What Prometheus says, and where.
TEXTS = [
    ("up up", '1:4: unexpected identifier "up"'),
    ("up\n+", "2:2: unexpected end of input"),
    ("+ +", "1:4: unexpected end of input"),
    ("up[5m", "1:6: unexpected end of input in duration expression"),
    ('up{a="b"', "1:9: unexpected end of input inside braces"),
    ("(up", "1:4: unclosed left parenthesis"),
    ("up)", "1:3: unexpected right parenthesis ')'"),
    ("up]", "1:3: unexpected right bracket ']'"),
    ("up}", "1:3: unexpected character: '}'"),
    ("up{1}", "1:4: unexpected character inside braces: '1'"),
    ("up{a:b='c'}", "1:4: unexpected character inside braces: ':'"),
    ("up{a}", '1:5: unexpected "}" in label matching, expected label matching operator'),
    ("up{a=b}", '1:6: unexpected identifier "b" in label matching, expected string'),
    ("up{a='b' c='d'}", '1:10: unexpected identifier "c" in label matching, expected "," or "}"'),
    ("up{{a='b'}", "1:4: unexpected left brace '{'"),
    ("sum by (inf) (up)", '1:9: unexpected number "inf" in grouping opts, expected label'),
    ("up 1x", '1:4: bad number or duration syntax: "1x"'),
    (
        'up{a="b" or c="d"}',
        '1:10: unexpected identifier "or" in label matching, expected "," or "}"',
    ),
    ("up{,}", '1:4: unexpected "," in label matching, expected identifier or "}"'),
    ("up[5m 5m]", '1:7: unexpected duration "5m" in subquery or range, expected ":" or "]"'),
    ("up[5m:1m 2]", '1:10: unexpected number "2" in subquery selector, expected "]"'),
    (
        "up[]",
        '1:4: unexpected "]" in subquery or range selector, expected number, duration, step(), or'
        " range()",
    ),
    ("up[0s]", "1:4: duration must be greater than 0"),
    ("up[-5m]", "1:4: duration must be greater than 0"),
    ("sum(up)[5m]", "1:8: ranges only allowed for vector selectors"),
    ("up offset 1m[5m]", "1:13: no offset modifiers allowed before range"),
    ("up @ 1[5m]", "1:7: no @ modifiers allowed before range"),
    (
        "up offset up",
        '1:11: unexpected identifier "up" in offset, expected number, duration, step(), or range()',
    ),
    ("up offset 1m offset 2m", "1:1: offset may not be set multiple times"),
    ("up @ 1 @ 2", "1:1: @ <timestamp> may not be set multiple times"),
    ("up @ up", '1:6: unexpected identifier "up" in @, expected timestamp'),
    ("up @ NaN", "1:1: timestamp out of bounds for @ modifier: NaN"),
    (
        "(up) offset 1m",
        "1:1: offset modifier must be preceded by an instant vector selector or range vector"
        " selector or a subquery",
    ),
    ("sum(up up)", '1:8: unexpected identifier "up" in aggregation'),
    ("sum by up", '1:8: unexpected identifier "up" in grouping opts, expected "("'),
    ("sum by (1) (up)", '1:9: unexpected number "1" in grouping opts, expected label'),
    ("sum by (a b) (up)", '1:11: unexpected identifier "b" in grouping opts, expected "," or ")"'),
    ("sum()", "1:1: no arguments for aggregate expression provided"),
    (
        "topk(up)",
        "1:1: wrong number of arguments for aggregate expression provided, expected 2, got 1",
    ),
    ("abs(up, )", "1:7: trailing commas not allowed in function call args"),
    ("abs()", '1:1: expected 1 argument(s) in call to "abs", got 0'),
    ("round()", '1:1: expected at least 1 argument(s) in call to "round", got 0'),
    ("round(up, 1, 2)", '1:1: expected at most 2 argument(s) in call to "round", got 3'),
    ("1 + abs(1)", '1:9: expected type instant vector in call to function "abs", got scalar'),
    ("sum(1)", "1:5: expected type instant vector in aggregation expression, got scalar"),
    ("topk(up, up)", "1:6: expected type scalar in aggregation parameter, got instant vector"),
    ("up + bool up", "1:4: bool modifier can only be used on comparison operators"),
    ("1 > 2", "1:3: comparisons between scalars must use BOOL modifier"),
    ("up + up[5m]", "1:6: binary expression must contain only scalar and instant vector types"),
    ("up + on(a) 1", "1:1: vector matching only allowed between instant vectors"),
    ("up and 1", '1:1: set operator "and" not allowed in binary scalar expression'),
    ("up + fill(a) up", '1:11: unexpected identifier "a"'),
    ("up + fill(1) 1", "1:1: filling in missing series only allowed between instant vectors"),
    ("up or fill(1) up", "1:1: filling in missing series not allowed for set operators"),
    ("up or on(a) group_left up", '1:1: no grouping allowed for "or" operation'),
    (
        "up * on(a) group_left(a) up",
        '1:4: label "a" must not occur in ON and GROUP clause at once',
    ),
    (
        '-"a"',
        "1:1: unary expression only allowed on expressions of type scalar or instant vector, got"
        ' "string"',
    ),
    ("up[5m][5m:]", "1:1: subquery is only allowed on instant vector, got matrix instead"),
    ('up{__name__="a"}', '1:1: metric name must not be set twice: "up" or "a"'),
    ('{a=""}', "1:1: vector selector must contain at least one non-empty matcher"),
    ("1 !~ 1", "1:3: unexpected character after '!': '~'"),
    ("1 = 1", '1:3: unexpected "="'),
    ("bool", "1:1: unexpected <bool>"),
    ("a:b(up)", '1:4: unexpected "("'),
    ("info(up, up)", "1:10: expected label selectors only, got vector selector instead"),
]


@pytest.mark.parametrize(("text", "message"), TEXTS)
def test_fault_is_told_in_prometheus_words_with_its_place(text: str, message: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(text)
    place, _, said = message.partition(" ")
    assert str(caught.value) == f"{place} parse error: {said}"


EXPERIMENTS = [
    ("up + sort_by_label(up, 'a')", '1:6: parse error: function "sort_by_label" is not enabled'),
    (
        "up + fill(0) up",
        "1:1: parse error: binop fill modifiers are experimental and not enabled",
    ),
    ("limitk(1, up)", "1:1: parse error: limitk() is experimental and not enabled"),
]


@pytest.mark.parametrize(("text", "message"), EXPERIMENTS)
def test_experimental_functions_have_to_be_allowed(text: str, message: str) -> None:
    parse(text, experimental=True)
    with pytest.raises(QueryError) as caught:
        parse(text, experimental=False)
    assert str(caught.value) == f"{message}; set promql.experimental: true for it"


_WORDS = (
    "up sum by on group_left offset bool rate info and start topk inf 5m 1 1e 0x == =~ </ [5m:]"
)
_PIECES = st.sampled_from([*"()[]{},=:@+-*/^!~#.;'`\"\\\né", *_WORDS.split()])


@given(st.lists(_PIECES, max_size=14).map("".join) | st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(QueryError):
        parse(text)


NUMBERS = [
    ("0x1F", 31.0),
    ("010", 8.0),
    ("1_000.5", 1000.5),
    ("1e3", 1000.0),
    (".5", 0.5),
    ("1w1d", 691200.0),
    ("+Inf", float("inf")),
]


@pytest.mark.parametrize(("text", "value"), NUMBERS)
def test_numbers_are_written_as_in_go(text: str, value: float) -> None:
    assert parse(text) == Number(value)


@pytest.mark.parametrize("word", ["sum", "by", "offset", "start", "and", "fill", "smoothed"])
def test_keywords_can_be_metrics_and_labels(word: str) -> None:
    assert parse(f'{word}{{{word}="a"}}') == Selector(
        word, (Matcher("__name__", "=", word), Matcher(word, "=", "a"))
    )
    assert parse(f"sum by ({word}, bool) (up)") == Aggregate("sum", UP, None, (word, "bool"))


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_fault_is_bad_data_and_says_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(QueryError, match=message) as caught:
        parse(text)
    assert caught.value.error_type == "bad_data"


def test_query_too_deep_for_the_stack_is_refused_all_the_same() -> None:
    """Each bracket holds fewer powers than may be in a row, but all together are too many."""
    deep = ("(1*" + "1^" * 49) * 10 + "1" + ")" * 10
    with pytest.raises(QueryError, match="nested too deeply") as caught:
        parse(deep)
    assert caught.value.error_type == "bad_data"


def test_many_signs_in_a_wide_query_are_fine() -> None:
    assert isinstance(parse(" or ".join(["up > -1"] * 160)), Binary)


TYPES = [
    ("1", "scalar"),
    ('"x"', "string"),
    ("up", "vector"),
    ("(up[5m])", "matrix"),
    ("up[5m:]", "matrix"),
    ("1 + 2", "scalar"),
    ("1 + up", "vector"),
    ("-time()", "scalar"),
    ("scalar(up)", "scalar"),
    ("sum(up)", "vector"),
]


@pytest.mark.parametrize(("text", "kind"), TYPES)
def test_value_type_is_known_without_evaluation(text: str, kind: str) -> None:
    assert value_type(parse(text)) == kind


# The words with which calls, aggregations, selectors and numbers begin.
PLACES = [
    ("sum by(a, b) (rate(up[5m]))", ["sum", "rate", "up"]),
    ('topk(-1.5, {a="b"} offset 5m)', ["topk", "-1.5", "{a"]),
    (
        "quantile(0.5, x @ 12) + on(y) group_left(z) vector(inf)",
        ["quantile", "0.5", "x", "vector", "inf"],
    ),
    ("clamp(sum(a) without (b), 1, 2) - 3", ["clamp", "sum", "a", "1", "2", "3"]),
    ("x @ start() > bool 1 # sum(y)", ["x", "1"]),
]


@pytest.mark.parametrize(("text", "words"), PLACES)
def test_nodes_know_where_they_begin(text: str, words: list[str]) -> None:
    found = [
        node.pos
        for node in walk(parse(text))
        if isinstance(node, (Call, Aggregate, Selector, Number))
    ]
    starts, at = [], 0
    for word in words:
        at = text.index(word, at)
        starts.append(at)
    assert sorted(found) == starts


def test_children_come_in_the_order_of_the_text() -> None:
    tree = parse('label_replace(topk(1, up), "a", "b", "c", "d")')
    assert [type(child).__name__ for child in children(tree)] == ["Aggregate"] + ["Text"] * 4
    assert children(children(tree)[0]) == (Number(1.0), UP)
