"""Operators over scalars and frames: values, names, vector matching and its errors."""

import pytest

from fleetpulse.errors import QueryError
from fleetpulse.promql import operators
from fleetpulse.promql.frames import StringFrame
from fleetpulse.promql.syntax import Unary
from tests.frames_fakes import context, evaluate, show

SCALARS = [
    ("1 + 2", "3"),
    ("1 - 2", "-1"),
    ("2 * 3", "6"),
    ("7 / 2", "3.5"),
    ("1 / 0", "+Inf"),
    ("-1 / 0", "-Inf"),
    ("0 / 0", "NaN"),
    ("5 % 3", "2"),
    ("-5 % 3", "-2"),
    ("5 % -3", "2"),
    ("1 % 0", "NaN"),
    ("5 % Inf", "5"),
    ("Inf % 5", "NaN"),
    ("2 ^ 10", "1024"),
    ("NaN ^ 0", "1"),
    ("1 ^ NaN", "1"),
    ("-1 ^ Inf", "-1"),
    ("(-8) ^ (1 / 3)", "NaN"),
    ("10 atan2 0", "1.57079632679"),
    ("1 == bool 1", "1"),
    ("1 != bool 1", "0"),
    ("NaN == bool NaN", "0"),
    ("NaN != bool NaN", "1"),
    ("2 >= bool 2", "1"),
    ("2 < bool 2", "0"),
    ("-(1 + 1)", "-2"),
]


@pytest.mark.parametrize(("query", "expected"), SCALARS, ids=[query for query, _ in SCALARS])
def test_scalars(query: str, expected: str) -> None:
    assert show(evaluate(query)) == [expected]


SIDES = """
    a{i="1"} 1 2 _
    a{i="2"} 3 4 5
    b{i="1"} 10 _ 30
    b{i="2"} 3 3 3
    c{i="1",x="u"} 100 200 300
    c{i="1",x="v"} 101 201 301
    info{i="1",v="old"} 1 _ _
    info{i="1",v="new"} _ 1 1
    info{i="2",v="only"} 1 1 _
"""

