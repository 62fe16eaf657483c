import math
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetpulse.lineprotocol import (
    FIELDS,
    Dialect,
    Influx,
    LineEncoder,
    Plain,
    stored,
    stored_measurement,
    stored_tag,
    told,
)
from fleetpulse.model import METRIC_NAME, STALE_NAN, Labels, Layout, Page, Part, lines_of

AT = 1_700_000_000_000


def line(name: str, **labels: str) -> Labels:
    return Labels.of({METRIC_NAME: name}, **labels)


INFLUX = Influx()


def encode(target: Labels, lines: dict[Labels, float], dialect: Dialect = INFLUX) -> list[str]:
    return LineEncoder(dialect).encode(Page.of(target, AT, lines)).lines


def test_a_sample_is_measurement_tags_field_and_milliseconds() -> None:
    target = Labels.of(instance="web1:9100", job="node")
    assert encode(target, {line("cpu_seconds_total", mode="idle"): 1.5}) == [
        "cpu_seconds_total,instance=web1:9100,job=node,mode=idle value=1.5 1700000000000\n"
    ]


def test_without_labels_there_is_no_tag() -> None:
    assert encode(Labels(), {line("a"): 2.0}) == ["a value=2.0 1700000000000\n"]


PLAIN = [
    pytest.param("a b", r"a\ b", id="a space is escaped"),
    pytest.param("a,b", r"a\,b", id="a comma is escaped"),
    pytest.param("a=b", r"a\=b", id="an equals sign is escaped"),
    pytest.param('a"b', 'a"b', id="a quote is nothing special in a tag"),
    pytest.param("C:\\dir", "C:\\dir", id="a backslash before a letter is itself"),
    pytest.param("C:\\", "C:\\\\", id="a backslash at the end is doubled, or it eats the comma"),
    pytest.param("a\\ b", "a\\\\\\ b", id="a backslash before an escaped character is doubled"),
    pytest.param("a\\\\b", "a\\\\\\b", id="the first of two backslashes is doubled"),
    pytest.param("a\nb c", "a\\nb\\ c", id="a line break becomes two characters"),
    pytest.param("a\r\nb", "a\\r\\nb", id="so does a carriage return"),
    pytest.param("Grüße 😀", "Grüße\\ 😀", id="Unicode stays"),
]


@pytest.mark.parametrize(("text", "written"), PLAIN)
def test_plain_tag_values_are_escaped(text: str, written: str) -> None:
    expected = f"m,instance={written},path={written} value=1.0 {AT}\n"
    assert encode(Labels.of(instance=text), {line("m", path=text): 1.0}, Plain()) == [expected]


WRITTEN = [
    pytest.param("a b", r"a\ b", id="a space is escaped"),
    pytest.param("a,b=c", r"a\,b\=c", id="a comma and an equals sign are escaped"),
    pytest.param("C:\\dir", "C:\\dir", id="a backslash is itself"),
    pytest.param("a\\,b", "a\\\\,b", id="also before what is escaped"),
    pytest.param("C:\\", "C:\ue05c", id="a backslash at the end would eat the comma"),
    pytest.param("a\nb", "a\ue00ab", id="a line break would end the line"),
    pytest.param("Grüße 😀", "Grüße\\ 😀", id="Unicode stays"),
]


@pytest.mark.parametrize(("text", "written"), WRITTEN)
def test_influx_tag_values_are_escaped(text: str, written: str) -> None:
    expected = f"m,instance={written},path={written} value=1.0 {AT}\n"
    assert encode(Labels.of(instance=text), {line("m", path=text): 1.0}) == [expected]


NAMES = [
    pytest.param(line("#hash"), "\ue023hash", id="a name that would be a comment"),
    pytest.param(line("m", time="1"), "m,time\ue000=1", id="a label that InfluxDB calls its time"),
    pytest.param(line("m", value="1"), "m,value\ue000=1", id="a label called as a field"),
    pytest.param(line("m", **{"a b": "1"}), "m,a\\ b=1", id="a label's name with a space"),
]


@pytest.mark.parametrize(("series", "written"), NAMES)
def test_influx_names_that_would_be_something_else(series: Labels, written: str) -> None:
    assert encode(Labels(), {series: 1.0}) == [f"{written} value=1.0 {AT}\n"]


PRIVATE = st.text(st.sampled_from("\ue000\ue001\ue00a\ue023\ue05c\n\\#a"))


@given(st.text() | PRIVATE)
def test_what_influx_stores_is_told_back(text: str) -> None:
    for store in (stored, stored_measurement, stored_tag):
        assert told(store(text)) == text


