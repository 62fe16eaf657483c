"""An alert's way from the POST to the receiver, with time as a number."""

from dataclasses import replace
from pathlib import Path

import pytest

from alertmanager_bridge.alerts import StoredAlert
from alertmanager_bridge.silences import Silence
from fleetpulse.errors import NotifyError
from fleetpulse.matchers import Matcher
from tests.bridge_fakes import ONE_ROUTE, START, Ear, Rig, alert, integration


@pytest.fixture
def ear() -> Ear:
    return Ear()


@pytest.fixture
def rig(tmp_path: Path, ear: Ear):  # type: ignore[no-untyped-def]
    with Rig(tmp_path, integration("ear", ear)) as rig:
        yield rig


def over(one: StoredAlert, at: float) -> StoredAlert:
    return replace(one, ends_at=at, updated_at=at)


def test_alerts_that_come_within_group_wait_are_told_together(rig: Rig, ear: Ear) -> None:
    rig.post(alert(host="a"))
    rig.run(20)
    rig.post(alert(host="b", at=rig.clock.at))
    rig.run(9.9)
    assert ear.told == []
    rig.run(0.1)
    assert ear.told == ["firing: a b"]


def test_groups_are_told_apart(rig: Rig, ear: Ear) -> None:
    rig.post(alert("Down", host="a"), alert("Slow", host="b"))
    rig.run(60)
    assert ear.told == ["firing: a", "firing: b"]


def test_an_alert_that_waited_elsewhere_does_not_wait_again(rig: Rig, ear: Ear) -> None:
    rig.post(alert(host="a", at=START - 31))
    rig.run(0)
    assert ear.told == ["firing: a"]


def test_the_same_alert_again_is_no_news(rig: Rig, ear: Ear) -> None:
    for _ in range(30):
        rig.post(alert(host="a", at=rig.clock.at))
        rig.run(60)
    assert ear.told == ["firing: a"]


def test_a_further_alert_waits_for_the_groups_turn(rig: Rig, ear: Ear) -> None:
    rig.post(alert(host="a"))
    rig.run(60)
    rig.post(alert(host="b", at=rig.clock.at))
    rig.run(260)
    assert ear.told == ["firing: a"]
    rig.run(10)
    assert ear.told == ["firing: a", "firing: a b"]


def test_it_is_repeated_after_repeat_interval(rig: Rig, ear: Ear) -> None:
    rig.post(alert(host="a"))
    rig.run(4 * 3600)
    assert len(ear.messages) == 1
    rig.run(600)
    assert len(ear.messages) == 2
    assert ear.messages[0].id != ear.messages[1].id


def test_the_end_is_told_once(rig: Rig, ear: Ear) -> None:
    one = alert(host="a")
    rig.post(one)
    rig.run(60)
    rig.post(over(one, rig.clock.at))
    rig.run(2 * 86_400)
    assert ear.told == ["firing: a", "resolved: (a)"]
    assert rig.events("alert") == ["firing", "resolved"]


def test_one_of_two_ends(rig: Rig, ear: Ear) -> None:
    a, b = alert(host="a"), alert(host="b")
    rig.post(a, b)
    rig.run(60)
    rig.post(over(a, rig.clock.at))
    rig.run(600)
    assert ear.told == ["firing: a b", "firing: (a) b"]


def test_an_alert_that_ended_before_anyone_was_told_stays_untold(rig: Rig, ear: Ear) -> None:
    one = alert(host="a")
    rig.post(one)
    rig.run(10)
    rig.post(over(one, rig.clock.at))
    rig.run(3600)
    assert ear.told == []
    assert rig.events("alert") == ["firing", "resolved"]


def test_an_alert_without_word_resolves_at_its_time_out(rig: Rig, ear: Ear) -> None:
    rig.post(replace(alert(host="a"), ends_at=START + 300, timed=True))
    rig.run(290)
    rig.post(replace(alert(host="a", at=START + 290), ends_at=START + 590, timed=True))
    rig.run(299)
    assert rig.events("alert") == ["firing"]
    rig.run(1)
    assert rig.events("alert") == ["firing", "resolved"]
    rig.run(300)
    assert ear.told == ["firing: a", "resolved: (a)"]


