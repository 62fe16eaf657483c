"""The exporter beside Debian's node_exporter, and before promtool's and Prometheus' eyes."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from exporter.app import ExporterApp
from exporter.config import ExporterConfig
from fleetpulse.values import ListenAddress
from tests.peer_programs import served
from tests.support import ROOT, free_port, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.peer]


def program(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is missing; apt install {package}")
    return path


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[str]:
    app = ExporterApp(ExporterConfig(listen=(ListenAddress("127.0.0.1", 0),)), tmp_path)
    app.start()
    yield app.addresses[0].url
    app.stop()


@pytest.fixture
def theirs() -> Iterator[str]:
    path = program("prometheus-node-exporter", "prometheus-node-exporter")
    port = free_port()
    command = [path, f"--web.listen-address=127.0.0.1:{port}"]
    with served(command, f"http://127.0.0.1:{port}") as url:
        yield url


def test_who_changes_over_finds_everything_as_it_was() -> None:
    """Names, types, labels, series and values, as benchmarks/exporter_parity.py compares them."""
    program("prometheus-node-exporter", "prometheus-node-exporter")
    command = [sys.executable, str(ROOT / "benchmarks/exporter_parity.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def complaints(url: str) -> set[str]:
    text = requests.get(f"{url}/metrics", timeout=30).content
    command = [program("promtool", "prometheus"), "check", "metrics"]
    done = subprocess.run(command, input=text, capture_output=True, timeout=30, check=False)
    # 3: there are complaints about style. Anything else but 0 is a page it cannot read.
    assert done.returncode in (0, 3), done.stderr.decode()
    return set((done.stdout + done.stderr).decode().splitlines())


def test_promtool_has_nothing_against_our_own_names(ours: str) -> None:
    own = [line for line in complaints(ours) if not line.startswith("node_")]
    assert own == []


def test_promtool_says_no_more_of_node_exporters_names_than_of_its_own(
    ours: str, theirs: str
) -> None:
    assert complaints(ours) <= complaints(theirs)


def test_a_real_prometheus_scrapes_it(ours: str, tmp_path: Path) -> None:
    path, port = program("prometheus", "prometheus"), free_port()
    target = ours.removeprefix("http://")
    job = {"job_name": "host", "static_configs": [{"targets": [target]}]}
    text = json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [job]})
    (tmp_path / "prometheus.yml").write_text(text)
    command = [
        path,
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with served(command, f"http://127.0.0.1:{port}/-/ready") as url:
        api = url.replace("/-/ready", "/api/v1/query")

        def boot_time(api: str = api) -> list[object]:
            query = {"query": "node_boot_time_seconds and on(instance) up == 1"}
            found = requests.get(api, params=query, timeout=10).json()
            result: list[object] = found["data"]["result"]
            return result

        wait_for("Prometheus to have scraped", boot_time)
