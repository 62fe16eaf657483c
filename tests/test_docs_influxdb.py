"""docs/influxdb.md: its configurations are such, and its queries answer on a real InfluxDB 1."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from fleetpulse.lineprotocol import _TAKEN, stored, stored_measurement, stored_tag
from fleetpulse.model import METRIC_NAME, Labels, Page
from fleetpulse.storage.influx.config import Influx1Config
from fleetpulse.storage.influx.http1 import Influx1Http
from fleetpulse.storage.influx.manage1 import Influx1Setup
from fleetpulse.storage.influx.writer import open_writer
from fleetpulse_cli.sections import read_root
from tests.influx_server import InfluxServer, influxd
from tests.support import ROOT, needs

PAGE = (ROOT / "docs" / "influxdb.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


QUERIES = [*blocks("sql"), *re.findall(r"^Variables: `(.*)`", PAGE, re.MULTILINE)]


@pytest.mark.parametrize("text", blocks("yaml"))
def test_a_snippet_is_a_configuration(text: str, tmp_path: Path) -> None:
    (tmp_path / "f.yml").write_text(text)
    assert read_root(tmp_path / "f.yml", ["storage"]).storage.kind in text


def test_every_name_that_is_taken_is_told() -> None:
    assert all(f"`{name}`" in PAGE for name in _TAKEN)


@pytest.mark.parametrize(
    "written",
    [
        pytest.param(stored("\n"), id="line break"),
        pytest.param(stored("\\"), id="backslash"),
        pytest.param(stored_measurement("#")[0], id="hash"),
        pytest.param(stored_tag("time")[-1], id="taken"),
        pytest.param(stored("\ue00a")[0], id="itself"),
    ],
)
def test_every_character_that_stands_for_another_is_told(written: str) -> None:
    assert f"U+{ord(written):04X}" in PAGE


def test_links_lead_to_pages_that_are_there() -> None:
    for link in re.findall(r"\]\(([a-z]+\.md)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxServer]:
    """With an hour of a host's samples up to now, and windows of them."""
    folder = tmp_path_factory.mktemp("influxd")
    with influxd(folder) as running:
        given = {"kind": "influxdb1", "url": running.url, "database": "fleetpulse"}
        config = Influx1Config.model_validate(given)
        setup = Influx1Setup(config, Influx1Http(config))
        for step in setup.plan():
            setup.carry_out(step)
        writer = open_writer(config, folder / "spool.db", CollectorRegistry())
        now = round(time.time() * 1000)
        writer.write([page(at) for at in range(now - 3_600_000, now, 15_000)])
        writer.close()
        assert sum(points for *_, points in setup.backfill()) > 0
        setup.close()
        yield running


def page(at_ms: int) -> Page:
    def line(name: str, **labels: str) -> Labels:
        return Labels.of({METRIC_NAME: name}, **labels)

    lines = {
        line("up"): 1.0,
        line("node_load1"): 0.5,
        line("node_filesystem_avail_bytes", mountpoint="/"): 25.0,
        line("node_filesystem_size_bytes", mountpoint="/"): 100.0,
        line("node_cpu_seconds_total", cpu="0", mode="user"): at_ms / 2000,
        line("node_cpu_seconds_total", cpu="1", mode="user"): at_ms / 4000,
        line("node_cpu_seconds_total", cpu="0", mode="idle"): at_ms / 1000,
    }
    return Page.of(Labels.of(instance="web1:9100", job="node"), at_ms, lines)


@pytest.mark.peer
@pytest.mark.integration
@needs("influxd")
@pytest.mark.parametrize("query", QUERIES)
def test_a_query_answers(server: InfluxServer, query: str) -> None:
    filled = query.replace("$timeFilter", "time > now() - 1h").replace("$__interval", "10m")
    found = server.query(filled, "fleetpulse")
    values = [row for series in found for row in series["values"] if None not in row]  # type: ignore[attr-defined]
    assert values, found
    if "avail" in query:
        assert {row[1] for row in values} == {25.0, 100.0}
    if "busy" in query:
        assert [row[1] for row in values[1:-1]] == [pytest.approx(0.75)] * len(values[1:-1])
