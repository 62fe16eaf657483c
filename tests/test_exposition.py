"""Metrics pages as Prometheus reads them."""

import math

import pytest

from fleetpulse.errors import ExpositionError
from fleetpulse.exposition import PageReader, iter_samples, read_page
from fleetpulse.model import Labels, Metadata, is_stale


def series(name: str, /, **labels: str) -> Labels:
    return Labels.of({"__name__": name, **labels})


# one line of the text format, its labels, value and time
LINES = [
    pytest.param("up 1", series("up"), 1.0, None, id="a bare name"),
    pytest.param('up{a="b"} 1', series("up", a="b"), 1.0, None, id="a label"),
    pytest.param('up{a="b",} 1', series("up", a="b"), 1.0, None, id="a trailing comma"),
    pytest.param('up { b = "x" , a="y" } 1', series("up", a="y", b="x"), 1, None, id="spaces"),
    pytest.param('up{a="b"}\t1\t5', series("up", a="b"), 1.0, 5, id="tabs"),
    pytest.param("  up   1  ", series("up"), 1.0, None, id="spaces around"),
    pytest.param("up 1\r", series("up"), 1.0, None, id="a line end of Windows"),
    pytest.param('up{a="b"}1', series("up", a="b"), 1.0, None, id="no space after the brace"),
    pytest.param("up{} 1", series("up"), 1.0, None, id="empty braces"),
    pytest.param('up{a=""} 1', series("up"), 1.0, None, id="an empty label value is no label"),
    pytest.param("up 1 1700000000123", series("up"), 1, 1700000000123, id="its own timestamp"),
    pytest.param("up -1.5e-3", series("up"), -0.0015, None, id="an exponent"),
    pytest.param("up +Inf", series("up"), math.inf, None, id="infinity"),
    pytest.param("up -inf", series("up"), -math.inf, None, id="minus infinity"),
    pytest.param(
        r'up{a="q\"b\\n\nx\d"} 1', series("up", a='q"b\\n\nx\\d'), 1.0, None, id="escapes"
    ),
    pytest.param('up{a="x} 1 2 # {"} 3', series("up", a="x} 1 2 # {"), 3, None, id="a sly value"),
    pytest.param('{"a.b",x="y"} 1', series("a.b", x="y"), 1.0, None, id="a quoted name"),
    pytest.param('{x="y","a.b"} 1', series("a.b", x="y"), 1.0, None, id="a quoted name, last"),
    pytest.param('up{"l.x"="y"} 1', series("up", **{"l.x": "y"}), 1, None, id="a quoted label"),
    pytest.param('up{a="ä☃"} 1', series("up", a="ä☃"), 1.0, None, id="UTF-8"),
    pytest.param("a:b_c 0x1F", None, 0.0, None, id="no hexadecimal"),
]


@pytest.mark.parametrize(("line", "labels", "value", "time_ms"), LINES)
def test_a_line_of_the_text_format(
    line: str, labels: Labels | None, value: float, time_ms: int | None
) -> None:
    if labels is None:
        with pytest.raises(ExpositionError):
            read_page(line.encode(), at_ms=0)
        return
    assert list(iter_samples([line.encode() + b"\n"], openmetrics=False)) == [
        (1, labels, value, time_ms)
    ]


BROKEN = [
    pytest.param(b"<html>", "metric name", id="HTML"),
    pytest.param(b"up", "a value", id="no value"),
    pytest.param(b"up ", "a value", id="no value but a space"),
    pytest.param(b"up one", "'one' is no number", id="a word for a value"),
    pytest.param(b"up 1_000", "no number", id="an underscore in a number"),
    pytest.param(b"up 1e999", "too large", id="a number too large"),
    pytest.param(b"up 1 2 3", "a value", id="three numbers"),
    pytest.param(b"up 1 1.5", "no timestamp", id="a fractional timestamp"),
    pytest.param(b"up 1 -5", "no timestamp", id="a negative timestamp"),
    pytest.param(b"up 1 9223372036854775808", "no timestamp", id="more than 64 bits of time"),
    pytest.param(b"up -nan", "no number", id="a NaN with a sign"),
    pytest.param(b'up{a="b} 1', 'expected ="value"', id="an open quote"),
    pytest.param(b'up{a="b" 1', "label name or }", id="an open brace"),
    pytest.param(b"up{a} 1", 'expected ="value"', id="a label without a value"),
    pytest.param(b'up{1a="b"} 1', "label name", id="a bad label name"),
    pytest.param(b'up{a="b",a="c"} 1', "twice", id="a label twice"),
    pytest.param(b'up{"down"} 1', "second metric name", id="two names"),
    pytest.param(b'{a="b"} 1', "no metric name", id="no name"),
    pytest.param(b'{"",a="b"} 1', "empty name", id="an empty name"),
    pytest.param(b'up{a="\xff"} 1', "not UTF-8 at byte 7", id="not UTF-8"),
    pytest.param(b"# TYPE up meter", "no metric type", id="an unknown type"),
    pytest.param(b"# TYPE 1up gauge", "metric name", id="a type of nothing"),
]


