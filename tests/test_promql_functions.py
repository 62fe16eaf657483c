"""Functions of instant vectors and scalars, over frames written as text."""

import pytest

from fleetpulse.errors import QueryError
from fleetpulse.model import Labels
from fleetpulse.promql.functions import FUNCTIONS
from fleetpulse.promql.gofloat import format_f, format_g, format_openmetrics
from fleetpulse.promql.labelfunctions import natural_order
from fleetpulse.promql.labelhash import labels_hash, xxh64
from fleetpulse.promql.syntax import Call, parse
from tests.frames_fakes import context, evaluate, show

MATH = [
    ("abs(x)", ["-1.5", "NaN", "-Inf"], ["1.5", "NaN", "+Inf"]),
    ("ceil(x)", ["-1.5", "1.2", "Inf"], ["-1", "2", "+Inf"]),
    ("floor(x)", ["-1.5", "1.2", "NaN"], ["-2", "1", "NaN"]),
    ("exp(x)", ["0", "1", "-Inf", "1000"], ["1", "2.71828182846", "0", "+Inf"]),
    ("ln(x)", ["1", "0", "-1"], ["0", "-Inf", "NaN"]),
    ("log2(x)", ["8", "0", "-1"], ["3", "-Inf", "NaN"]),
    ("log10(x)", ["1000", "0", "-1"], ["3", "-Inf", "NaN"]),
    ("sqrt(x)", ["16", "-1"], ["4", "NaN"]),
    ("sgn(x)", ["-3", "0", "7", "-Inf", "NaN"], ["-1", "0", "1", "-1", "NaN"]),
    ("sin(x)", ["0", "Inf"], ["0", "NaN"]),
    ("cos(x)", ["0"], ["1"]),
    ("tan(x)", ["1"], ["1.55740772465"]),
    ("asin(x)", ["1", "2"], ["1.57079632679", "NaN"]),
    ("acos(x)", ["1", "-2"], ["0", "NaN"]),
    ("atan(x)", ["1"], ["0.785398163397"]),
    ("sinh(x)", ["1"], ["1.17520119364"]),
    ("cosh(x)", ["1"], ["1.54308063482"]),
    ("tanh(x)", ["1"], ["0.761594155956"]),
    ("asinh(x)", ["1"], ["0.88137358702"]),
    ("acosh(x)", ["2", "0"], ["1.31695789692", "NaN"]),
    ("atanh(x)", ["0.5", "1", "2"], ["0.549306144334", "+Inf", "NaN"]),
    ("rad(x)", ["180"], ["3.14159265359"]),
    ("deg(x)", ["3.141592653589793"], ["180"]),
    ("round(x)", ["0.5", "-0.5", "2.4", "NaN"], ["1", "0", "2", "NaN"]),
    ("round(x, 0.1)", ["5.25", "-5.25"], ["5.3", "-5.2"]),
    ("round(x, 5)", ["7.5", "7.4", "-7.5"], ["10", "5", "-5"]),
    ("clamp(x, -1, 1)", ["-5", "0.5", "5", "NaN"], ["-1", "0.5", "1", "NaN"]),
    ("clamp(x, 0, NaN)", ["1"], ["NaN"]),
    ("clamp(x, 5, -5)", ["1", "9"], []),
    ("clamp_min(x, 2)", ["1", "3", "-Inf"], ["2", "3", "2"]),
    ("clamp_max(x, 2)", ["1", "3", "Inf"], ["1", "2", "2"]),
    ("clamp_min(x, Inf)", ["NaN"], ["+Inf"]),
]


@pytest.mark.parametrize(("query", "values", "expected"), MATH, ids=[row[0] for row in MATH])
def test_math(query: str, values: list[str], expected: list[str]) -> None:
    rows = "\n".join(f'x{{i="{i}"}} {value}' for i, value in enumerate(values))
    assert show(evaluate(query, rows)) == [
        f'{{i="{i}"}} {value}' for i, value in enumerate(expected)
    ]


