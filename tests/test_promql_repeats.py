"""What stands in a query twice is worked out once, and answered as if it had been twice."""

import pytest

from fleetpulse.promql.engine import Engine
from fleetpulse.promql.repeats import repeated
from fleetpulse.promql.result import Vector
from fleetpulse.promql.syntax import parse
from tests.promql_fakes import FakeReader, fleet

AT_MS = 1_500_000

TREES = [
    pytest.param("rate(a[5m]) / rate(b[5m])", 0, id="different selectors"),
    pytest.param("rate(a[5m]) / rate(a[1m])", 0, id="different ranges"),
    pytest.param("rate(a[5m]) - rate(a[5m])", 1, id="the same call"),
    pytest.param("sum(rate(a[5m])) - sum(rate( a[5m] ))", 2, id="and all in it, however spaced"),
    pytest.param("sum by(x)(rate(a[5m])) - sum(rate(a[5m]))", 1, id="other groups of the same"),
    pytest.param("+".join(["rate(a[5m])"] * 80), 0, id="too long to be looked through"),
]


@pytest.mark.parametrize(("expr", "count"), TREES)
def test_repeated_expressions_are_found(expr: str, count: int) -> None:
    assert len(repeated(parse(expr))) == count


SAME = [
    ("sum(rate(cpu_total[5m])) - sum(rate(cpu_total[5m]))", "0 * sum(rate(cpu_total[5m]))"),
    ("rate(cpu_total[5m]) or rate(cpu_total[5m])", "rate(cpu_total[5m])"),
    (
        "max_over_time(sum(cpu_total)[5m:1m]) + sum(cpu_total)",
        "sum(cpu_total) + max_over_time(sum(cpu_total)[5m:1m])",
    ),
    (
        "sum(cpu_total @ 600) + sum(cpu_total @ 600 offset 5m) + sum(cpu_total)",
        "sum(cpu_total) + sum(cpu_total @ 300) + sum(cpu_total @ 600)",
    ),
]


@pytest.mark.parametrize(("expr", "other"), SAME)
def test_the_answer_is_the_same(expr: str, other: str) -> None:
    engine = Engine(FakeReader(fleet()))
    found, expected = (engine.instant(one, AT_MS).data for one in (expr, other))
    assert isinstance(found, Vector)
    assert isinstance(expected, Vector)
    assert dict(zip(found.labels, found.values, strict=True)) == pytest.approx(
        dict(zip(expected.labels, expected.values, strict=True)), abs=1e-12
    )


def test_each_place_gets_its_annotation() -> None:
    engine = Engine(FakeReader(fleet()))
    infos = engine.instant("sum(rate(load[5m])) + sum(rate(load[5m]))", AT_MS).infos
    assert [info.rpartition(" ")[2] for info in infos] == ["(1:10)", "(1:32)"]


def test_the_store_is_asked_once_for_what_is_selected_twice() -> None:
    reader = FakeReader(fleet())
    Engine(reader).instant("sum(rate(cpu_total[5m])) / count(rate(cpu_total[5m]))", AT_MS)
    assert len(reader.asked) == 1


def test_what_is_worked_out_once_counts_as_often_as_it_stands_there() -> None:
    engine = Engine(FakeReader(fleet()))
    one = engine.range("sum(rate(cpu_total[5m]))", 600_000, 900_000, 60_000).stats
    two = engine.range(
        "sum(rate(cpu_total[5m])) + sum(rate(cpu_total[5m]))", 600_000, 900_000, 60_000
    ).stats
    assert one is not None
    assert two is not None
    assert two.samples == 2 * one.samples
