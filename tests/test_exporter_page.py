"""The two text formats, read back by the strict parsers of prometheus_client."""

import math

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain

from exporter.block import Block
from exporter.families import Found, counter, gauge, untyped
from exporter.page import OPENMETRICS, TEXT, Style, number, render

NASTY = 'a "b" \\ c\nd %s %% é'

FOUND: list[Found] = [
    (gauge("node_load1", "Load, 100 % of it \\ in\ntwo lines."), 0.25),
    (counter("node_cpu_seconds_total", "Seconds.", "cpu", "mode"),
     {("0", "idle"): 12.5, ("1", NASTY): 3}),
    (untyped("node_vmstat_oom_kill", "Kills."), 2**53 + 1),
    (counter("odd_counter", "A counter without the suffix."), 7),
    (gauge("node_uname_info", "Always 1.", "sysname"), {("Linux",): 1}),
    (gauge("empty", "No rows."), {}),
]  # fmt: skip

VALUES = {
    ("node_load1", ()): 0.25,
    ("node_cpu_seconds_total", (("cpu", "0"), ("mode", "idle"))): 12.5,
    ("node_cpu_seconds_total", (("cpu", "1"), ("mode", NASTY))): 3,
    ("node_vmstat_oom_kill", ()): 2**53 + 1,
    ("odd_counter", ()): 7,
    ("node_uname_info", (("sysname", "Linux"),)): 1,
}


def page(style: Style) -> str:
    part, dropped = Block().take(FOUND)
    assert not dropped
    return render([part], style).decode()


@pytest.mark.parametrize(("style", "parse"), [(TEXT, plain), (OPENMETRICS, openmetrics)])
def test_a_page_reads_back_as_it_was_made(style: Style, parse: type[None]) -> None:
    families = list(parse(page(style)))  # type: ignore[call-arg]
    # That parser adds the suffix to a counter of the old format by itself.
    own = {"odd_counter_total": "odd_counter"}
    read = {
        (own.get(sample.name, sample.name), tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }
    assert read == VALUES
    by_name = {family.name: family for family in families}
    assert by_name["node_load1"].documentation == "Load, 100 % of it \\ in\ntwo lines."
    assert "empty" not in by_name


TYPES = [
    pytest.param(TEXT, "# TYPE node_cpu_seconds_total counter", id="a counter"),
    pytest.param(OPENMETRICS, "# TYPE node_cpu_seconds counter", id="without its suffix there"),
    pytest.param(TEXT, "# TYPE odd_counter counter", id="a counter of any name"),
    pytest.param(OPENMETRICS, "# TYPE odd_counter unknown", id="that cannot be one there"),
    pytest.param(TEXT, "# TYPE node_vmstat_oom_kill untyped", id="untyped"),
    pytest.param(OPENMETRICS, "# TYPE node_vmstat_oom_kill unknown", id="unknown"),
    pytest.param(OPENMETRICS, "# TYPE node_uname_info gauge", id="a gauge whatever its name"),
]


@pytest.mark.parametrize(("style", "line"), TYPES)
def test_types(style: Style, line: str) -> None:
    assert line in page(style).splitlines()


def test_an_openmetrics_page_has_an_end() -> None:
    assert page(OPENMETRICS).endswith("\n# EOF\n")
    assert "# EOF" not in page(TEXT)


def test_labels_are_added_where_the_series_has_none_such() -> None:
    text = page(Style.labelled({"mode": "mine", "site": 'ber"lin'}))
    assert 'node_load1{mode="mine",site="ber\\"lin"} 0.25' in text
    assert 'node_cpu_seconds_total{site="ber\\"lin",cpu="0",mode="idle"} 12.5' in text


NUMBERS = [
    pytest.param(math.nan, "NaN"),
    pytest.param(math.inf, "+Inf"),
    pytest.param(-math.inf, "-Inf"),
    pytest.param(0.1, "0.1"),
    pytest.param(5, "5"),
]


@pytest.mark.parametrize(("value", "text"), NUMBERS)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text