def test_who_wants_no_resolved_messages_gets_none(tmp_path: Path) -> None:
    ear = Ear()
    with Rig(tmp_path, integration("ear", ear, send_resolved=False)) as rig:
        a, b = alert(host="a"), alert(host="b")
        rig.post(a, b)
        rig.run(60)
        rig.post(over(a, rig.clock.at))
        rig.run(600)
        rig.post(over(b, rig.clock.at))
        rig.run(600)
        assert ear.told == ["firing: a b"]
        # It is forgotten as well: when it fires again, that is news.
        rig.post(alert(host="b", at=rig.clock.at))
        rig.run(600)
        assert ear.told == ["firing: a b", "firing: b"]


def test_a_silence_keeps_quiet_and_its_end_speaks(rig: Rig, ear: Ear) -> None:
    silence = Silence((Matcher("host", "=", "a"),), START, START + 3600, "me", "why")
    rig.bridge.silences.set(silence, START)
    rig.post(alert(host="a"), alert(host="b"))
    rig.run(3000)
    assert ear.told == ["firing: b"]
    rig.run(1000)
    assert ear.told == ["firing: b", "firing: a b"]


def test_an_inhibited_alert_is_not_told(tmp_path: Path) -> None:
    ear = Ear()
    text = ONE_ROUTE + (
        "inhibit_rules: [{source_matchers: [severity=page], target_matchers: [severity=warn],"
        " equal: [host]}]"
    )
    with Rig(tmp_path, integration("ear", ear), text=text) as rig:
        page = alert("Gone", host="a", severity="page")
        rig.post(alert("Slow", host="a", severity="warn"), page)
        rig.run(600)
        assert ear.told == ["firing: a"]
        assert ear.messages[0].data["commonLabels"]["alertname"] == "Gone"
        rig.post(over(page, rig.clock.at))
        rig.run(600)
        assert "firing: a" in ear.told[1:]


def test_a_failed_attempt_is_repeated_and_the_message_arrives_once(tmp_path: Path) -> None:
    ear = Ear(NotifyError("HTTP 500", retriable=True), NotifyError("HTTP 500", retriable=True))
    with Rig(tmp_path, integration("ear", ear)) as rig:
        rig.post(alert(host="a"))
        rig.run(120)
        assert ear.attempts == 3
        assert ear.told == ["firing: a"]
        assert rig.events("notification") == ["decided", "failed", "failed", "sent"]
        labels = {"receiver": "ear", "integration": "webhook"}
        assert rig.metric("notification_attempts_failed_total", **labels) == 2
        assert rig.metric("notifications_total", **labels) == 1
        assert rig.metric("outbox_messages", **labels) == 0


def test_retry_after_holds_the_whole_queue(tmp_path: Path) -> None:
    ear = Ear(NotifyError("HTTP 429", retriable=True, retry_after=100))
    with Rig(tmp_path, integration("ear", ear)) as rig:
        rig.post(alert("Down", host="a", at=START - 60), alert("Slow", host="b", at=START - 60))
        rig.run(99)
        assert (ear.attempts, ear.told) == (1, [])
        rig.run(1)
        assert sorted(ear.told) == ["firing: a", "firing: b"]


def test_a_refused_message_is_dropped_and_decided_anew(tmp_path: Path) -> None:
    ear = Ear(NotifyError("HTTP 404", retriable=False))
    with Rig(tmp_path, integration("ear", ear)) as rig:
        rig.post(alert(host="a"))
        rig.run(60)
        assert rig.events("notification") == ["decided", "dropped"]
        assert ear.attempts == 1
        rig.run(300)
        assert ear.told == ["firing: a"]
        labels = {"receiver": "ear", "integration": "webhook", "reason": "refused"}
        assert rig.metric("notifications_dropped_total", **labels) == 1


