"""Groups over a store in memory: what they write, what they send, what failures do."""

from pathlib import Path

import pytest

from fleetpulse.errors import QueryError
from fleetpulse.model import Labels, is_stale
from tests.rules_fakes import T0, Bench, FailingEngine, labels, one_rule, specs

A, B = labels(__name__="load", instance="a"), labels(__name__="load", instance="b")

ALERT = """
    alert: Busy
    expr: load > 5
    for: 20s
    labels: {severity: page, host: "{{ $labels.instance }}"}
    annotations: {summary: "{{ $labels.instance }}: {{ $value }}"}
"""


def walk(bench: Bench, group: object, values: str, *, series: Labels = A) -> None:
    """One turn each 10 s, with the series at 9 for an x and at 1 for a dot."""
    for turn, mark in enumerate(values):
        bench.store.put(T0 + turn * 10, {series: 9.0 if mark == "x" else 1.0})
        group.evaluate(T0 + turn * 10)  # type: ignore[attr-defined]


def test_recording_rule_writes_under_its_name_and_ends_what_vanishes(tmp_path: Path) -> None:
    bench = Bench()
    group = bench.group(one_rule(tmp_path, "{record: job:load, expr: load * 2, labels: {x: y}}"))
    bench.store.put(T0, {A: 1.0, B: 2.0})
    group.evaluate(T0)
    bench.store.put(T0 + 10, {A: 3.0})
    del bench.store.samples[B]
    group.evaluate(T0 + 10)
    assert bench.store.values("job:load", instance="a", x="y") == [2.0, 6.0]
    assert bench.store.values("job:load", instance="b", x="y") == [4.0, "stale"]


def test_the_layout_is_kept_while_the_series_are_the_same(tmp_path: Path) -> None:
    bench = Bench()
    group = bench.group(one_rule(tmp_path, "{record: job:load, expr: load}"))
    bench.store.put(T0, {A: 1.0, B: 2.0})
    group.evaluate(T0)
    group.evaluate(T0 + 10)
    first, second = bench.store.pages
    assert first.layout is second.layout
    assert first.target == Labels()


def test_rules_see_what_rules_before_them_wrote(tmp_path: Path) -> None:
    bench = Bench()
    (spec,) = specs(
        tmp_path,
        """
        groups:
          - name: g
            rules:
              - {record: one, expr: load + 1}
              - {record: two, expr: one + 1}
        """,
    )
    bench.store.put(T0, {A: 1.0})
    bench.group(spec).evaluate(T0)
    assert bench.store.values("two", instance="a") == [3.0]


def test_a_series_that_changes_its_rule_within_a_turn_is_not_ended(tmp_path: Path) -> None:
    bench = Bench()
    (spec,) = specs(
        tmp_path,
        """
        groups:
          - name: g
            rules:
              - {record: both, expr: load > 5}
              - {record: both, expr: load <= 5}
        """,
    )
    group = bench.group(spec)
    for turn, value in enumerate((1.0, 9.0, 1.0)):
        bench.store.put(T0 + turn * 10, {A: value})
        group.evaluate(T0 + turn * 10)
    assert bench.store.values("both", instance="a") == [1.0, 9.0, 1.0]


def test_alert_series_follow_the_alert(tmp_path: Path) -> None:
    bench = Bench()
    walk(bench, bench.group(one_rule(tmp_path, ALERT)), "xxx.")
    same = {"alertname": "Busy", "instance": "a", "severity": "page", "host": "a"}
    assert bench.store.values("ALERTS", alertstate="pending", **same) == [1.0, 1.0, "stale"]
    assert bench.store.values("ALERTS", alertstate="firing", **same) == [1.0, "stale"]
    assert bench.store.values("ALERTS_FOR_STATE", **same) == [T0, T0, T0, "stale"]


def test_alerts_are_sent_as_the_bridge_takes_them(tmp_path: Path) -> None:
    bench = Bench()
    walk(bench, bench.group(one_rule(tmp_path, ALERT)), "xxx.")
    fired, resolved = bench.sink.alerts
    assert fired.labels == labels(alertname="Busy", instance="a", severity="page", host="a")
    assert fired.annotations == labels(summary="a: 9", value="9")
    assert (fired.starts_at, fired.ends_at) == (T0 + 20, T0 + 20 + 240)
    assert fired.generator_url == "http://fleet/graph?g0.expr=load+%3E+5&g0.tab=1"
    assert (resolved.starts_at, resolved.ends_at) == (T0 + 20, T0 + 30)