@pytest.mark.parametrize(("line", "message"), BROKEN)
def test_a_broken_line_fails_the_page_and_is_named(line: bytes, message: str) -> None:
    with pytest.raises(ExpositionError, match=r"^line 3: ") as caught:
        read_page(b"ok 1\n\n" + line + b"\nok 2\n", at_ms=0)
    assert message in str(caught.value)
    assert caught.value.line == 3


def test_a_long_broken_line_is_not_shown_whole() -> None:
    with pytest.raises(ExpositionError) as caught:
        read_page(b"x" * 100_000, at_ms=0)
    assert len(str(caught.value)) < 300


OPENMETRICS = [
    pytest.param(b"up 1\n# EOF\n", [(series("up"), 1.0, None)], id="a page"),
    pytest.param(b"up 1\r\n# EOF", [(series("up"), 1.0, None)], id="no line end at the end"),
    pytest.param(
        b"up 1 1700000000.1234\n# EOF\n", [(series("up"), 1.0, 1700000000123)], id="seconds"
    ),
    pytest.param(b"up 1 -1.5\n# EOF\n", [(series("up"), 1.0, -1500)], id="before 1970"),
    pytest.param(
        b'h_bucket{le="1"} 7 5.5 # {trace_id="a b"} 0.5 1.25\n# EOF\n',
        [(series("h_bucket", le="1"), 7.0, 5500)],
        id="an exemplar",
    ),
]


@pytest.mark.parametrize(("page", "samples"), OPENMETRICS)
def test_an_openmetrics_page(page: bytes, samples: list[tuple[Labels, float, int | None]]) -> None:
    lines = page.splitlines(keepends=True)
    assert [sample[1:] for sample in iter_samples(lines, openmetrics=True)] == samples


BROKEN_OPENMETRICS = [
    pytest.param(b"up 1\n", "cut short", id="no EOF"),
    pytest.param(b"# EOF\nup 1\n", "after # EOF", id="more after EOF"),
    pytest.param(b"up 1\n\n# EOF\n", "empty line", id="an empty line"),
    pytest.param(b"up  1\n# EOF\n", "a value", id="two spaces"),
    pytest.param(b"# hello\n# EOF\n", "HELP, TYPE, UNIT or EOF", id="a free comment"),
    pytest.param(b"# UNIT a_b seconds\n# EOF\n", "no suffix", id="a unit not in the name"),
    pytest.param(b"up 1 # {a} 1\n# EOF\n", 'expected ="value"', id="exemplar without a value"),
    pytest.param(b'up 1 # {a="b"} x\n# EOF\n', "no number", id="exemplar that is no number"),
    pytest.param(b'up 1 # {a="b"}\n# EOF\n', "exemplar", id="exemplar cut short"),
    pytest.param(b"up 1 nan\n# EOF\n", "timestamp", id="time is not a number"),
    pytest.param(b"up 1 1e17\n# EOF\n", "timestamp", id="more than 64 bits of time"),
    pytest.param(b"up 1 1e308\n# EOF\n", "timestamp", id="a time without end in milliseconds"),
]


@pytest.mark.parametrize(("page", "message"), BROKEN_OPENMETRICS)
def test_a_broken_openmetrics_page(page: bytes, message: str) -> None:
    with pytest.raises(ExpositionError, match=message):
        read_page(page, at_ms=0, openmetrics=True)


def test_metadata_is_kept_by_name() -> None:
    page = (
        b"# HELP a Says \\n and \\\\.\n# TYPE a counter\n#comment\n# TYPE b untyped\n"
        b"# HELP\n# HELP c\n"
    )
    assert read_page(page, at_ms=0).metadata == {
        "a": Metadata("counter", "Says \n and \\."),
        "b": Metadata("untyped"),
        "c": Metadata(),
    }
    page = b"# TYPE a_seconds unknown\n# UNIT a_seconds seconds\n# EOF\n"
    assert read_page(page, at_ms=0, openmetrics=True).metadata == {
        "a_seconds": Metadata("untyped", "", "seconds")
    }


BOUNDS = [
    ("1", "1.0"),
    ("0", "0.0"),
    ("0.10", "0.1"),
    ("2.5", "2.5"),
    ("-5", "-5.0"),
    ("100000", "100000.0"),
    ("1000000", "1e+06"),
    ("1234567", "1.234567e+06"),
    ("0.0001", "0.0001"),
    ("1e-5", "1e-05"),
    ("+Inf", "+Inf"),
    ("Inf", "+Inf"),
    ("x", "x"),
]