def test_functions_work_step_by_step() -> None:
    assert show(evaluate("abs(x)", "x -1 _ 3")) == ["{} 1 _ 3"]
    assert show(evaluate("clamp(x, time() / 60, 1)", "x 0 0 0")) == ["{} 0 1 _"]
    assert show(evaluate("round(x, 1 + time() / 60)", "x 5 5 5")) == ["{} 5 6 6"]


SCALARS = [
    ("scalar(x)", "x 1 2 _", "1 2 NaN"),
    ('scalar({i=~".+"})', 'x{i="1"} 1 2 _\nx{i="2"} _ 5 3', "1 NaN 3"),
    ("scalar(none)", "x 1 1 1", "NaN NaN NaN"),
    ("scalar(x)", "x NaN 1 1", "NaN 1 1"),
    ("time()", "x 1 1 1", "0 60 120"),
    ("start()", "x 1 1 1", "0 0 0"),
    ("end()", "x 1 1 1", "120 120 120"),
    ("range()", "x 1 1 1", "120 120 120"),
    ("pi() * 1", "x 1 1 1", "3.14159265359 3.14159265359 3.14159265359"),
    ("min_of(2, time() / 60)", "x 1 1 1", "0 1 2"),
    ("max_of(1, time() / 60)", "x 1 1 1", "1 1 2"),
    ("max_of(NaN, 3)", "x 1", "NaN"),
    ("max_of(NaN, Inf)", "x 1", "+Inf"),
    ("min_of(NaN, -Inf)", "x 1", "-Inf"),
]


@pytest.mark.parametrize(("query", "rows", "expected"), SCALARS)
def test_scalars(query: str, rows: str, expected: str) -> None:
    assert show(evaluate(query, rows)) == [expected]


def test_vector_and_timestamp() -> None:
    assert show(evaluate("vector(time())", "x 1 1")) == ["{} 0 60"]
    assert show(evaluate("timestamp(x + 1)", "x 1 _ 1")) == ["{} 0 _ 120"]


DATES = [
    # 1136239445 is 2006-01-02 22:04:05 UTC, a Monday.
    ("year", 1136239445, 2006),
    ("month", 1136239445, 1),
    ("day_of_month", 1136239445, 2),
    ("day_of_week", 1136239445, 1),
    ("day_of_year", 1136239445, 2),
    ("days_in_month", 1136239445, 31),
    ("hour", 1136239445, 22),
    ("minute", 1136239445, 4),
    ("year", 1230767999, 2008),
    ("year", 1230768000, 2009),
    ("day_of_month", 1456790399, 29),
    ("month", 1456790400, 3),
    ("day_of_year", 1483191420, 366),
    ("days_in_month", 1454284800, 29),
    ("days_in_month", 1485907200, 28),
    ("day_of_week", -1, 3),
    ("year", -1, 1969),
    ("hour", -1, 23),
    ("minute", -0.5, 0),
]


@pytest.mark.parametrize(("part", "seconds", "expected"), DATES)
def test_parts_of_a_date(part: str, seconds: float, expected: int) -> None:
    assert show(evaluate(f"{part}(vector({seconds}))")) == [f"{{}} {expected}"]


def test_dates_of_the_steps_and_of_no_date() -> None:
    assert show(evaluate("minute()", "x 1 1 1")) == ["{} 0 1 2"]
    assert show(evaluate("day_of_week()", "x 1")) == ["{} 4"]
    assert show(evaluate("year(x)", "x NaN Inf 1e300")) == ["{} NaN NaN NaN"]


