"""The life of an alert, one evaluation a letter."""

import pytest

from fleetpulse.model import Labels
from rules.alerting import RESOLVED_RETENTION, ActiveAlert, AlertState

INTERVAL = 10.0
START = 1_700_000_000.123

# x: the expression returned the series at that evaluation; .: it did not
# i, p, f: the alert is then inactive, pending or firing
CASES = [
    pytest.param("x", 0, 0, "f", id="without a hold it fires at first sight"),
    pytest.param("xxxx", 20, 0, "ppff", id="it fires once the hold has passed"),
    pytest.param("xx.xx", 20, 0, "ppipp", id="a gap starts the hold anew"),
    pytest.param("xxx.", 20, 0, "ppfi", id="it resolves at the first miss"),
    pytest.param("xxx.x", 20, 0, "ppfip", id="after it resolved, it is pending anew"),
    pytest.param("...", 20, 0, "iii", id="it never wakes by itself"),
    pytest.param("xx....", 10, 20, "pfffii", id="it is kept firing for a while"),
    pytest.param("xx..x...", 10, 20, "pffffffi", id="what comes back starts the keeping anew"),
    pytest.param("x..", 10, 20, "pii", id="what is pending is not kept"),
    pytest.param("x...x", 0, 20, "fffif", id="after the keeping it can fire anew"),
]


@pytest.mark.parametrize(("seen", "hold", "keep", "expected"), CASES)
def test_alert_walks_through_its_states(seen: str, hold: float, keep: float, expected: str) -> None:
    state, walked = AlertState(), ""
    for turn, mark in enumerate(seen):
        at = START + turn * INTERVAL
        state = state.advance(seen=mark == "x", at=at, hold=hold, keep=keep)
        walked += state.name[0]
    assert walked == expected


def test_times_tell_since_when() -> None:
    state = AlertState()
    for at in (0.0, 10.0, 20.0):
        state = state.advance(seen=True, at=at, hold=20)
    assert (state.active_at, state.fired_at, state.resolved_at) == (0.0, 20.0, None)
    state = state.advance(seen=False, at=30.0, hold=20)
    assert (state.fired_at, state.resolved_at) == (20.0, 30.0)


def test_a_clock_set_back_costs_the_hold_once_and_no_more() -> None:
    state = AlertState().advance(seen=True, at=10_000.0, hold=20)
    walked = ""
    for at in (2_800.0, 2_810.0, 2_820.0):
        state = state.advance(seen=True, at=at, hold=20)
        walked += state.name[0]
    assert walked == "ppf"
    sent = ActiveAlert(Labels(), Labels(), 1.0, state, sent_at=9_999.0)
    assert sent.needs_sending(2_830.0, 60.0)


def test_a_longer_hold_makes_a_firing_alert_pending_again() -> None:
    state = AlertState("firing", active_at=0.0, fired_at=10.0)
    state = state.advance(seen=True, at=20.0, hold=60)
    assert (state.name, state.active_at, state.fired_at) == ("pending", 0.0, None)


def test_a_hold_of_many_inexact_steps_ends_on_time() -> None:
    """300.0 s of 0.1 s steps at a Unix time are not 300.0 in floats."""
    state, at = AlertState(), START
    for turn in range(3001):
        at = round((START + turn * 0.1) * 1000) / 1000
        state = state.advance(seen=True, at=at, hold=300)
    assert state.name == "firing"
    assert state.fired_at == at


@pytest.mark.parametrize(
    ("state", "at", "forgotten"),
    [
        pytest.param(AlertState("firing", 0.0, 0.0), 9e9, False, id="firing"),
        pytest.param(AlertState(), 0.0, True, id="it was pending only"),
        pytest.param(AlertState("inactive", 0.0, 0.0, 5.0), 900.0, False, id="resolved lately"),
        pytest.param(
            AlertState("inactive", 0.0, 0.0, 5.0), 5.1 + RESOLVED_RETENTION, True, id="long ago"
        ),
    ],
)
def test_resolved_alerts_are_remembered_for_a_while(
    state: AlertState, at: float, forgotten: bool
) -> None:
    assert state.forgotten(at) is forgotten


FIRING, RESOLVED = AlertState("firing", 0.0, 0.0), AlertState("inactive", 0.0, 0.0, 50.0)


@pytest.mark.parametrize(
    ("state", "sent_at", "at", "needed"),
    [
        pytest.param(AlertState("pending", 0.0), None, 99.0, False, id="pending: never"),
        pytest.param(FIRING, None, 0.0, True, id="firing: at once"),
        pytest.param(FIRING, 0.0, 59.0, False, id="sent lately"),
        pytest.param(FIRING, 0.0, 60.0, True, id="sent a resend delay ago"),
        pytest.param(RESOLVED, 40.0, 50.0, True, id="resolved since it was sent"),
        pytest.param(RESOLVED, 50.0, 60.0, False, id="told that it resolved"),
        pytest.param(RESOLVED, 50.0, 110.0, True, id="told again that it resolved"),
    ],
)
def test_what_is_sent_when(
    state: AlertState, sent_at: float | None, at: float, needed: bool
) -> None:
    alert = ActiveAlert(Labels(), Labels(), 1.0, state, sent_at)
    assert alert.needs_sending(at, 60.0) is needed
