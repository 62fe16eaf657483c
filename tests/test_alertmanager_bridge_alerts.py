"""Identity and merging of alerts, and how a POST is read."""

from dataclasses import replace

import pytest

from alertmanager_bridge.alerts import StoredAlert, absorb, fingerprint, in_order
from alertmanager_bridge.ingest import read_alert, read_alerts
from alertmanager_bridge.wire import format_millis, format_time, label_set_text, parse_time
from fleetpulse.model import Labels

NOW = 1000.0


def test_fingerprints_are_alertmanagers() -> None:
    # The first is what prometheus/common gives an empty set; the second came from Alertmanager.
    assert fingerprint({}) == "cbf29ce484222325"
    labels = {"severity": "warn", "node": "bar", "alertname": "foo"}
    assert fingerprint(labels) == "2d10edb8e90c5164"


def stored(starts: float, ends: float, updated: float, *, timed: bool = False) -> StoredAlert:
    return StoredAlert(Labels.of(a="b"), Labels.of(), starts, ends, updated, timed)


MERGES = [
    pytest.param(None, stored(5, 9, 1), (5, 9), id="the first is taken as it is"),
    pytest.param(
        stored(10, 1300, 900, timed=True), stored(20, 1310, 910, timed=True), (10, 1310),
        id="a firing alert keeps its beginning and the time-out moves on",
    ),
    pytest.param(
        stored(10, 1300, 900, timed=True), stored(20, 950, 910), (10, 950),
        id="an explicit end overrules a time-out",
    ),
    pytest.param(
        stored(10, 2000, 900), stored(20, 1300, 910, timed=True), (10, 2000),
        id="an explicit later end outlives a report without end",
    ),
    pytest.param(
        stored(10, 900, 900), stored(20, 800, 910), (10, 900),
        id="of two ends in the past the later one counts",
    ),
    pytest.param(
        stored(10, 500, 900), stored(600, 1300, 910), (600, 1300),
        id="a new alert after the old one's end begins anew",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), MERGES)
def test_overlapping_reports_are_one_alert(
    old: StoredAlert | None, new: StoredAlert, expected: tuple[float, float]
) -> None:
    merged = absorb(old, new, NOW)
    assert (merged.starts_at, merged.ends_at) == expected


def test_a_late_report_does_not_overwrite_a_newer_one() -> None:
    newer = replace(stored(20, 1300, 910), annotations=Labels.of(text="new"))
    late = replace(stored(10, 1200, 900), annotations=Labels.of(text="old"))
    assert absorb(newer, late, NOW).annotations.get("text") == "new"


def test_alerts_stand_in_the_order_of_job_and_instance() -> None:
    def one(**labels: str) -> StoredAlert:
        return StoredAlert(Labels.of(labels), Labels.of(), 0, 1, 0)

    alerts = [one(a="1"), one(job="b"), one(job="a", instance="2"), one(job="a", instance="1")]
    assert in_order(alerts) == [alerts[3], alerts[2], alerts[1], alerts[0]]


ORDERS = [
    pytest.param([{"z": "1"}, {"a": "1", "b": "1"}], id="fewer labels first"),
    pytest.param([{"a": "1", "b": "1"}, {"a": "1", "b": "2"}], id="by value"),
    pytest.param([{"a": "1", "c": "1"}, {"a": "1", "b": "9"}], id="who lacks b comes first"),
]


@pytest.mark.parametrize("labels", ORDERS)
def test_alerts_without_job_stand_in_alertmanagers_order(labels: list[dict[str, str]]) -> None:
    alerts = [StoredAlert(Labels.of(each), Labels.of(), 0, 1, 0) for each in labels]
    assert in_order(reversed(alerts)) == in_order(alerts) == alerts


TIMES = [
    pytest.param({}, (NOW, NOW + 300, True), id="no times: now, until the time-out"),
    pytest.param({"startsAt": "1970-01-01T00:10:00Z"}, (600, NOW + 300, True), id="start only"),
    pytest.param(
        {"endsAt": "1970-01-01T00:10:00Z"}, (600, 600, False), id="end only: start is the end"
    ),
    pytest.param(
        {"startsAt": "0001-01-01T00:00:00.000Z", "endsAt": "0001-01-01T00:00:00Z"},
        (NOW, NOW + 300, True),
        id="Go's zero time is no time",
    ),
    pytest.param(
        {"startsAt": "1970-01-01T01:00:00.5+01:00"}, (0.5, NOW + 300, True), id="zone and fraction"
    ),
]


@pytest.mark.parametrize(("times", "expected"), TIMES)
def test_times_that_are_left_out(
    times: dict[str, str], expected: tuple[float, float, bool]
) -> None:
    alert = read_alert({"labels": {"alertname": "x"}, **times}, NOW, 300)
    assert (alert.starts_at, alert.ends_at, alert.timed) == expected


FAULTS = [
    pytest.param("x", "must be an object", id="a text"),
    pytest.param({}, "labels are missing", id="no labels"),
    pytest.param({"labels": {}}, "at least one label pair", id="empty labels"),
    pytest.param({"labels": {"a": ""}}, "at least one label pair", id="only empty values"),
    pytest.param({"labels": {"a": 1}}, "the value of 'a' must be a text", id="a number as value"),
    pytest.param({"labels": {"": "x"}}, "a name is empty", id="empty name"),
    pytest.param({"labels": {"a": "\ud800"}}, "UTF-8", id="half a surrogate pair"),
    pytest.param({"labels": ["a"]}, "labels must be an object", id="labels as list"),
    pytest.param(
        {"labels": {"a": "b"}, "startsAt": "now"}, "startsAt: 'now' is no time", id="time"
    ),
    pytest.param(
        {"labels": {"a": "b"}, "startsAt": "2024-13-01T00:00:00Z"}, "startsAt", id="month 13"
    ),
    pytest.param(
        {
            "labels": {"a": "b"},
            "startsAt": "2024-01-02T00:00:00Z",
            "endsAt": "2024-01-01T00:00:00Z",
        },
        "start time must be before end time",
        id="ends before it starts",
    ),
    pytest.param({"labels": {"a": "b"}, "annotations": 3}, "annotations", id="annotations"),
    pytest.param({"labels": {"a": "b"}, "generatorURL": 3}, "generatorURL", id="generator"),
]


@pytest.mark.parametrize(("item", "fault"), FAULTS)
def test_a_faulty_alert_is_named_and_the_others_are_taken(item: object, fault: str) -> None:
    good = {"labels": {"alertname": "good", "empty": ""}}
    batch = read_alerts([good, item, good], NOW, 300)
    assert [dict(alert.labels) for alert in batch.alerts] == [{"alertname": "good"}] * 2
    (said,) = batch.faults
    assert said.startswith("alert 1: ")
    assert fault in said


def test_a_body_that_is_no_list_is_refused() -> None:
    with pytest.raises(ValueError, match="list"):
        read_alerts({"labels": {}}, NOW, 300)


def test_times_are_printed_as_go_does() -> None:
    at = parse_time("2024-05-01T12:00:00.25+02:00")
    assert at is not None
    assert format_time(at) == "2024-05-01T10:00:00.25Z"
    assert format_time(at - 0.25) == "2024-05-01T10:00:00Z"
    assert format_millis(at) == "2024-05-01T10:00:00.250Z"


def test_label_sets_are_printed_as_in_a_group_key() -> None:
    text = label_set_text({"b": 'say "x"\n', "a": "1"})
    assert text == r'{a="1", b="say \"x\"\n"}'
