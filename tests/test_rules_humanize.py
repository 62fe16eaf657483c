"""Numbers as Prometheus' template functions and Go's fmt print them."""

import math
from collections.abc import Callable

import pytest

from fleetpulse.gotemplate.printing import format_float, sprint, sprintf, sprintln
from rules.humanize import (
    humanize,
    humanize_1024,
    humanize_duration,
    humanize_percentage,
    humanize_timestamp,
)

INF, NAN = math.inf, math.nan

CASES = [
    (humanize, [(0, "0"), (1, "1"), (1234567, "1.235M"), (0.12, "120m"), (-1, "-1"),
                (9.223372036854775807e18, "9.223E"), (999, "999"), (1e30, "1e+06Y"),
                (INF, "+Inf"), (-INF, "-Inf"), (NAN, "NaN")]),
    (humanize_1024, [(0, "0"), (1, "1"), (1048576, "1Mi"), (0.12, "0.12"), (-1, "-1"),
                     (1234567, "1.177Mi"), (2.0**63, "8Ei"), (2.0**64, "16Ei"), (INF, "+Inf")]),
    (humanize_duration, [(0, "0s"), (1, "1s"), (60, "1m 0s"), (3600, "1h 0m 0s"),
                         (86400, "1d 0h 0m 0s"), (90000, "1d 1h 0m 0s"),
                         (-(86400 * 2 + 3600 * 3 + 60 * 4 + 5), "-2d 3h 4m 5s"),
                         (899.99, "14m 59s"), (0.1, "100ms"), (0.0001, "100us"),
                         (0.12345, "123.5ms"), (60.5, "1m 0s"), (1.2345, "1.234s"),
                         (12.345, "12.35s"), (-1, "-1s"), (1234567, "14d 6h 56m 7s"),
                         (NAN, "NaN"), (-INF, "-Inf")]),
    (humanize_percentage, [(-0.22222, "-22.22%"), (0, "0%"), (0.1234567, "12.35%"),
                           (1.23456, "123.5%"), (1234567, "1.235e+08%")]),
    (humanize_timestamp, [(0, "1970-01-01 00:00:00 +0000 UTC"),
                          (-1, "1969-12-31 23:59:59 +0000 UTC"),
                          (1435065584.128, "2015-06-23 13:19:44.128 +0000 UTC"),
                          (9223372036, "2262-04-11 23:47:16 +0000 UTC"), (INF, "+Inf")]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("function", "value", "expected"),
    [
        pytest.param(function, value, expected, id=f"{function.__name__} {value}")
        for function, rows in CASES
        for value, expected in rows
    ],
)
def test_humanize(function: Callable[[float], str], value: float, expected: str) -> None:
    assert function(float(value)) == expected


def test_a_time_past_the_range_of_nanoseconds_is_refused() -> None:
    with pytest.raises(ValueError, match=r"9.223372036854776e\+18 cannot be represented"):
        humanize_timestamp(2.0**63)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"), (-0.0, "-0"), (1.0, "1"), (100000.0, "100000"), (1e6, "1e+06"),
        (123456.0, "123456"), (1234567.0, "1.234567e+06"), (0.0001, "0.0001"), (1e-5, "1e-05"),
        (0.1 + 0.2, "0.30000000000000004"), (1e21, "1e+21"), (5e-324, "5e-324"), (-2.5, "-2.5"),
        (1.5e300, "1.5e+300"),
    ],
)  # fmt: skip
def test_the_shortest_form_of_a_float(value: float, expected: str) -> None:
    assert format_float(value) == expected


@pytest.mark.parametrize(
    ("verb", "expected"),
    [("e", "1.2345e+02"), ("f", "123.45"), ("E", "1.2345E+02"), ("g", "123.45")],
)
def test_shortest_forms_by_verb(verb: str, expected: str) -> None:
    assert format_float(123.45, verb) == expected


PRINTF = [
    ("%d|%5d|%-5d|%05d|%+d", (3, 3, 3, 3, 3), "3|    3|3    |00003|+3"),
    ("%x %X %o %b %c %U", (255, 255, 8, 5, 65, 65), "ff FF 10 101 A U+0041"),
    ("%s %q %10s|%-4s|%.2s", ("a", 'b"', "c", "d", "efg"), 'a "b\\""          c|d   |ef'),
    ("%v %v %v %v", (1, 1.5, "a", True), "1 1.5 a true"),
    ("%t %T %T %T", (True, 1, 1.5, "a"), "true int float64 string"),
    ("100%%", (), "100%"),
    ("%d", (1.5,), "%!d(float64=1.5)"),
    ("%s", (1,), "%!s(int=1)"),
    ("%s %s", ("a",), "a %!s(MISSING)"),
    ("a", (1, "b"), "a%!(EXTRA int=1, string=b)"),
    ("50%", (), "50%!(NOVERB)"),
    ("%*d|%.*f", (4, 1, 1, 2.55), "   1|2.5"),
    ("%99999d", (1,), "%!(BADWIDTH)"),
    ("%+.1f %5.1f", (INF, NAN), "+Inf   NaN"),
    ("%z", (1,), "%!z(int=1)"),
]


@pytest.mark.parametrize(
    ("text", "values", "expected"), [pytest.param(*row, id=row[0]) for row in PRINTF]
)
def test_printf(text: str, values: tuple[object, ...], expected: str) -> None:
    assert sprintf(text, values) == expected


def test_printf_of_floats() -> None:
    values = (1.5, 2.25, 3.14159, 2.5, 1e6, 1e6)
    text = sprintf("%f %.1f %6.2f %06.1f %e %g", values)
    assert text == "1.500000 2.2   3.14 0002.5 1.000000e+06 1e+06"


def test_print_and_println() -> None:
    assert sprint([1, 2, "a", 3, None]) == "1 2a3 <nil>"
    assert sprintln(["a", 1]) == "a 1\n"