VECTORS = [
    pytest.param("a + 1", ['{i="1"} 2 3 _', '{i="2"} 4 5 6'], id="arithmetic drops the name"),
    pytest.param("10 - a", ['{i="1"} 9 8 _', '{i="2"} 7 6 5'], id="the scalar may stand left"),
    pytest.param("a > 2", ['a{i="2"} 3 4 5'], id="a filter keeps name and value"),
    pytest.param("2 < a", ['a{i="2"} 3 4 5'], id="a filter keeps the vector's value"),
    pytest.param("a == 4", ['a{i="2"} _ 4 _'], id="a filter works step by step"),
    pytest.param("a > bool 2", ['{i="1"} 0 0 _', '{i="2"} 1 1 1'], id="bool drops the name"),
    pytest.param("-a", ['{i="1"} -1 -2 _', '{i="2"} -3 -4 -5'], id="minus drops the name"),
    pytest.param("+a", ['a{i="1"} 1 2 _', 'a{i="2"} 3 4 5'], id="plus changes nothing"),
    pytest.param("a + b", ['{i="1"} 11 _ _', '{i="2"} 6 7 8'], id="same labels match"),
    pytest.param("a + none", [], id="nothing matches nothing"),
    pytest.param("a == b", ['a{i="2"} 3 _ _'], id="a filter keeps the left side"),
    pytest.param("a < b", ['a{i="1"} 1 _ _'], id="only where both are present"),
    pytest.param("a < bool b", ['{i="1"} 1 _ _', '{i="2"} 0 0 0'], id="bool compares all"),
    pytest.param("a < on(i) b", ['{i="1"} 1 _ _'], id="on leaves its labels only"),
    pytest.param("a < ignoring(x) b", ['a{i="1"} 1 _ _'], id="ignoring keeps the name"),
    pytest.param(
        "a * on(i) group_right b",
        ['{i="1"} 10 _ _', '{i="2"} 9 12 15'],
        id="group_right without labels",
    ),
    pytest.param(
        "c - on(i) group_left a",
        ['{i="1", x="u"} 99 198 _', '{i="1", x="v"} 100 199 _'],
        id="many to one",
    ),
    pytest.param(
        "a - ignoring(x) group_right c",
        ['{i="1", x="u"} -99 -198 _', '{i="1", x="v"} -100 -199 _'],
        id="one to many keeps the order of the operands",
    ),
    pytest.param(
        "a < on(i) group_right c",
        ['c{i="1", x="u"} 1 2 _', 'c{i="1", x="v"} 1 2 _'],
        id="a filter under group_right: the left value, the right labels",
    ),
    pytest.param(
        "b * on(i) group_left(v) info",
        ['{i="1", v="old"} 10 _ _', '{i="1", v="new"} _ _ 30', '{i="2", v="only"} 3 3 _'],
        id="the one side may change its series from step to step",
    ),
    pytest.param(
        "c * on(i) group_left(x) info{v='old'}",
        QueryError("execution", "multiple matches for labels: grouping labels must ensure unique"),
        id="an included label that is missing takes away the many side's",
    ),
    pytest.param(
        "b + on(i) info",
        ['{i="1"} 11 _ 31', '{i="2"} 4 4 _'],
        id="two rows of a group that never meet are one",
    ),
    pytest.param("a and b", ['a{i="1"} 1 _ _', 'a{i="2"} 3 4 5'], id="and, step by step"),
    pytest.param("a unless b", ['a{i="1"} _ 2 _'], id="unless, step by step"),
    pytest.param(
        "a or b",
        ['a{i="1"} 1 2 _', 'a{i="2"} 3 4 5', 'b{i="1"} _ _ 30'],
        id="or, step by step",
    ),
    pytest.param(
        "a{i='1'} or on() b",
        ['a{i="1"} 1 2 _', 'b{i="1"} _ _ 30', 'b{i="2"} _ _ 3'],
        id="or takes all of the other side where its own has nothing",
    ),
    pytest.param("a or a", ['a{i="1"} 1 2 _', 'a{i="2"} 3 4 5'], id="or with itself"),
    pytest.param(
        "a{i='1'} or b{i='1'} or a",
        ['a{i="1"} 1 2 _', 'b{i="1"} _ _ 30', 'a{i="2"} 3 4 5'],
        id="or in a chain",
    ),
    pytest.param("c and on(i) a", ['c{i="1", x="u"} 100 200 _', 'c{i="1", x="v"} 101 201 _'],
                 id="set operators take many to many"),
    pytest.param("a and none", [], id="and with nothing"),
    pytest.param("a unless none", ['a{i="1"} 1 2 _', 'a{i="2"} 3 4 5'], id="unless nothing"),
    pytest.param("none or a", ['a{i="1"} 1 2 _', 'a{i="2"} 3 4 5'], id="nothing or"),
    pytest.param("(a > 2) > 3", ['a{i="2"} _ 4 5'], id="filters in a row"),
    pytest.param("(-a) < (-b)", ['{i="2"} _ -4 -5'], id="of dropped names"),
    pytest.param("(-a) > (-b)", ['{i="1"} -1 _ _'], id="a filter keeps a name dropped"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "expected"), VECTORS)
def test_vectors(query: str, expected: list[str] | QueryError) -> None:
    if isinstance(expected, QueryError):
        with pytest.raises(QueryError, match=str(expected)):
            evaluate(query, SIDES)
    else:
        assert show(evaluate(query, SIDES)) == expected