def test_alerts_are_sent_again_and_again_then_forgotten(tmp_path: Path) -> None:
    bench = Bench()
    group = bench.group(one_rule(tmp_path, "{alert: Busy, expr: load > 5}"))
    walk(bench, group, "x" * 13)
    assert [alert.ends_at for alert in bench.sink.alerts] == [
        T0 + sent + 240 for sent in (0, 60, 120)
    ]
    bench.sink.calls.clear()
    for turn in range(13, 13 + 100):
        bench.store.put(T0 + turn * 10, {A: 1.0})
        group.evaluate(T0 + turn * 10)
    assert {alert.ends_at for alert in bench.sink.alerts} == {T0 + 130}
    assert len(bench.sink.alerts) == 16  # at once, and each minute for 15 minutes


def test_an_alert_that_comes_back_is_told_at_once(tmp_path: Path) -> None:
    bench = Bench()
    walk(bench, bench.group(one_rule(tmp_path, "{alert: Busy, expr: load > 5}")), "x.x")
    assert [(one.starts_at, one.resolved(T0 + 20)) for one in bench.sink.alerts] == [
        (T0, False),
        (T0, True),
        (T0 + 20, False),
    ]


def test_equal_labels_are_an_error(tmp_path: Path) -> None:
    bench = Bench()
    bench.store.put(T0, {A: 9.0, B: 9.0})
    group = bench.group(
        one_rule(tmp_path, '{alert: Busy, expr: load > 5, labels: {instance: "same"}}')
    )
    group.evaluate(T0)
    assert group.runs[0].last_error == (
        "vector contains metrics with the same labelset after applying alert labels"
    )
    assert bench.sink.alerts == []


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        pytest.param("{alert: Busy, expr: load}", "exceeded limit of 1 with 2 alerts", id="alerts"),
        pytest.param(
            "{record: x, expr: load}", "exceeded limit of 1 with 2 series", id="recording"
        ),
    ],
)
def test_the_limit_bounds_a_rule(tmp_path: Path, rule: str, message: str) -> None:
    bench = Bench()
    bench.store.put(T0, {A: 9.0, B: 9.0})
    group = bench.group(one_rule(tmp_path, rule, limit=1))
    group.evaluate(T0)
    assert (group.runs[0].health, group.runs[0].last_error) == ("err", message)
    assert bench.store.pages == []


def test_a_failing_rule_leaves_the_others_alone(tmp_path: Path) -> None:
    bench = Bench()
    (spec,) = specs(
        tmp_path,
        """
        groups:
          - name: g
            rules:
              - {record: bad, expr: load / on () group_left () load}
              - {record: good, expr: load}
        """,
    )
    group = bench.group(spec)
    bench.store.put(T0, {A: 9.0, B: 9.0})
    group.evaluate(T0)
    assert [run.health for run in group.runs] == ["err", "ok"]
    assert "many-to-many" in group.runs[0].last_error
    assert bench.store.values("good", instance="a") == [9.0]
    assert bench.metric("evaluation_failures_total", rule_group=spec.key) == 1
    assert bench.metric("evaluations_total", rule_group=spec.key) == 2
    assert bench.metric("group_last_evaluation_samples", rule_group=spec.key) == 2


@pytest.mark.parametrize(
    ("error", "said"),
    [
        pytest.param(QueryError("timeout", "too slow"), "too slow", id="a query error"),
        pytest.param(RuntimeError("bug"), "internal error: RuntimeError('bug')", id="a bug"),
    ],
)
def test_what_the_engine_raises_stays_with_the_rule(
    tmp_path: Path, error: Exception, said: str
) -> None:
    bench = Bench(FailingEngine(error))
    group = bench.group(one_rule(tmp_path, ALERT))
    group.evaluate(T0)
    assert (group.runs[0].health, group.runs[0].last_error) == ("err", said)


