"""The dashboards: made by their generator, placed well, and every query answers over a store."""

import json
import math
import re
import subprocess
import sys
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.config import ApiConfig
from exporter.app import ExporterApp
from exporter.config import ExporterConfig
from fleetpulse.exposition import Exposition, read_page
from fleetpulse.model import Labels, Layout, Page, Series
from fleetpulse.promql.engine import Engine
from fleetpulse.promql.result import Matrix, Vector
from fleetpulse.promql.syntax import Selector, parse
from fleetpulse.storage.embedded import EmbeddedStore
from fleetpulse.values import parse_duration
from scraper.config import ScraperConfig
from tests.exporter_fakes import collectors
from tests.support import ROOT

GRAFANA = ROOT / "grafana"
NAMES = ("fleet.json", "host.json")
BOARDS: dict[str, Any] = {
    name: json.loads((GRAFANA / "dashboards" / name).read_text()) for name in NAMES
}
PANELS = [
    pytest.param(name, panel, id=f"{name}-{panel['id']}")
    for name, board in BOARDS.items()
    for panel in board["panels"]
    if panel["type"] != "row"
]
TARGETS = [
    pytest.param(target, id=f"{name}-{panel['id']}{target['refId']}")
    for name, board in BOARDS.items()
    for panel in board["panels"]
    for target in panel.get("targets", ())
]

NOW_MS = 1_700_000_000_000  # when the fake host's clock stands
STEP_MS = 10_000
PAGES = 31
HOST = Labels.of(job="node", instance="web1:9100")

# What Grafana puts for its variables. $__rate_interval is four scrape intervals on a short range.
VALUES = {
    "fleet.json": {"job": ".*", "__rate_interval": "40s"},
    "host.json": {"job": "node", "instance": "web1:9100", "__rate_interval": "40s"},
}


def expression(name: str, text: str) -> str:
    """text with Grafana's variables replaced; a variable that is none is left and fails."""
    known = VALUES[name]
    return re.sub(r"\$(\w+)", lambda found: known.get(found[1], found[0]), text)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStore]:
    """Five minutes of a host that works, one that is down, one that fell silent, two alerts."""
    folder = tmp_path_factory.mktemp("grafana")
    app = ExporterApp(ExporterConfig(), folder, make_collectors=collectors)
    exposition = read_page(app.render().encode(), at_ms=NOW_MS)
    store = EmbeddedStore(folder / "store.db")
    for turn in range(PAGES):
        at_ms = NOW_MS - STEP_MS * (PAGES - 1 - turn)
        store.write([host_page(exposition, turn, at_ms), *other_pages(at_ms)])
    silent = {Labels.of(__name__="fleetpulse_push_received_timestamp_seconds"): NOW_MS / 1000 - 600}
    store.write([Page.of(Labels.of(job="push", instance="web3"), NOW_MS - 600_000, silent)])
    yield store
    store.close()


# What the scraper adds to a page; and a line of /proc/meminfo that every kernel since 2.6.19 has,
# but not the fake host's, which is short.
ADDED = {"up": 1.0, "scrape_duration_seconds": 0.05, "node_memory_SReclaimable_bytes": 4096.0}


def host_page(exposition: Exposition, turn: int, at_ms: int) -> Page:
    """The exporter's page as scraped at its turn, its counters half a unit higher each time."""
    lines = (*exposition.lines, *(Labels.of(__name__=name) for name in ADDED))
    values = [
        value + (turn / 2 if exposition.metadata[line.name].type == "counter" else 0)
        for line, value in zip(exposition.lines, exposition.values, strict=True)
    ]
    return Page(HOST, Layout(lines), at_ms, array("d", [*values, *ADDED.values()]))


def other_pages(at_ms: int) -> list[Page]:
    lost = Page.of(
        Labels.of(job="node", instance="web2:9100"), at_ms, {Labels.of(__name__="up"): 0}
    )
    lines = {}
    for alert, severity in (("HostCpuHigh", "warning"), ("TargetDown", "critical")):
        labels = {"alertname": alert, "severity": severity, **HOST.as_dict()}
        lines[Labels.of(labels, __name__="ALERTS", alertstate="firing")] = 1.0
        lines[Labels.of(labels, __name__="ALERTS_FOR_STATE")] = NOW_MS / 1000 - 900
    return [lost, Page.of(Labels(), at_ms, lines)]


def test_the_files_are_what_the_generator_writes(tmp_path: Path) -> None:
    command = [sys.executable, "-B", str(GRAFANA / "build.py"), str(tmp_path)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)
    assert {path.name for path in tmp_path.iterdir()} == set(NAMES)
    for name in NAMES:
        made, kept = ((folder / name).read_text() for folder in (tmp_path, GRAFANA / "dashboards"))
        assert made == kept, f"{name} is out of date: run python3 grafana/build.py"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["instant", "range"])
def test_every_query_answers_with_figures(store: EmbeddedStore, name: str, how: str) -> None:
    engine = Engine(store)
    for panel in BOARDS[name]["panels"]:
        for target in panel.get("targets", ()):
            expr = expression(name, target["expr"])
            where = f"{panel['title']} {target['refId']}: {expr}"
            values = last_values(engine, expr, how)
            assert values, where
            assert all(map(math.isfinite, values)), where


def last_values(engine: Engine, expr: str, how: str) -> list[float]:
    """The value of each series now; the same whether asked for alone or as the end of a range."""
    parse(expr)
    if how == "instant":
        data = engine.instant(expr, NOW_MS).data
        assert isinstance(data, Vector)
        return [float(value) for value in data.values]
    matrix = engine.range(expr, NOW_MS - 60_000, NOW_MS, STEP_MS).data
    assert isinstance(matrix, Matrix)
    return [last_of(series) for series in matrix.series]


