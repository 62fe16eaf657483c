"""Which route an alert takes, and what a route inherits."""

import pytest

from alertmanager_bridge.route import build_route
from fleetpulse.model import Labels
from tests.bridge_fakes import amfile

TREE = """
route:
  receiver: default
  group_by: [alertname]
  group_wait: 10s
  routes:
  - matchers: ['service=~"web|api"']
    receiver: web
    group_by: [alertname, service]
    routes:
    - match: {severity: critical}
      receiver: pager
      group_wait: 0s
  - match_re: {service: db.*}
    receiver: db
    continue: true
    group_interval: 1m
  - matchers: [owner="ann", severity!="info"]
    receiver: ann
    group_by: ['...']
    repeat_interval: 1h
receivers: [{name: default}, {name: web}, {name: pager}, {name: db}, {name: ann}]
"""

TABLE = [
    pytest.param({}, ["default"], id="nothing matches: the root"),
    pytest.param({"service": "web"}, ["web"], id="a child"),
    pytest.param({"service": "web", "severity": "critical"}, ["pager"], id="a child's child"),
    pytest.param({"service": "website"}, ["default"], id="regular expressions are anchored"),
    pytest.param({"service": "web", "owner": "ann"}, ["web"], id="the first child ends the walk"),
    pytest.param({"service": "db1"}, ["db"], id="continue with no other match"),
    pytest.param({"service": "db1", "owner": "ann"}, ["db", "ann"], id="continue goes on"),
    pytest.param({"owner": "ann", "severity": "info"}, ["default"], id="negative matcher"),
]


@pytest.mark.parametrize(("labels", "receivers"), TABLE)
def test_the_walk(labels: dict[str, str], receivers: list[str]) -> None:
    root = build_route(amfile(TREE).route)
    assert [route.receiver for route in root.match(labels)] == receivers


def test_what_is_left_out_comes_from_the_parent() -> None:
    root, web, pager, db, ann = build_route(amfile(TREE).route).walk()
    assert (root.group_wait, root.group_interval, root.repeat_interval) == (10, 300, 14400)
    assert (pager.group_wait, pager.group_by) == (0, frozenset({"alertname", "service"}))
    assert (db.group_wait, db.group_interval) == (10, 60)
    assert (ann.group_by_all, ann.repeat_interval) == (True, 3600)
    assert web.group_by_all is False


def test_keys_and_group_labels() -> None:
    root, web, pager, _db, ann = build_route(amfile(TREE).route).walk()
    assert root.key == "{}"
    assert pager.key == '{}/{service=~"web|api"}/{severity="critical"}'
    assert ann.key == '{}/{owner="ann",severity!="info"}'
    labels = Labels.of(alertname="x", service="web", host="h")
    assert web.group_labels(labels) == Labels.of(alertname="x", service="web")
    assert ann.group_labels(labels) == labels


def test_an_empty_group_by_puts_all_alerts_together() -> None:
    text = TREE.replace("group_by: ['...']", "group_by: []")
    *_, ann = build_route(amfile(text).route).walk()
    assert ann.group_labels(Labels.of(a="b")) == Labels()
