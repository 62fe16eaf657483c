"""The endpoints beside a real Prometheus over the same samples: the same JSON, the same words."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest
from flask.testing import FlaskClient
from prometheus_client import CollectorRegistry

from api.about import About
from api.app import create_app
from api.config import ApiConfig
from api.keys import KeyStore
from fleetpulse.promql.engine import Engine
from fleetpulse.storage.embedded import EmbeddedStore
from fleetpulse.telemetry import TelemetryServer
from fleetpulse.values import ListenAddress
from fleetpulse_cli.importer import import_file
from rules import web
from rules.files import load_groups
from tests.promql_peer import NEEDS_PEER, Peer, prometheus
from tests.rules_fakes import Bench
from tests.support import wait_for

pytestmark = NEEDS_PEER

EXTERNAL = {"dc": "eu", "job": "outside"}
CONFIG = """
global:
  evaluation_interval: 1s
  external_labels: {dc: eu, job: outside}
rule_files: [rules.yml]
alerting: {alertmanagers: [{static_configs: [{targets: ["127.0.0.1:9"]}]}]}
"""
RULES = """
groups:
  - name: one
    interval: 1s
    rules:
      - {record: "job:up:sum", expr: "sum by(job)(up)", labels: {team: x}}
      - alert: Down
        expr: up==0
        for: 1h
        labels: {severity: page}
        annotations: {summary: "{{ $labels.instance }} is down: {{ $value }}"}
      - {alert: Up, expr: "up > 0"}
      - {alert: Never, expr: "vector(1) > 2"}
  - name: two
    limit: 5
    rules:
      - {alert: Other, expr: "absent(nothing)"}