@pytest.mark.parametrize(("written", "kept"), BOUNDS)
def test_bucket_bounds_are_written_in_one_way(written: str, kept: str) -> None:
    page = f'# TYPE h histogram\nh_bucket{{le="{written}"}} 1\n'.encode()
    assert read_page(page, at_ms=0).lines == (series("h_bucket", le=kept),)
    untyped = f'h_bucket{{le="{written}"}} 1\n'.encode()
    assert read_page(untyped, at_ms=0).lines == (series("h_bucket", le=written),)


def test_of_two_equal_samples_the_first_counts_but_times_tell_them_apart() -> None:
    page = read_page(b'a{x="1",y="2"} 1\na{y="2",x="1"} 2\na{x="1",y="2"} 3 77\n', at_ms=5)
    assert list(page.values) == [1.0, 3.0]
    assert page.times_ms is not None
    assert list(page.times_ms) == [5, 77]


def test_a_nan_is_never_taken_for_a_staleness_marker() -> None:
    (value,) = read_page(b"a NaN\n", at_ms=0).values
    assert math.isnan(value)
    assert not is_stale(value)


# two pages that the same target gives one after the other: values of the second
SECOND_PAGES = [
    pytest.param(b"a 1\nb 2\n", b"a 3\nb 4\n", [3.0, 4.0], True, id="the same shape"),
    pytest.param(b"a 1\nb 2\n", b"a 3\n", [3.0], False, id="a line less"),
    pytest.param(b"a 1\nb 2\n", b"a 3\nb 4\nc 5\n", [3.0, 4.0, 5.0], False, id="a line more"),
    pytest.param(b"a 1\n", b"a 3\r\n", [3.0], True, id="another line end"),
    pytest.param(b"a 1\n", b"a  3\n", [3.0], True, id="another gap"),
    pytest.param(b"a 1\n", b"a 3 99\n", [3.0], True, id="a timestamp comes"),
    pytest.param(b"# x\na 1\n", b"# y\na 3\n", [3.0], False, id="another comment"),
    pytest.param(b"a 1\n", b"a +Inf\n", [math.inf], True, id="infinity"),
    pytest.param(b'a{x="b c"} 1\n', b'a{x="b c"} 2\n', [2.0], True, id="a space in a value"),
    pytest.param(b"a\t1\n", b"a\t2\n", [2.0], True, id="tabs"),
    pytest.param(b"", b"a 1\n", [1.0], False, id="an empty page before"),
]


@pytest.mark.parametrize(("first", "second", "values", "same_shape"), SECOND_PAGES)
def test_a_second_page(first: bytes, second: bytes, values: list[float], same_shape: bool) -> None:
    reader = PageReader()
    last = reader.read(first)
    reading = reader.read(second, last)
    assert list(reading.values) == values
    assert (reading.shape is last.shape) == same_shape
    assert list(reading.values) == list(read_page(second, at_ms=0).values)


SECOND_BROKEN = [
    pytest.param(b"a 1_0\n", id="an underscore"),
    pytest.param(b"a 1e999\n", id="too large"),
    pytest.param(b"a -nan\n", id="a NaN with a sign"),
    pytest.param(b"a\n", id="no value"),
    pytest.param(b"a 1 x\n", id="no timestamp"),
    pytest.param(b"a 1 2 3\n", id="a number too many"),
    pytest.param(b"a 1\f\n", id="a form feed"),
    pytest.param(b"a \v1\n", id="a vertical tab"),
    pytest.param(b"a \r1\n", id="a carriage return before the value"),
    pytest.param(b"a 1\r\r\n", id="two carriage returns"),
    pytest.param(b"a 1 9223372036854775808\n", id="more than 64 bits of time"),
]


@pytest.mark.parametrize("page", SECOND_BROKEN)
def test_what_the_strict_reader_refuses_the_fast_one_refuses_too(page: bytes) -> None:
    reader = PageReader()
    last = reader.read(b"a 1\n")
    with pytest.raises(ExpositionError, match=r"^line 1"):
        reader.read(page, last)


def test_an_openmetrics_page_cut_short_is_refused_the_second_time_too() -> None:
    reader = PageReader()
    last = reader.read(b"a 1\n# EOF\n", openmetrics=True)
    assert list(reader.read(b"a 2\n# EOF\n", last, openmetrics=True).values) == [2.0]
    for broken in (b"a 2\n", b"# EOF\na 2\n", b"a 2\n\n# EOF\n", b"\na 2\n# EOF\n"):
        with pytest.raises(ExpositionError):
            reader.read(broken, last, openmetrics=True)