def last_of(series: Series) -> float:
    return float(series.values[-1])


FIGURES = [
    pytest.param("fleet.json", "Up", [1], id="hosts up"),
    pytest.param("fleet.json", "Down or silent", [2], id="one is down, one pushes no more"),
    pytest.param("fleet.json", "Critical alerts", [1], id="critical alerts"),
    pytest.param("fleet.json", "Other alerts", [1], id="other alerts"),
    pytest.param("fleet.json", "CPU cores", [2], id="cores"),
    pytest.param("host.json", "Answers", [1], id="the host answers"),
    # In ten seconds each core is idle for half a one.
    pytest.param("host.json", "CPU", [95], id="cpu"),
    # 1,000 blocks of which 350 are there for all.
    pytest.param("host.json", "Fullest file system", [65], id="file system"),
]


@pytest.mark.parametrize(("name", "title", "expected"), FIGURES)
def test_figures_are_right(
    store: EmbeddedStore, name: str, title: str, expected: list[float]
) -> None:
    panels = [p for p in BOARDS[name]["panels"] if p["title"] == title and p["type"] != "row"]
    expr = expression(name, panels[0]["targets"][0]["expr"])
    assert last_values(Engine(store), expr, "instant") == pytest.approx(expected)


def test_without_trouble_the_counts_say_zero(tmp_path: Path) -> None:
    """And not "no data", which nobody can tell from a broken dashboard."""
    store = EmbeddedStore(tmp_path / "store.db")
    store.write([Page.of(HOST, NOW_MS, {Labels.of(__name__="up"): 1})])
    counts = {"Down or silent", "Critical alerts", "Other alerts"}
    found = {
        panel["title"]: last_values(
            Engine(store), expression("fleet.json", panel["targets"][0]["expr"]), "instant"
        )
        for panel in BOARDS["fleet.json"]["panels"]
        if panel["type"] == "stat" and panel["title"] in counts
    }
    store.close()
    assert found == {title: [0] for title in counts}


@pytest.mark.parametrize("name", NAMES)
def test_variables_offer_the_hosts_there_are(store: EmbeddedStore, name: str) -> None:
    expected = {"job": ["node"], "instance": ["web1:9100"]}
    asked = [one for one in BOARDS[name]["templating"]["list"] if one["type"] == "query"]
    assert [one["name"] for one in asked] == [key for key in VALUES[name] if key in expected]
    for one in asked:
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", one["query"]["query"])
        assert found is not None
        selector = parse(expression(name, found[1]))
        assert isinstance(selector, Selector)
        values = store.label_values(found[2], [selector.matchers], NOW_MS - 60_000, NOW_MS)
        assert values == expected[one["name"]]


@pytest.mark.parametrize(("name", "panel"), PANELS)
def test_a_panel_says_what_it_shows(name: str, panel: Mapping[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith(".")
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"]
    steps = [step["value"] for step in defaults["thresholds"]["steps"]]
    assert steps[0] is None
    assert steps[1:] == sorted(steps[1:])
    source = {"type": "prometheus", "uid": "${datasource}"}
    assert panel["datasource"] == source
    assert all(target["datasource"] == source for target in panel["targets"])


@pytest.mark.parametrize("target", TARGETS)
def test_rates_are_taken_over_what_grafana_reckons(target: Mapping[str, Any]) -> None:
    """A fixed window would be too short for a long range, or too long for a short one."""
    windows = re.findall(r"(?:rate|increase)\([^\[]+\[([^\]]+)\]", target["expr"])
    assert set(windows) <= {"$__rate_interval"}
    assert target["instant"] is not target["range"]


@pytest.mark.parametrize("name", NAMES)
def test_panels_fill_the_grid_and_do_not_overlap(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARDS[name]["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    rows = {y for _, y in taken}
    assert {(x, y) for x in range(24) for y in rows} == taken, "a gap in a row"


def test_dashboards_have_names_that_stay() -> None:
    """Bookmarks and links hold the uid; panel ids are in links to single panels."""
    assert [BOARDS[name]["uid"] for name in NAMES] == ["fleetpulse-fleet", "fleetpulse-host"]
    for board in BOARDS.values():
        ids = [panel["id"] for panel in board["panels"]]
        assert len(set(ids)) == len(ids)
    links = re.findall(r'"/d/([\w-]+)\?([^"]+)"', json.dumps(BOARDS["fleet.json"]))
    assert [uid for uid, _ in links] == ["fleetpulse-host"]
    assert set(re.findall(r"var-(\w+)=", links[0][1])) == {"job", "instance"}


def test_the_provisioned_data_source_is_the_api_as_it_is_by_default() -> None:
    text = (GRAFANA / "provisioning" / "datasources" / "fleetpulse.yml").read_text()
    (source,) = yaml.safe_load(text)["datasources"]
    assert source["type"] == "prometheus"
    assert source["url"] == ApiConfig().listen.url
    interval = parse_duration(source["jsonData"]["timeInterval"])
    assert interval == ScraperConfig().scrape_interval
    for board in BOARDS.values():
        assert board["templating"]["list"][0]["current"]["value"] == source["uid"]


def test_the_provisioned_folder_is_where_the_instructions_put_the_files() -> None:
    text = (GRAFANA / "provisioning" / "dashboards" / "fleetpulse.yml").read_text()
    (provider,) = yaml.safe_load(text)["providers"]
    assert f"-t {provider['options']['path']} " in (GRAFANA / "README.md").read_text()


def test_the_folder_is_no_package() -> None:
    assert not list(GRAFANA.rglob("__init__.py"))