"""
PAGE = """\
up{{instance="a:1",job="node"}} 1 {at}
up{{instance="b:1",job="node"}} 0 {at}
up{{instance="c:1"}} 1 {at}
load{{instance="a:1",job="node",text="x \\"y\\" \\\\ é"}} 12345678.5 {at}
tiny 1e-09 {at}
zz_total{{job="node"}} NaN {at}
zz_total{{job="node",k="v"}} +Inf {at}
# EOF
"""


class Both:
    """A Prometheus and an API over the same samples and rules."""

    def __init__(self, peer: Peer, client: FlaskClient) -> None:
        self.peer, self.client = peer, client

    def series(self, whose: str) -> set[str]:
        """All that there are, as text."""
        theirs, ours = self.ask("series", {"match[]": '{__name__!=""}'}, "GET")
        answer = theirs.json() if whose == "theirs" else ours.get_json()
        return {str(sorted(one.items())) for one in answer["data"]}

    def ask(self, path: str, asked: Any, method: str) -> tuple[Any, Any]:
        theirs = self.peer.ask(path, asked, method)
        where = path if path[:1] == "/" else f"/api/v1/{path}"
        form = {"data": dict(asked)} if method == "POST" else {"query_string": dict(asked)}
        return theirs, self.client.open(where, method=method, **form)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("peer")
    page = folder / "page.txt"
    page.write_text(PAGE.format(at=int(time.time()) - 20))
    (folder / "rules.yml").write_text(RULES)
    with ExitStack() as stack:
        store = EmbeddedStore(folder / "store.db")
        stack.callback(store.close)
        import_file(page, store, quiet=True)
        bench = Bench(Engine(store))
        bench.store = cast(Any, store)  # what rules write is among the samples, as it is there
        groups = [bench.group(spec) for spec in load_groups([folder / "rules.yml"], 1.0)]
        for group in groups:
            group.evaluate(time.time())
        routes = web.routes(lambda: groups, lambda: ["http://127.0.0.1:9"])
        server = TelemetryServer("rules", ListenAddress("127.0.0.1", 0), routes)
        server.start()
        stack.callback(server.stop)
        peer = stack.enter_context(prometheus(folder, page, CONFIG))
        both = Both(peer, api(folder, store, server.address))
        # Until then its rules have not all written what ours have.
        wait_for("the rules", lambda: both.series("theirs") == both.series("ours"))
        yield both


def api(folder: Path, store: EmbeddedStore, rules: ListenAddress) -> FlaskClient:
    config = ApiConfig.model_validate({"rate_limit": "unlimited", "rules": [rules]})
    keys = KeyStore(folder / "keys.json")
    about = About(external_labels=EXTERNAL)
    engine = Engine(store)
    registry = CollectorRegistry()
    return create_app(config, engine, store, store, keys, registry, about=about).test_client()


SAME = [
    pytest.param("series", {"match[]": "up"}, id="series"),
    pytest.param("series", {"match[]": '{job="node"}'}, id="series by a label"),
    pytest.param("series", {"match[]": "none"}, id="no series"),
    pytest.param("series", {"match[]": "up", "start": "5", "end": "4"}, id="the end first"),
    pytest.param("series", {"match[]": "up", "end": "2020-01-01T00:00:00Z"}, id="an early end"),
    pytest.param("labels", {}, id="names"),
    pytest.param("labels", {"match[]": "up"}, id="names of some"),
    pytest.param("labels", {"start": "1", "end": "2"}, id="names of a time without samples"),
    pytest.param("label/job/values", {}, id="values"),
    pytest.param("label/text/values", {}, id="odd values"),
    pytest.param("label/none/values", {}, id="no values"),
    pytest.param("label/instance/values", {"match[]": 'up{job=""}'}, id="values of some"),
    pytest.param("query", {"query": "sort(up)"}, id="a query"),
    pytest.param("query_exemplars", {"query": "up"}, id="exemplars"),
    pytest.param("query_exemplars", {"query": "1"}, id="exemplars of a number"),
    pytest.param("format_query", {"query": "sum by(a)(b)"}, id="an expression laid out"),
    pytest.param("metadata", {"metric": "none"}, id="no metadata"),
    pytest.param("metadata", {"limit": "0"}, id="as little metadata as can be"),
    pytest.param("status/walreplay", {}, id="the log's replay"),
]
WRONG = [
    pytest.param("format_query", {}, id="nothing to lay out"),
    pytest.param("format_query", {"query": "foo{"}, id="half a selector"),
    pytest.param("query_exemplars", {}, id="exemplars of nothing"),
    pytest.param("query_exemplars", {"query": "up", "start": "5", "end": "4"}, id="the end first"),
    pytest.param("query_exemplars", {"query": "up", "start": "x"}, id="a start"),
    pytest.param("series", {}, id="no selector"),
    pytest.param("series", {"match[]": ""}, id="an empty selector"),
    pytest.param("series", {"match[]": "rate(up[5m])"}, id="an expression"),
    pytest.param("series", {"match[]": "up{"}, id="half a selector of series"),
    pytest.param("series", {"match[]": '{a=~".*"}'}, id="a selector of all"),
    pytest.param("series", {"match[]": "up", "end": "x"}, id="an end"),
    pytest.param("labels", {"match[]": "{}"}, id="a selector of all, for names"),
    pytest.param("labels", {"match[]": "up offset 5m"}, id="an offset"),
    pytest.param("label/job/values", {"match[]": "up["}, id="a selector of values"),
    pytest.param("label/job/values", {"start": "noon"}, id="a start of values"),
    pytest.param("metadata", {"limit": "x"}, id="a limit"),
    pytest.param("rules", {"type": "x"}, id="a kind of rules"),
]


@pytest.mark.parametrize(("path", "asked"), SAME)
def test_the_same_answer(both: Both, path: str, asked: dict[str, str]) -> None:
    for method in ("GET", "POST"):
        theirs, ours = both.ask(path, asked, method)
        if theirs.status_code == 405:  # it takes no form there
            continue
        assert ours.status_code == theirs.status_code
        body = theirs.json() if theirs.content else None
        assert without_times(ours.json if ours.data else None) == without_times(body)
        assert ours.mimetype == theirs.headers.get("Content-Type", ours.mimetype)


@pytest.mark.parametrize(("path", "asked"), WRONG)
def test_the_same_refusal(both: Both, path: str, asked: dict[str, str]) -> None:
    theirs, ours = both.ask(path, asked, "GET")
    assert ours.status_code == theirs.status_code
    wanted, got = theirs.json(), ours.json
    assert got.keys() == wanted.keys()
    assert got["errorType"] == wanted["errorType"]
    # This one goes on to say what would be right.
    assert got["error"].lower().startswith(wanted["error"].lower())


def test_the_same_alertmanagers(both: Both) -> None:
    def found() -> Any:
        return both.peer.ask("alertmanagers").json()["data"]["activeAlertmanagers"]

    wait_for("the peer to find its Alertmanager", found)
    theirs, ours = both.ask("alertmanagers", {}, "GET")
    assert ours.json == theirs.json()


def test_admin_is_refused_alike(both: Both) -> None:
    for name in ("delete_series", "clean_tombstones", "snapshot"):
        theirs, ours = both.ask(f"admin/tsdb/{name}", {}, "POST")
        assert ours.status_code == theirs.status_code
        assert ours.json["errorType"] == theirs.json()["errorType"]
        assert ours.json["error"].startswith(theirs.json()["error"])
    for method in ("GET", "POST", "PUT"):
        theirs, ours = both.ask("/-/reload", {}, method)
        assert ours.status_code == theirs.status_code


@pytest.mark.parametrize("path", ["status/buildinfo", "status/runtimeinfo", "status/tsdb"])
def test_the_same_members(both: Both, path: str) -> None:
    theirs, ours = both.ask(path, {}, "GET")
    wanted, got = theirs.json()["data"], ours.json["data"]
    # Version 3 has more of them.
    assert wanted.keys() <= got.keys()
    for name, value in wanted.items():
        assert isinstance(got[name], type(value))
    if "headStats" in wanted:
        assert wanted["headStats"].keys() == got["headStats"].keys()


@pytest.mark.parametrize(
    "asked", [{}, {"type": "alert"}, {"rule_name[]": "Down"}, {"type": "record"}]
)
def test_the_same_rules(both: Both, asked: dict[str, str]) -> None:
    def evaluated() -> Any:
        body = both.peer.ask("rules").json()
        rules = [rule for group in body["data"]["groups"] for rule in group["rules"]]
        return all(rule["health"] == "ok" for rule in rules)

    wait_for("all rules to be evaluated", evaluated)
    theirs, ours = both.ask("rules", asked, "GET")
    groups = theirs.json()["data"]["groups"]
    # Version 2 keeps groups of which all rules are left out, and does not filter by name.
    for group in groups:
        name = asked.get("rule_name[]")
        group["rules"] = [rule for rule in group["rules"] if name in (None, rule["name"])]
    wanted = [group for group in groups if group["rules"]]
    assert without_times(ours.json["data"]["groups"]) == without_times(wanted)


def test_the_same_alerts(both: Both) -> None:
    wait_for("alerts", lambda: len(both.peer.ask("alerts").json()["data"]["alerts"]) == 4)
    theirs, ours = both.ask("alerts", {}, "GET")
    wanted, got = (one["data"]["alerts"] for one in (theirs.json(), ours.json))
    assert without_times({"alerts": got}) == without_times({"alerts": wanted})


@pytest.mark.parametrize(
    "selector", ['{__name__=~".+",instance!="b:1"}', "up", "none", '{job="node"}']
)
def test_the_same_page_to_federate(both: Both, selector: str) -> None:
    theirs, ours = both.ask("/federate", {"match[]": selector}, "GET")
    assert ours.status_code == theirs.status_code == 200
    assert ours.content_type == theirs.headers["Content-Type"]

    # What the peer's own rules have made in the meantime is not here.
    def samples(text: str) -> list[str]:
        return sorted(
            line
            for line in text.splitlines()
            if "ALERTS" not in line and ":" not in line.partition("{")[0]
        )

    assert samples(ours.text) == samples(theirs.text)
    names = [line for line in ours.text.splitlines() if line.startswith("#")]
    assert names == sorted(names)


@pytest.mark.parametrize("selector", ["up{", "rate(up[5m])", ""])
def test_a_page_that_cannot_be_federated(both: Both, selector: str) -> None:
    theirs, ours = both.ask("/federate", {"match[]": selector}, "GET")
    assert (ours.status_code, ours.text) == (theirs.status_code, theirs.text)


def without_times(value: Any) -> Any:
    """Less what depends on the moment, or on the order in which Go walks a map."""
    moments = ("lastEvaluation", "evaluationTime", "activeAt", "interval")
    if isinstance(value, dict):
        kept = {name: without_times(one) for name, one in value.items() if name not in moments}
        if isinstance(kept.get("alerts"), list):
            kept["alerts"].sort(key=str)
        sample = isinstance(kept.get("value"), list)
        return kept | ({"value": kept["value"][1]} if sample else {})
    if isinstance(value, list):
        return [without_times(one) for one in value]
    return value.rpartition("/")[2] if isinstance(value, str) and value.endswith(".yml") else value
