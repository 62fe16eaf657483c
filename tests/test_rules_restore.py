"""What alerts know of themselves after a restart."""

from pathlib import Path

import pytest

from fleetpulse.model import Labels
from rules.alerting import AlertingRule
from rules.files import GroupSpec
from rules.group import Group
from tests.rules_fakes import T0, Bench, labels, one_rule

LOAD = labels(__name__="load", instance="a")
RULE = """
    alert: Busy
    expr: load > 5
    for: HOLD
    labels: {severity: page, of: "{{ $labels.instance }}"}
"""
OLD = labels(__name__="ALERTS_FOR_STATE", alertname="Busy", instance="a", severity="page", of="a")


def turns(bench: Bench, group: Group, start: float, count: int, value: float = 9.0) -> float:
    """Turns each 10 s with the series at a value; the time of the last."""
    at = start
    for turn in range(count):
        at = start + turn * 10
        bench.store.put(at, {LOAD: value})
        group.evaluate(at)
    return at


def only_rule(group: Group) -> AlertingRule:
    rule = group.runs[0].rule
    assert isinstance(rule, AlertingRule)
    return rule


def spec(tmp_path: Path, hold: str) -> GroupSpec:
    return one_rule(tmp_path, RULE.replace("HOLD", hold))


def states(group: Group) -> list[tuple[str, float | None]]:
    return [(one.state.name, one.state.active_at) for one in only_rule(group).active]


# hold, how long it was active before, how long the rules were away, what it is after two turns
# and since when, relative to the time the rules came back (the two turns are at 0 s and 10 s).
CASES = [
    pytest.param("1h", 4000, 600, "firing", -4600, id="it had been firing: it fires on"),
    pytest.param("5m", 400, 120, "firing", -520, id="so too with a hold below the grace period"),
    pytest.param("0s", 40, 60, "firing", -100, id="and without any hold"),
    pytest.param("1h", 1200, 600, "pending", -1190, id="the outage does not count for the hold"),
    pytest.param("1h", 3500, 60, "pending", 10 + 600 - 3600, id="at least the grace is left"),
    pytest.param("5m", 100, 60, "pending", 0, id="a short hold begins anew"),
    pytest.param("1h", 4000, 4000, "pending", 0, id="too long ago"),
]


@pytest.mark.parametrize(("hold", "active", "away", "state", "since"), CASES)
def test_states_come_back(
    tmp_path: Path, hold: str, active: float, away: float, state: str, since: float
) -> None:
    bench = Bench()
    down_at = T0 - away
    for at in range(int(down_at - active), int(down_at) + 1, 10):
        bench.store.put(at, {OLD: down_at - active})
    group = bench.group(spec(tmp_path, hold), restore=True)
    turns(bench, group, T0, 2)
    ((name, active_at),) = states(group)
    assert name == state
    assert active_at == T0 + since


def test_a_real_restart_resolves_nothing(tmp_path: Path) -> None:
    bench = Bench()
    last = turns(bench, bench.group(spec(tmp_path, "5m")), T0, 40)
    assert len(bench.sink.alerts) == 2
    told = bench.sink.alerts[-1]
    bench.sink.calls.clear()
    turns(bench, bench.group(spec(tmp_path, "5m"), restore=True), last + 60, 4)
    (again,) = bench.sink.alerts
    assert again.labels == told.labels
    assert again.starts_at == T0 + 300
    # Before the bridge takes it for ended.
    assert told.ends_at is not None
    assert last + 60 + 20 < told.ends_at


def test_nothing_is_written_before_the_state_is_read(tmp_path: Path) -> None:
    bench = Bench()
    group = bench.group(spec(tmp_path, "1h"), restore=True)
    turns(bench, group, T0, 2)
    assert bench.store.pages == []
    turns(bench, group, T0 + 20, 1)
    assert {line.name for line in bench.store.pages[0].layout.lines} == {
        "ALERTS",
        "ALERTS_FOR_STATE",
    }


def test_what_had_ended_is_not_brought_back(tmp_path: Path) -> None:
    bench = Bench()
    before = bench.group(spec(tmp_path, "5m"))
    last = turns(bench, before, T0, 40)
    last = turns(bench, before, last + 10, 1, value=1.0)
    group = bench.group(spec(tmp_path, "5m"), restore=True)
    turns(bench, group, last + 60, 2)
    assert states(group) == [("pending", last + 60)]


def test_an_alert_that_shows_up_a_little_later_is_restored_too(tmp_path: Path) -> None:
    """After the restart of a whole host, rates come back only after some scrapes."""
    bench = Bench()
    last = turns(bench, bench.group(spec(tmp_path, "5m")), T0, 40)
    group = bench.group(spec(tmp_path, "5m"), restore=True)
    again = turns(bench, group, last + 60, 5, value=1.0)
    turns(bench, group, again + 10, 1)
    assert states(group) == [("firing", T0)]


def test_what_shows_up_much_later_is_new(tmp_path: Path) -> None:
    bench = Bench()
    last = turns(bench, bench.group(spec(tmp_path, "5m")), T0, 40)
    group = bench.group(spec(tmp_path, "5m"), restore=True)
    again = turns(bench, group, last + 60, 30, value=1.0)
    turns(bench, group, again + 10, 1)
    assert states(group) == [("pending", again + 10)]


def test_a_store_that_cannot_say_is_asked_again(tmp_path: Path) -> None:
    bench = Bench()
    last = turns(bench, bench.group(spec(tmp_path, "5m")), T0, 40)
    group = bench.group(spec(tmp_path, "5m"), restore=True)
    turns(bench, group, last + 60, 1)
    bench.store.broken = True
    group.evaluate(last + 70)
    assert only_rule(group).restored is False
    bench.store.broken = False
    turns(bench, group, last + 80, 1)
    assert states(group) == [("firing", T0)]


def test_in_the_end_it_gives_up(tmp_path: Path) -> None:
    bench = Bench()
    group = bench.group(spec(tmp_path, "5m"), restore=True)
    bench.store.broken = True
    for turn in range(12):
        group.evaluate(T0 + turn * 10)
    assert only_rule(group).restored is True


def test_no_tolerance_means_no_memory(tmp_path: Path) -> None:
    bench = Bench()
    last = turns(bench, bench.group(spec(tmp_path, "5m")), T0, 40)
    restorer = bench.settings["restorer"]
    bench.settings["restorer"] = type(restorer)(bench.engine, 0.0, 600.0)
    group = bench.group(spec(tmp_path, "5m"), restore=True)
    turns(bench, group, last + 60, 2)
    assert states(group) == [("pending", last + 60)]


def test_only_the_alert_with_the_same_labels_is_restored(tmp_path: Path) -> None:
    bench = Bench()
    other: Labels = OLD.with_(instance="b", of="b")
    for at in range(int(T0) - 900, int(T0) - 60, 10):
        bench.store.put(at, {other: T0 - 900})
    group = bench.group(spec(tmp_path, "5m"), restore=True)
    turns(bench, group, T0, 2)
    assert states(group) == [("pending", T0)]