MANY_TO_MANY = (
    "found duplicate series for the match group {} on the {} hand-side of the operation: "
    "[{}, {}];many-to-many matching not allowed: matching labels must be unique on one side"
)
FAULTS = [
    pytest.param(
        "a + on(i) c",
        MANY_TO_MANY.format(
            '{i="1"}', "right", '{__name__="c", i="1", x="u"}', '{__name__="c", i="1", x="v"}'
        ),
        id="two rows on the right",
    ),
    pytest.param(
        "c + on(i) group_right a",
        MANY_TO_MANY.format(
            '{i="1"}', "left", '{__name__="c", i="1", x="u"}', '{__name__="c", i="1", x="v"}'
        ),
        id="two rows on the left under group_right",
    ),
    pytest.param(
        "a{i='1'} + ignoring(i) b",
        MANY_TO_MANY.format("{}", "right", '{__name__="b", i="1"}', '{__name__="b", i="2"}'),
        id="all labels ignored",
    ),
    pytest.param(
        "c + on(i) a",
        "multiple matches for labels: many-to-one matching must be explicit "
        "(group_left/group_right)",
        id="two rows on the left",
    ),
    pytest.param(
        "c > on(i) a * 1000",
        "multiple matches for labels: many-to-one matching must be explicit "
        "(group_left/group_right)",
        id="also where the filter keeps neither",
    ),
]


@pytest.mark.parametrize(("query", "message"), FAULTS)
def test_ambiguous_matches_are_errors(query: str, message: str) -> None:
    with pytest.raises(QueryError) as fault:
        evaluate(query, SIDES)
    assert (fault.value.error_type, str(fault.value)) == ("execution", message)


def test_a_duplicate_counts_only_where_the_other_side_has_anything() -> None:
    rows = """
        one{i="1"} _ 1
        two{i="1",x="u"} 1 2
        two{i="1",x="v"} 1 _
    """
    assert show(evaluate("one + on(i) two", rows)) == ['{i="1"} _ 3']


def test_the_fault_of_the_earlier_step_is_told() -> None:
    rows = """
        one{i="1"} 1 1
        one{i="1",x="u"} 1 _
        two{i="1"} 1 1
        two{i="1",x="v"} _ 1
    """
    with pytest.raises(QueryError, match="many-to-one matching must be explicit"):
        evaluate("one + on(i) two", rows)


def test_the_fault_of_the_earlier_step_may_come_of_dropped_names() -> None:
    rows = """
        m1{x="1"} 1 1
        m2{x="1"} 1 1
        one{x="1",k="1"} 1 1
        one{x="1",k="2"} _ 1
    """
    with pytest.raises(QueryError, match="grouping labels must ensure unique matches"):
        evaluate("{__name__=~'m.'} * on(x) group_left one", rows)
    with pytest.raises(QueryError, match="found duplicate series"):
        evaluate("{__name__=~'m.'} > on(x) group_left one", rows)


def test_results_of_different_groups_must_not_be_alike() -> None:
    rows = """
        m1{side="many"} 1
        m2{side="many"} 1
        m1{side="one"} 1
        m2{side="one"} 1
    """
    with pytest.raises(QueryError, match="vector cannot contain metrics with the same labelset"):
        evaluate("{side='many'} * on(__name__) group_left {side='one'}", rows)


def test_a_label_may_have_any_name() -> None:
    rows = """
        many{i="1"} 1
        one{i="1",self="me"} 2
    """
    assert show(evaluate("many * on(i) group_left(self) one", rows)) == ['{i="1", self="me"} 2']


@pytest.mark.parametrize("query", ["1 + on(i) 2", "a + ignoring(i) 2", "2 > ignoring(i) a"])
def test_a_scalar_is_not_matched(query: str) -> None:
    with pytest.raises(QueryError, match="vector matching only allowed between") as fault:
        evaluate(query, SIDES)
    assert fault.value.error_type == "bad_data"


def test_a_string_has_no_sign() -> None:
    with pytest.raises(QueryError, match="unary"):
        operators.unary(context(), Unary("-", None), StringFrame("x"))  # type: ignore[arg-type]


CHANGING = """
    many{i="1",k="1"} 1 1 1
    many{i="1",k="2"} 1 1 1
    one{i="1",v="1"} 1 _ _
    one{i="1",v="2"} _ 1 _
    one{i="1",v="3"} _ _ 1
"""


def test_results_with_more_rows_than_their_operands_have_a_limit() -> None:
    query = "many * on(i) group_left(v) one"
    assert len(show(evaluate(query, CHANGING, context(3, max_samples=114)))) == 6
    with pytest.raises(QueryError, match="would load too many samples"):
        evaluate(query, CHANGING, context(3, max_samples=113))