@pytest.mark.parametrize("field", FIELDS)
def test_no_tag_is_called_as_a_field(field: str) -> None:
    assert stored_tag(field) != field


def test_measurements_keep_colons_and_escape_what_parts_them() -> None:
    assert encode(Labels(), {line("job:up:sum"): 1.0, line("a b,c=d"): 1.0}) == [
        f"job:up:sum value=1.0 {AT}\n",
        f"a\\ b\\,c=d value=1.0 {AT}\n",
    ]


VALUES = [
    pytest.param(0.0, "value=0.0", id="zero is a float"),
    pytest.param(-0.0, "value=-0.0", id="so is minus zero"),
    pytest.param(1e300, "value=1e+300", id="large"),
    pytest.param(0.1 + 0.2, "value=0.30000000000000004", id="every digit that counts"),
    pytest.param(STALE_NAN, "stale=true", id="a staleness marker has a field of its own"),
    pytest.param(math.nan, 'special="NaN"', id="so has what is no number"),
    pytest.param(math.inf, 'special="+Inf"', id="infinity"),
    pytest.param(-math.inf, 'special="-Inf"', id="minus infinity"),
]


@pytest.mark.parametrize(("value", "field"), VALUES)
def test_values_are_written_exactly(value: float, field: str) -> None:
    assert encode(Labels(), {line("m"): value}) == [f"m {field} {AT}\n"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, STALE_NAN])
def test_what_plain_floats_lack_is_left_out_and_counted(value: float) -> None:
    page = Page.of(Labels(), AT, {line("bad"): value, line("good"): 1.0})
    encoded = LineEncoder(Plain()).encode(page)
    assert encoded.lines == [f"good value=1.0 {AT}\n"]
    assert encoded.left_out == 1


def test_values_that_add_up_to_infinity_are_all_written() -> None:
    lines = {line("a"): 1.7e308, line("b"): 1.7e308}
    assert len(encode(Labels(), lines)) == 2


def test_a_page_with_times_of_its_own_writes_each() -> None:
    layout = Layout((line("a"), line("b")))
    page = Page(Labels(), layout, AT, array("d", [1, 2]), array("q", [10, 20]))
    assert LineEncoder(Influx()).encode(page).lines == ["a value=1.0 10\n", "b value=2.0 20\n"]


def test_a_line_may_change_or_take_away_a_label_of_the_target() -> None:
    layout = Layout(lines_of([{"__name__": "a", "job": "other"}, {"__name__": "b", "job": ""}]))
    target = Labels.of(job="node", instance="i")
    encoded = LineEncoder(Influx()).encode(Page(target, layout, AT, array("d", [1, 2])))
    assert encoded.lines == [
        f"a,instance=i,job=other value=1.0 {AT}\n",
        f"b,instance=i value=2.0 {AT}\n",
    ]


def test_targets_with_other_labels_share_an_encoder() -> None:
    encoder, layout = LineEncoder(Influx(), layouts=1), Layout((line("m", rack="1"),))
    pages = [
        Page(target, layout, AT, array("d", [1]))
        for target in (Labels.of(job="a"), Labels.of(rack="9"), Labels.of(job="b"))
    ]
    assert [encoder.encode(page).lines[0].split(" ")[0] for page in pages] == [
        "m,job=a,rack=1",
        "m,rack=1",
        "m,job=b,rack=1",
    ]


def test_a_part_of_a_layout_has_its_own_lines() -> None:
    whole = Layout((line("a"), line("b"), line("c")))
    part = Part(whole, array("i", [2, 0]))
    encoder = LineEncoder(Influx())
    for page in (
        Page(Labels(), part, AT, array("d", [1.0, 2.0])),
        Page(Labels(), part, AT, array("d", [1.0, 2.0]), array("q", [AT, AT])),
    ):
        assert encoder.encode(page).lines == [f"c value=1.0 {AT}\n", f"a value=2.0 {AT}\n"]


@given(
    st.dictionaries(st.sampled_from("abcdefgh"), st.just("t"), max_size=5),
    st.lists(st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from("lm")), max_size=4),
)
def test_tags_stand_in_the_order_of_their_names(
    target: dict[str, str], lines: list[dict[str, str]]
) -> None:
    layout = Layout(tuple(line("m", **labels) for labels in lines))
    page = Page(Labels.of(target), layout, AT, array("d", [1.0] * len(lines)))
    found = [text.split(" ")[0] for text in LineEncoder(Influx()).encode(page).lines]
    merged = [sorted((target | labels).items()) for labels in lines]
    assert found == [",".join(["m", *(f"{k}={v}" for k, v in one)]) for one in merged]
