"""Which alerts an alert keeps quiet."""

import pytest

from alertmanager_bridge.inhibit import Inhibitor
from tests.bridge_fakes import START, alert, amfile

RULES = """
route: {receiver: x}
receivers: [{name: x}]
inhibit_rules:
- source_match: {severity: critical}
  target_match: {severity: warning}
  equal: [alertname, host]
- source_matchers: [alertname="NodeDown"]
  target_matchers: ['alertname=~".+"']
  equal: [host]
"""
DISK = alert("Disk", severity="critical", host="a")
NODE = alert("NodeDown", host="b")

TABLE = [
    pytest.param({"alertname": "Disk", "severity": "warning", "host": "a"}, DISK, id="target"),
    pytest.param({"alertname": "Disk", "severity": "warning", "host": "c"}, None, id="other host"),
    pytest.param({"alertname": "Cpu", "severity": "warning", "host": "a"}, None, id="other name"),
    pytest.param({"alertname": "Disk", "severity": "info", "host": "a"}, None, id="no target"),
    pytest.param({"alertname": "Cpu", "host": "b"}, NODE, id="second rule"),
    pytest.param({"alertname": "NodeDown", "host": "b"}, None, id="an alert not by itself"),
    pytest.param({"alertname": "Disk", "severity": "warning"}, None, id="missing is not a"),
]


@pytest.mark.parametrize(("labels", "source"), TABLE)
def test_inhibition(labels: dict[str, str], source: object) -> None:
    inhibitor = Inhibitor(amfile(RULES).inhibit_rules)
    for known in (DISK, NODE, alert("Other", host="c")):
        inhibitor.observe(known)
    expected = [] if source is None else [source.fingerprint]  # type: ignore[attr-defined]
    assert inhibitor.inhibited_by(labels, START) == expected


def test_labels_missing_on_both_sides_are_equal() -> None:
    inhibitor = Inhibitor(amfile(RULES).inhibit_rules)
    inhibitor.observe(alert("Disk", severity="critical"))
    assert inhibitor.inhibited_by({"alertname": "Disk", "severity": "warning"}, START)


def test_a_source_that_ended_or_was_forgotten_inhibits_no_longer() -> None:
    inhibitor = Inhibitor(amfile(RULES).inhibit_rules)
    target = {"alertname": "Cpu", "host": "b"}
    inhibitor.observe(alert("NodeDown", host="b", ends=START + 10))
    assert inhibitor.inhibited_by(target, START + 9)
    assert not inhibitor.inhibited_by(target, START + 10)
    inhibitor.observe(NODE)
    inhibitor.forget(NODE)
    assert not inhibitor.inhibited_by(target, START)