LABELLED = 'x{src="value-10",b="two"} 1 2'
LABELS = [
    ('label_replace(x, "dst", "to-$1", "src", "value-(.*)")', 'dst="to-10"'),
    ('label_replace(x, "dst", "${n}s", "src", "value-(?P<n>.*)")', 'dst="10s"'),
    ('label_replace(x, "dst", "$1x", "src", "value-(.*)")', ""),
    ('label_replace(x, "dst", "$$", "src", ".*")', 'dst="$"'),
    ('label_replace(x, "dst", "y", "src", "value")', ""),
    ('label_replace(x, "dst", "y", "none", "")', 'dst="y"'),
    ('label_replace(x, "dst", "", "src", ".*")', ""),
    ('label_replace(x, "dst", "$1", "__name__", "(.*)")', 'dst="x"'),
    ('label_join(x, "dst", "-", "src", "b")', 'dst="value-10-two"'),
    ('label_join(x, "dst", "-", "src", "none")', 'dst="value-10-"'),
    ('label_join(x, "dst", "-")', ""),
]


@pytest.mark.parametrize(("query", "added"), LABELS)
def test_label_functions(query: str, added: str) -> None:
    labels = ", ".join(filter(None, ['b="two"', added, 'src="value-10"']))
    assert show(evaluate(query, LABELLED)) == [f"x{{{labels}}} 1 2"]


NAMES = [
    ('label_replace(-x, "n", "$1", "__name__", "(.*)")', '{n="x"} -1'),
    ('label_replace(-x, "__name__", "neg_$1", "__name__", "(.*)")', "neg_x -1"),
    ('label_replace(-x, "__name__", "y", "none", "no match")', "{} -1"),
    ('label_join(-x, "__name__", "_", "__name__", "__name__")', "x_x -1"),
    ('label_replace(x, "__name__", "", "", "")', "{} 1"),
]


@pytest.mark.parametrize(("query", "expected"), NAMES)
def test_a_name_to_be_dropped_is_still_there_for_label_functions(query: str, expected: str) -> None:
    assert show(evaluate(query, "x 1")) == [expected]


TWO = 'x{i="1"} 1 _\nx{i="2"} _ 2'
BOTH = 'x{i="1"} 1 _\nx{i="2"} 3 2'


@pytest.mark.parametrize(
    "query", ['label_replace(x, "i", "", "", "")', 'label_join(x, "i", "", "none")']
)
def test_rows_that_become_alike(query: str) -> None:
    assert show(evaluate(query, TWO)) == ["x 1 2"]
    with pytest.raises(QueryError, match="vector cannot contain metrics with the same labelset"):
        evaluate(query, BOTH)


REFUSED = [
    ('label_replace(x, "d", "", "s", "(")', "invalid regular expression in label_replace(): ("),
    ('label_replace(x, "", "", "s", "")', "invalid destination label name in label_replace(): "),
    ('label_join(x, "", "-", "s")', "invalid destination label name in label_join(): "),
    ('label_join(x, "d", "-", "")', "invalid source label name in label_join(): "),
]


@pytest.mark.parametrize(("query", "message"), REFUSED)
def test_bad_label_arguments(query: str, message: str) -> None:
    with pytest.raises(QueryError) as fault:
        evaluate(query, "x 1")
    assert (fault.value.error_type, str(fault.value)) == ("execution", message)


SORTED = [
    ("sort(x)", "3142"),
    ("sort_desc(x)", "4132"),
    ('sort_by_label(x, "cpu")', "3142"),
    ('sort_by_label_desc(x, "cpu")', "2413"),
    ('sort_by_label(x, "g", "cpu")', "3412"),
    ('sort_by_label(x, "none")', "1423"),
    ("sort_by_label(x)", "1423"),
]


@pytest.mark.parametrize(("query", "expected"), SORTED)
def test_sorting_an_instant_vector(query: str, expected: str) -> None:
    rows = """
        x{cpu="cpu10",g="b",i="1"} 2
        x{cpu="cpu20",g="b",i="2"} NaN
        x{cpu="cpu9",g="a",i="3"} 1
        x{cpu="cpu11",g="a",i="4"} 3
    """
    found = show(evaluate(query, rows))
    assert "".join(line[line.index('i="') + 3] for line in found) == expected