def test_a_notifier_with_a_bug_does_not_stop_the_queue(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ear = Ear(ZeroDivisionError("bug"))
    with Rig(tmp_path, integration("ear", ear)) as rig:
        rig.post(alert("Down", host="a", at=START - 60), alert("Slow", host="b", at=START - 60))
        rig.run(10)
        assert ear.told == ["firing: b"]
        assert rig.metric("internal_errors_total", loop="sender") == 1
        assert "ZeroDivisionError" in caplog.text


def test_a_receiver_that_is_down_for_too_long(tmp_path: Path) -> None:
    down = [NotifyError("cannot connect", retriable=True)] * 100
    ear = Ear(*down)
    with Rig(tmp_path, integration("ear", ear), give_up_after="10m") as rig:
        rig.post(alert(host="a"))
        rig.run(700)
        assert rig.events("notification").count("dropped") == 1
        # Attempts with the same outcome do not fill the history: 1, 2, 4, 8, 16 …
        assert rig.events("notification").count("failed") < 10
        assert ear.attempts > 10


def test_a_full_queue_drops_its_oldest_message(tmp_path: Path) -> None:
    ear = Ear()
    with Rig(tmp_path, integration("ear", ear), max_pending=2) as rig:
        rig.post(*(alert(f"A{n}", at=START - 60, host=f"h{n}") for n in range(3)))
        assert rig.events("notification").count("dropped") == 1
        rig.deliver()
        assert ear.told == ["firing: h1", "firing: h2"]


def test_messages_of_a_group_do_not_overtake_each_other(tmp_path: Path) -> None:
    ear = Ear(*[NotifyError("down", retriable=True)] * 30)
    with Rig(tmp_path, integration("ear", ear)) as rig:
        one = alert(host="a")
        rig.post(one)
        rig.run(100)
        rig.post(over(one, rig.clock.at))
        rig.run(3600)
        assert ear.told == ["firing: a", "resolved: (a)"]


def test_more_alerts_than_max_alerts_are_refused_and_known_ones_go_on(tmp_path: Path) -> None:
    with Rig(tmp_path, max_alerts=2) as rig:
        first = [alert(host="a"), alert(host="b")]
        assert rig.bridge.post(first) == []
        assert rig.bridge.post([alert(host="c"), alert(host="a")]) == [alert(host="c")]
        assert len(rig.bridge.firing()) == 2


def test_what_is_long_over_is_tidied_away(rig: Rig, ear: Ear) -> None:
    rig.post(over(alert(host="a"), START))
    rig.post(alert(host="b"))
    rig.run(3600)
    rig.bridge.tidy()
    rows = rig.bridge.database.query("SELECT * FROM alerts")
    assert [row["fingerprint"] for row in rows] == [alert(host="b").fingerprint]


def test_ready_line(rig: Rig, tmp_path: Path) -> None:
    assert rig.bridge.ready() == "1 receiver, 1 route"
    with Rig(tmp_path / "other") as none:
        line = "no receiver configured: alerts are kept in the history only"
        assert none.bridge.ready() == line
    assert none.bridge.ready() is None


def test_a_clock_set_back_delays_no_group(rig: Rig, ear: Ear) -> None:
    rig.clock.at = START + 7200  # a machine whose clock ran in local time until NTP came
    rig.post(alert(host="a", at=rig.clock.at))
    rig.clock.at = START
    rig.decide()
    rig.run(30)
    assert ear.told == ["firing: a"]


def test_a_clock_set_back_delays_no_retry(tmp_path: Path) -> None:
    ear = Ear(NotifyError("wait", retriable=True, retry_after=30.0))
    with Rig(tmp_path, integration("ear", ear)) as rig:
        rig.clock.at = START + 7200
        rig.post(alert(host="a", at=rig.clock.at))
        rig.run(30)
        rig.clock.at = START
        rig.decide()
        rig.run(25)
        assert ear.attempts == 1
        rig.run(10)
        assert ear.told == ["firing: a"]


def test_an_end_after_the_clock_was_set_back_is_an_end(rig: Rig, ear: Ear) -> None:
    rig.clock.at = START + 7200
    one = replace(alert(host="a", at=rig.clock.at), ends_at=START + 7440)
    rig.post(one)
    rig.run(60)
    now = rig.clock.at = START + 100
    rig.post(replace(one, starts_at=START + 50, ends_at=now, updated_at=now))
    rig.run(400)
    assert ear.told == ["firing: a", "resolved: (a)"]
