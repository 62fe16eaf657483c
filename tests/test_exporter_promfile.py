"""What others wrote: read strictly, put together, and never fit to spoil the page."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from exporter.block import Block
from exporter.page import OPENMETRICS, TEXT, render
from exporter.sources.promfamilies import merge
from exporter.sources.promfile import parse
from fleetpulse.errors import ExpositionError


def page_of(*bodies: str) -> tuple[str, list[str]]:
    """The page, and the faults. Files are called f0, f1, …"""
    files = [(f"f{place}", parse(body.encode(), most=1000, known={}))
             for place, body in enumerate(bodies)]  # fmt: skip
    found, faults = merge(files, {"node_textfile_scrape_error"})
    part, _ = Block().take(found)
    check(render([part], OPENMETRICS).decode(), openmetrics)
    text = render([part], TEXT).decode()
    check(text, plain)
    return text, faults


def check(text: str, strictly) -> None:  # type: ignore[no-untyped-def]
    list(strictly(text))
    series = [line.rpartition(" ")[0] for line in text.splitlines() if line[0] != "#"]
    assert len(series) == len(set(series))


TOLD = [
    pytest.param("a 1\n", '# HELP a Metric read from f0\n# TYPE a untyped\na 1\n',
                 id="without HELP and TYPE"),
    pytest.param("# HELP a A \\\\ \\n\n# TYPE a Gauge\na 1.5\n",
                 "# HELP a A \\\\ \\n\n# TYPE a gauge\na 1.5\n", id="with both, and in capitals"),
    pytest.param("a 1\n# HELP a Late.\n", "# HELP a Late.\n# TYPE a untyped\na 1\n",
                 id="HELP may come late"),
    pytest.param("# HELP a\na 1\n", "# HELP a \n# TYPE a untyped\na 1\n", id="HELP may be empty"),
    pytest.param("# TYPE a counter\n", "", id="a family without samples is none"),
    pytest.param('# HELP a A.\na{x="1"} 1\na{y="\\"2\\n"} 2\n',
                 '# HELP a A.\n# TYPE a untyped\na{x="1",y=""} 1\na{x="",y="\\"2\\n"} 2\n',
                 id="labels that only some have are empty in the others"),
    pytest.param("# HELP a A.\na NaN\n# HELP b B.\nb -inf\n",
                 "# HELP a A.\n# TYPE a untyped\na NaN\n# HELP b B.\n# TYPE b untyped\nb -Inf\n",
                 id="values that are not finite"),
    pytest.param('# HELP h H.\n# TYPE h histogram\nh_bucket{le="+Inf"} 3\nh_count 3\nh_sum 4\n'
                 'h_bucket{le="5.0"} 2\nh_bucket{le="1e6"} 2\n',
                 '# HELP h H.\n# TYPE h histogram\nh_bucket{le="5"} 2\nh_bucket{le="1e+06"} 2\n'
                 'h_bucket{le="+Inf"} 3\nh_sum 4\nh_count 3\n', id="buckets come in order"),
    pytest.param('# HELP h H.\n# TYPE h histogram\nh_bucket{le="1"} 3\nh_count 3\n',
                 '# HELP h H.\n# TYPE h histogram\nh_bucket{le="1"} 3\nh_bucket{le="+Inf"} 3\n'
                 'h_sum 0\nh_count 3\n', id="a histogram's missing parts are added"),
    pytest.param('# HELP s S.\n# TYPE s summary\ns{quantile="0.50"} 1\n',
                 '# HELP s S.\n# TYPE s summary\ns{quantile="0.5"} 1\ns_sum 0\ns_count 0\n',
                 id="a summary's missing parts are added"),
    pytest.param('# HELP h H.\n# TYPE h histogram\nh_bucket{le="1"} 3\nh_bucket{le="+Inf"} 2\n',
                 '# HELP h H.\n# TYPE h_bucket untyped\nh_bucket{le="1"} 3\n'
                 'h_bucket{le="+Inf"} 2\n'.replace("HELP h H", "HELP h_bucket H"),
                 id="what cannot be a histogram is told without a type"),
    pytest.param('# HELP s S.\n# TYPE s summary\ns{quantile="0.5"} -3\ns_sum -3\ns_count 1\n',
                 '# HELP s S.\n# TYPE s untyped\ns{quantile="0.5"} -3\n'
                 '# HELP s_sum S.\n# TYPE s_sum untyped\ns_sum -3\n'
                 '# HELP s_count S.\n# TYPE s_count untyped\ns_count 1\n',
                 id="and so is a summary that OpenMetrics forbids"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), TOLD)
def test_one_file(body: str, expected: str) -> None:
    assert page_of(body) == (expected, [])


MERGED = [
    pytest.param(('# HELP a A.\na{x="1"} 1\n', 'a{x="2"} 2\n'), 'a{x="1"} 1\na{x="2"} 2\n', [],
                 id="one HELP is enough"),
    pytest.param(('a{x="1"} 1\n', 'a{y="2"} 2\n'), 'a{x="1",y=""} 1\na{x="",y="2"} 2\n', [],
                 id="labels of all files"),
    pytest.param(("a 1\n", "a 2\nb 3\n"), "a 1\nb 3\n", ["f1: a: 1 samples are there twice"],
                 id="the first sample counts"),
    pytest.param(("a 1\na 2\n",), "a 1\n", ["f0: a: 1 samples are there twice"],
                 id="in one file as well"),
    pytest.param(('a{x=""} 1\n', "a 2\n"), "a 1\n", ["f1: a: 1 samples are there twice"],
                 id="an empty label is none"),
    pytest.param(("# TYPE a gauge\na 1\n", '# TYPE a counter\na{x="1"} 2\nb 3\n'), "a 1\nb 3\n",
                 ["f1: a is a counter, but a gauge in f0"], id="the first type counts"),
    pytest.param(("# HELP a A.\na 1\n", '# HELP a B.\na{x="1"} 2\nb 3\n'), "a 1\nb 3\n",
                 ["f1: a has another HELP in f0"], id="the first HELP counts"),
    pytest.param(("# TYPE h summary\nh_sum 1\nh_count 1\n", "h_count 7\n"),
                 "h_sum 1\nh_count 1\n", ["f1: the name h_count is taken"],
                 id="a name that is a part of a summary"),
    pytest.param(("# TYPE a_total counter\na_total 1\n", "a 7\n"), "a_total 1\n",
                 ["f1: the name a is taken"], id="OpenMetrics' name of a counter"),
    pytest.param(("node_textfile_scrape_error 7\na 1\n",), "a 1\n",
                 ["f0: the name node_textfile_scrape_error is taken"], id="a reserved name"),
]  # fmt: skip


@pytest.mark.parametrize(("bodies", "expected", "faults"), MERGED)
def test_several_files(bodies: tuple[str, ...], expected: str, faults: list[str]) -> None:
    text, found = page_of(*bodies)
    assert "".join(f"{line}\n" for line in text.splitlines() if line[0] != "#") == expected
    assert found == faults


REFUSED = [
    pytest.param("a 1", "line 1: no line end", id="cut short"),
    pytest.param("a 1\na{ 2\n", "line 2: expected a label name", id="broken"),
    pytest.param("a 1 1700000000000\n", "line 1: a timestamp", id="a timestamp"),
    pytest.param("# TYPE a gauge\n# TYPE a gauge\n", "line 2: a second TYPE", id="two TYPEs"),
    pytest.param("# HELP a A\n# HELP a B\n", "line 2: a second HELP", id="two HELPs"),
    pytest.param("a 1\n# TYPE a gauge\n", "line 2: the TYPE of a comes after", id="a late TYPE"),
    pytest.param("# TYPE a info\n", "line 1: 'info' is no metric type", id="an unknown TYPE"),
    pytest.param('{"a.b"} 1\n', "line 1: 'a.b' is no name", id="a name in quotes"),
    pytest.param('a{"b.c"="1"} 1\n', "line 1: 'b.c' is no name", id="a label in quotes"),
    pytest.param('a{__x="1"} 1\n', "line 1: '__x' is no name", id="a reserved label"),
    pytest.param("a 1\n" * 1001, "line 1001: more than 1000", id="too many"),
    pytest.param("a\xff 1\n", "line 1: ", id="an odd byte"),
]


@pytest.mark.parametrize(("body", "error"), REFUSED)
def test_a_bad_file_is_refused_whole(body: str, error: str) -> None:
    with pytest.raises(ExpositionError) as raised:
        parse(body.encode("latin-1"), most=1000, known={})
    assert str(raised.value).startswith(error)


def test_a_counter_that_is_none_is_dropped_and_the_page_is_whole() -> None:
    text, faults = page_of(
        "# TYPE a_total counter\na_total NaN\n# TYPE b_total counter\nb_total -1\n"
    )
    assert (text, faults) == ("", [])


NAMES = st.sampled_from(["a", "a_total", "a_sum", "a_count", "a_bucket", "h", "h_sum", "h_count"])
KINDS = st.sampled_from(["counter", "gauge", "untyped", "histogram", "summary"])
LABEL_NAMES = st.sampled_from(["le", "quantile", "x"])
LABEL_VALUES = st.sampled_from(["", "0", "1", "1.0", "-1", "0.5", "1e6", "NaN", "+Inf", "1_0", "ä"])
VALUES = st.sampled_from(["0", "1", "2", "2.5", "-1", "NaN", "+Inf", "-Inf", "1e300"])


@st.composite
def odd_file(draw: st.DrawFn) -> str:
    lines: list[str] = []
    for name in draw(st.lists(NAMES, unique=True)):
        lines.append(f"# TYPE {name} {draw(KINDS)}")
    for _ in range(draw(st.integers(0, 12))):
        labels = draw(st.dictionaries(LABEL_NAMES, LABEL_VALUES, max_size=2))
        inner = ",".join(f'{name}="{value}"' for name, value in labels.items())
        lines.append(f"{draw(NAMES)}{{{inner}}} {draw(VALUES)}")
    return "".join(f"{line}\n" for line in lines)


@given(st.lists(odd_file(), max_size=3))
def test_no_file_spoils_the_page(bodies: list[str]) -> None:
    page_of(*bodies)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_a_broken_file_is_refused_or_read(body: bytes) -> None:
    with suppress(ExpositionError):
        parse(body, most=100, known={})