@pytest.mark.parametrize("query", ["sort(x)", "sort_desc(x)", 'sort_by_label(x, "i")'])
def test_sorting_a_range_is_warned_of(query: str) -> None:
    ctx = context(2)
    assert show(evaluate(query, 'x{i="2"} 2 1\nx{i="1"} 1 2', ctx))[0] == 'x{i="2"} 2 1'
    (warning,) = ctx.annotations.warnings
    assert warning == (
        "PromQL warning: sort is ineffective for range queries since results are always "
        "ordered by labels"
    )


NATURAL = [
    ("cpu9", "cpu10", -1),
    ("cpu10", "cpu9", 1),
    ("cpu1", "cpu1", 0),
    ("01", "1", 0),
    ("1.2.3", "1.10", -1),
    ("a", "a1", -1),
    ("a", "B", 1),
    ("9", "a", -1),
    ("", "a", -1),
]


@pytest.mark.parametrize(("left", "right", "expected"), NATURAL)
def test_natural_order(left: str, right: str, expected: int) -> None:
    assert natural_order(left, right) == expected
    assert natural_order(right, left) == -expected


@pytest.mark.parametrize("name", ["avg", "count", "stddev", "stdvar", "sum"])
def test_functions_of_native_histograms_leave_floats_out(name: str) -> None:
    assert show(evaluate(f"histogram_{name}(x)", "x 1 2")) == []


def test_arguments_of_the_wrong_type_are_named() -> None:
    call = parse("round(x, 1)")
    assert isinstance(call, Call)
    x, one = evaluate("x", "x 1"), evaluate("1")
    for args, message in (
        ([one, one], "round: argument 1 has to be an instant vector"),
        ([x, x], "round: argument 2 has to be a scalar"),
        ([], "round: argument 1 is missing"),
    ):
        with pytest.raises(QueryError, match=message):
            FUNCTIONS["round"](context(), args, call)


# As Go 1.26 prints them with %g and with FormatFloat(…, 'f', -1, 64).
PRINTED = [
    (0.0, "0", "0"),
    (-0.0, "-0", "-0"),
    (1.5, "1.5", "1.5"),
    (100000.0, "100000", "100000"),
    (1e6, "1e+06", "1000000"),
    (123456789.0, "1.23456789e+08", "123456789"),
    (-1234567.5, "-1.2345675e+06", "-1234567.5"),
    (0.0001, "0.0001", "0.0001"),
    (1e-5, "1e-05", "0.00001"),
    (1e21, "1e+21", "1000000000000000000000"),
    (float("nan"), "NaN", "NaN"),
    (float("-inf"), "-Inf", "-Inf"),
]


@pytest.mark.parametrize(("value", "general", "fixed"), PRINTED)
def test_floats_as_go_prints_them(value: float, general: str, fixed: str) -> None:
    assert (format_g(value), format_f(value)) == (general, fixed)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1.0, "1.0"), (0.0, "0.0"), (0.25, "0.25"), (1e6, "1e+06"), (float("inf"), "+Inf")],
)
def test_floats_as_openmetrics_has_them(value: float, expected: str) -> None:
    assert format_openmetrics(value) == expected


# From github.com/cespare/xxhash/v2, which Prometheus uses.
HASHED = [
    (b"", 0xEF46DB3751D8E999),
    (b"a", 0xD24EC4F1A98C6E5B),
    (b"abc", 0x44BC2CF5AD770999),
    (b"x" * 31, 0x60DD0D01083B99F0),
    (b"x" * 100, 0x92F0DE5A88A3C094),
]


@pytest.mark.parametrize(("data", "expected"), HASHED)
def test_xxh64(data: bytes, expected: int) -> None:
    assert xxh64(data) == expected


def test_the_hash_of_labels_has_their_lengths_in_it() -> None:
    assert labels_hash(Labels.of(a="bc")) == xxh64(b"\x01a\x02bc")
    assert labels_hash(Labels.of(a="b" * 300)) == xxh64(b"\x01a\xff\x2c\x01\x00" + b"b" * 300)