def test_alerts_go_out_although_nothing_can_be_written(tmp_path: Path) -> None:
    bench = Bench()
    group = bench.group(one_rule(tmp_path, "{alert: Busy, expr: load > 5}"))
    bench.store.put(T0, {A: 9.0})
    bench.store.refuses_writes = True
    group.evaluate(T0)
    assert len(bench.sink.alerts) == 1
    assert group.runs[0].last_error == "the store is away"


def test_the_query_offset_moves_query_and_samples_back(tmp_path: Path) -> None:
    bench = Bench()
    bench.store.put(T0, {A: 1.0})
    bench.store.put(T0 + 60, {A: 2.0})
    spec = one_rule(tmp_path, "{record: x, expr: load}", query_offset="1m")
    bench.group(spec).evaluate(T0 + 60)
    assert bench.store.samples[labels(__name__="x", instance="a")] == {round(T0 * 1000): 1.0}


def test_a_scalar_alerts_too(tmp_path: Path) -> None:
    bench = Bench()
    bench.group(one_rule(tmp_path, "{alert: Always, expr: 1 + 1}")).evaluate(T0)
    assert [alert.labels for alert in bench.sink.alerts] == [labels(alertname="Always")]


def test_a_rules_own_value_annotation_stays(tmp_path: Path) -> None:
    bench = Bench()
    rule = """
        alert: Busy
        expr: load > 5
        annotations: {value: '{{ $value }} jobs'}
    """
    bench.store.put(T0, {A: 9.0})
    bench.group(one_rule(tmp_path, rule)).evaluate(T0)
    assert bench.sink.alerts[0].annotations == labels(value="9 jobs")


def test_a_template_may_ask_the_store(tmp_path: Path) -> None:
    bench = Bench()
    rule = """
        alert: Busy
        expr: load > 5
        annotations: {all: '{{ with query "sum(load)" }}{{ . | first | value }}{{ end }}'}
    """
    bench.store.put(T0, {A: 9.0, B: 2.0})
    bench.group(one_rule(tmp_path, rule)).evaluate(T0)
    assert bench.sink.alerts[0].annotations == labels(all="11", value="9")


def test_a_reloaded_group_goes_on_with_its_alerts(tmp_path: Path) -> None:
    bench = Bench()
    old = bench.group(one_rule(tmp_path, ALERT))
    walk(bench, old, "xx")
    new = bench.group(one_rule(tmp_path, ALERT.replace("> 5", "> 4")))
    new.copy_state(old)
    bench.store.put(T0 + 20, {A: 9.0})
    new.evaluate(T0 + 20)
    assert [alert.starts_at for alert in bench.sink.alerts] == [T0 + 20]


def test_what_a_reload_drops_is_ended(tmp_path: Path) -> None:
    bench = Bench()
    old = bench.group(one_rule(tmp_path, "{record: x, expr: load}"))
    walk(bench, old, "x")
    new = bench.group(one_rule(tmp_path, "{record: y, expr: load}"))
    new.copy_state(old)
    new.evaluate(T0 + 10)
    assert bench.store.values("x", instance="a") == [9.0, "stale"]
    assert bench.store.values("y", instance="a") == [9.0]


def test_a_group_that_is_gone_ends_its_series_and_metrics(tmp_path: Path) -> None:
    bench = Bench()
    spec = one_rule(tmp_path, ALERT)
    group = bench.group(spec)
    walk(bench, group, "x")
    group.end(T0 + 10)
    ended = [name for name, found in bench.store.samples.items() if is_stale([*found.values()][-1])]
    assert {name.name for name in ended} == {"ALERTS", "ALERTS_FOR_STATE"}
    assert bench.metric("group_rules", rule_group=spec.key) is None
    assert bench.metric("alerts", rule_group=spec.key, state="pending") is None


def test_a_stopped_group_evaluates_no_further_rule(tmp_path: Path) -> None:
    bench = Bench()
    group = bench.group(one_rule(tmp_path, "{record: x, expr: load}"))
    group.stop()
    bench.store.put(T0, {A: 9.0})
    group.evaluate(T0)
    assert bench.store.pages == []
