"""The interpreter of Go's templates by itself: what the caller hands in, and the bounds."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from fleetpulse.gotemplate import texts
from fleetpulse.gotemplate.evaluate import Evaluation, Limits
from fleetpulse.gotemplate.functions import GO_FUNCTIONS
from fleetpulse.gotemplate.nodes import TemplateError
from fleetpulse.gotemplate.parser import parse
from fleetpulse.gotemplate.times import GoDuration, GoTime, format_time
from fleetpulse.gotemplate.values import GoFunction, SafeHtml, anything, table

AT = datetime(2024, 2, 5, 15, 4, 9, 120_000, timezone(timedelta(hours=-3, minutes=-30), "X"))
LIST = GoFunction("list", (), lambda *values: list(values), anything)
FUNCTIONS = {**GO_FUNCTIONS, **table(LIST)}


def expand(text: str, dot: Any = None, **options: Any) -> str:
    template = parse(text, FUNCTIONS, whole=False)
    return Evaluation(template, FUNCTIONS, **options).run(dot)


TABLE = [
    pytest.param("{{ gt . 1.0 }} {{ le . 1.0 }} {{ eq . . }}", math.nan, "true false false",
                 id="NaN compares as in Go"),
    pytest.param("{{ index . 1 }} {{ slice . 1 3 }} {{ len . }}", "aéb", "195 é 4",
                 id="a text is its bytes"),
    pytest.param("{{ eq (html .) `a` }}", "a", "true", id="safe text is text"),
    pytest.param("{{ . }} {{ print . }}", None, "<no value> <nil>", id="nil"),
    pytest.param("{{ range . }}{{ else }}none{{ end }}", 0, "none", id="range over zero"),
    pytest.param("{{ .x }}|{{ .y.z }}", {"x": "1", "y": {}}, "1|", id="maps"),
    pytest.param("{{ with . }}{{ else with 2 }}{{ . }}{{ end }}", "", "2", id="else with"),
    pytest.param("{{ . }}", GoTime(AT), "2024-02-05 15:04:09.12 -0330 X", id="a time"),
    pytest.param("{{ .UTC.Hour }} {{ .Add 1e9 }}", GoTime(AT.astimezone(UTC)),
                 "18 2024-02-05 18:34:10.12 +0000 UTC", id="methods of a time"),
    pytest.param("{{ . }} {{ .Minutes }}", GoDuration(-90 * 10**9), "-1m30s -1.5", id="a duration"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "dot", "expected"), TABLE)
def test_expansion(text: str, dot: Any, expected: str) -> None:
    assert expand(text, dot) == expected


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("2006-01-02T15:04:05.000Z07:00", "2024-02-05T15:04:09.120-03:30"),
        ("Mon Jan _2 3:4:5.999PM 06 -07 MST", "Mon Feb  5 3:4:9.12PM 24 -03 X"),
        ("Monday, January 2 002 pm Monster Janet", "Monday, February 5 036 pm Monster Janet"),
        ("02.01.2006,99", "05.02.2024,12"),
        ("_2006", "_2024"),
    ],
)
def test_layouts(layout: str, expected: str) -> None:
    assert format_time(AT, layout) == expected


def test_named_templates_come_from_the_text_then_from_the_caller() -> None:
    named = {
        "a": parse("theirs", ()).body,
        "b": GoFunction("b", (anything,), lambda data: f"<{data}>"),
        "c": parse("", ()).body,
    }
    text = "{{ define `a` }}{{ end }}{{ template `a` }}{{ template `b` 1 }}{{ template `c` }}"
    assert expand(text, named=named) == "<1>"
    assert expand("{{ template `a` }}", named=named) == "theirs"


def test_values_are_escaped_and_text_and_safe_values_are_not() -> None:
    named = {"b": GoFunction("b", (anything,), lambda data: SafeHtml(f"<{data}>"))}
    text = "<p>{{ . }}{{ html . }}</p>{{ template `b` 1 }}{{ . | list }}"
    assert expand(text, "'&", named=named, escape=texts.html) == (
        "<p>&#39;&amp;&#39;&amp;</p><1>[&#39;&amp;]"
    )


FAILURES: list[tuple[str, Any, str]] = [
    ("\n{{ .Unix 1 }}", GoTime(AT), "line 2: error calling Unix: wrong number of args for Unix"),
    ("{{ .Add 1e30 }}", GoTime(AT), "line 1: error calling Add: "),
    ("{{ .Nope }}", GoTime(AT), r"field Nope in type \*time.Time; it has Format, Add"),
    ("{{ slice . 2 1 }}", "abc", "index out of range: 2, 1"),
    ("{{ eq . 1 }}", [1], "incompatible types for comparison: .*int and int"),
    ("{{ template `x` }}", None, "line 1: template 'x' is not defined"),
    (
        "{{ define `x` }}" + "{{ if 1 }}" * 40 + "{{ template `x` }}" + "{{ end }}" * 41
        + "{{ template `x` }}",
        None,
        "nested too deeply|more than 50 templates",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "dot", "message"), FAILURES, ids=[row[0] for row in FAILURES])
def test_failures_are_told_with_their_line(text: str, dot: Any, message: str) -> None:
    with pytest.raises(TemplateError, match=message):
        expand(text, dot)


def test_texts_that_a_list_holds_on_to_are_bounded_too() -> None:
    text = "{{ $x := list }}{{ range 99999 }}{{ $x = list $x (printf `%50s` `a`) }}{{ end }}"
    with pytest.raises(TemplateError, match="functions made more than 6400 characters"):
        expand(text, limits=Limits(output=100))


@pytest.mark.parametrize(
    ("change", "text", "expected"),
    [
        (texts.title, "it's a.b 3rd x’y_z NOTE", "It'S A.B 3rd X’y_z NOTE"),
        (texts.title_only, "it's a.b 3rd x’y_z NOTE", "It's A.b 3Rd X’y_z Note"),
        (texts.js, "it's <b>\n\"é\\", "it\\'s \\u003Cb\\u003E\\u000A\\\"é\\\\"),
        (texts.upper, "ßé", "ßÉ"),
    ],
)  # fmt: skip
def test_texts(change: Callable[[str], str], text: str, expected: str) -> None:
    assert change(text) == expected


def test_the_dot_of_a_pattern_ends_at_the_line() -> None:
    assert texts.replace_all("o.*", "0", "one\ntwo") == "0\ntw0"
    with pytest.raises(ValueError, match=r"'\(' is no regular expression"):
        texts.match("(", "")