BROKEN_AGAIN = [
    pytest.param(b"a  2\n# EOF\n", id="two spaces"),
    pytest.param(b"a \t2\n# EOF\n", id="a tab"),
    pytest.param(b"a 2 \n# EOF\n", id="a space at the end"),
    pytest.param(b"a 2 1e17\n# EOF\n", id="more than 64 bits of time"),
    pytest.param(b"a 2 1e308\n# EOF\n", id="a time without end in milliseconds"),
]


@pytest.mark.parametrize("page", BROKEN_AGAIN)
def test_a_known_series_of_openmetrics_is_read_as_strictly_as_a_new_one(page: bytes) -> None:
    reader = PageReader()
    last = reader.read(b"a 1\n# EOF\n", openmetrics=True)
    with pytest.raises(ExpositionError, match=r"^line 1"):
        reader.read(page, last, openmetrics=True)


def test_targets_of_the_same_shape_share_it_and_the_layout_outlives_reordering() -> None:
    reader = PageReader()
    one, other = reader.read(b"a 1\nb 2\n"), reader.read(b"a 5\nb 6\n")
    assert one.shape is other.shape
    spaced = reader.read(b"a{} 1\nb 2\n")
    assert spaced.shape is not one.shape
    assert spaced.shape.layout is one.shape.layout


# pages that differ in what their series are, though not in how these are written
TELLING = [
    pytest.param(b'# TYPE h histogram\nh_bucket{le="1"} 1\n', "1.0", id="a histogram"),
    pytest.param(b'h_bucket{le="1"} 1\n', "1", id="of no type"),
    pytest.param(b'h_bucket{le="1"} 1\n# TYPE h histogram\n', "1", id="told too late"),
]


@pytest.mark.parametrize("first", [page.values[0] for page in TELLING])
@pytest.mark.parametrize(("page", "bound"), TELLING)
def test_what_another_target_says_of_a_type_counts_for_it_alone(
    first: bytes, page: bytes, bound: str
) -> None:
    reader = PageReader()
    last = reader.read(first)
    for before in (None, last):
        assert reader.read(page, before).shape.layout.lines == (series("h_bucket", le=bound),)


def test_spaces_known_from_the_text_format_are_still_refused_in_openmetrics() -> None:
    reader = PageReader()
    last = reader.read(b"# EOF\na {} 1\n# EOF\n")
    with pytest.raises(ExpositionError):
        reader.read(b"a {} 1\n# EOF\n", last, openmetrics=True)


def test_a_line_that_is_only_a_number_is_no_value_of_the_line_before() -> None:
    reader = PageReader()
    last = reader.read(b"a 1\nb 2\n")
    with pytest.raises(ExpositionError, match="line 2"):
        reader.read(b"a 1\n2\n", last)


def test_lines_are_kept_changed_or_dropped_once_a_prefix() -> None:
    asked: list[str] = []

    def keep(labels: Labels) -> Labels | None:
        asked.append(labels.name)
        return None if labels.name == "b" else labels.with_(seen="yes")

    extra = (series("up"),)
    reader = PageReader(keep, extra)
    last = reader.read(b"a 1\nb 2\nc 3\n")
    reading = reader.read(b"a 4\nb 5\nc 6\n", last)
    assert asked == ["a", "b", "c"]
    assert list(reading.values) == [4.0, 6.0]
    assert reading.scraped == 3
    assert reading.shape.layout.lines == (series("a", seen="yes"), series("c", seen="yes"), *extra)


def test_a_page_cannot_claim_the_extra_lines_nor_a_line_twice() -> None:
    reader = PageReader(extra=(series("up"),))
    reading = reader.read(b"up 7\na 1\na 2\n")
    assert reading.shape.layout.lines == (series("a"), series("up"))
    assert list(reading.values) == [1.0]


def test_own_times_stand_beside_the_kept_lines() -> None:
    reading = PageReader().read(b"a 1\nb 2 77\n")
    assert reading.own_times == [None, 77]
    assert PageReader().read(b"a 1\n").own_times is None


def test_prefixes_of_targets_that_went_away_are_forgotten() -> None:
    asked = 0

    def keep(labels: Labels) -> Labels:
        nonlocal asked
        asked += 1
        return labels

    reader = PageReader(keep)
    held = reader.read(b"".join(b"held%d 1\n" % i for i in range(10)))
    for page in range(3):
        reader.read(b"".join(b'a{p="%d",x="%d"} 1\n' % (page, i) for i in range(10_000)))
    assert reader.known < 20_000
    before = asked
    reader.read(b"".join(b"held%d 2\n" % i for i in range(10)), held)
    assert asked == before


def test_an_empty_label_value_reaches_keep_as_it_takes_a_target_label_away() -> None:
    reading = PageReader().read(b'a{instance=""} 1\n')
    assert reading.shape.layout.lines == (Labels([("__name__", "a"), ("instance", "")]),)
