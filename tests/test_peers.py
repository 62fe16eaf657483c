"""Side by side with what operators have already: Prometheus, promtool and amtool, the real ones."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support import Process, free_port, needs, wait_for, wait_ready

pytestmark = [pytest.mark.integration, pytest.mark.peer]


class Host:
    """Exporter, scraper, API, rules and bridge on free ports with quick intervals."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {n: free_port() for n in ("exporter", "scraper", "api", "rules", "bridge")}
        config: dict[str, Any] = {
            name: {"listen": f"127.0.0.1:{port}"} for name, port in self.ports.items()
        }
        target = {"targets": [f"127.0.0.1:{self.ports['exporter']}"]}
        config["scraper"] |= {
            "scrape_interval": "1s",
            "scrape_timeout": "1s",
            "scrape_configs": [{"job_name": "node", "static_configs": [target]}],
        }
        config["api"]["rate_limit"] = "unlimited"
        config["rules"]["bridge_urls"] = [f"http://127.0.0.1:{self.ports['bridge']}"]
        # JSON is YAML.
        (folder / "fleetpulse.yml").write_text(json.dumps(config))
        self.processes: list[Process] = []

    def url(self, role: str) -> str:
        return f"http://127.0.0.1:{self.ports[role]}"

    def start(self, *roles: str) -> None:
        for role in roles:
            arguments = [role, "--config", str(self.folder / "fleetpulse.yml")]
            arguments += ["--data-dir", str(self.folder / "data")]
            self.processes.append(Process(arguments, self.folder / f"{role}.log").start())
            wait_ready(self.url(role), self.processes[-1])

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.stop()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.stop()


def run(*command: str, given: bytes | None = None) -> str:
    done = subprocess.run(command, input=given, capture_output=True, timeout=60)
    output = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, output
    return done.stdout.decode()


@needs("prometheus")
def test_a_real_prometheus_scrapes_the_exporter(host: Host) -> None:
    host.start("exporter")
    port, folder = free_port(), host.folder
    job = {
        "job_name": "fleetpulse",
        "static_configs": [{"targets": [f"127.0.0.1:{host.ports['exporter']}"]}],
    }
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(json.dumps(config))
    command = [
        "prometheus", f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with (folder / "prometheus.log").open("wb") as log:
        peer = subprocess.Popen(command, stdout=log, stderr=log)
    try:

        def result(query: str) -> Any:
            try:
                url = f"http://127.0.0.1:{port}/api/v1/query"
                return requests.get(url, {"query": query}, timeout=5).json()["data"]["result"]
            except requests.RequestException:
                return None

        def up() -> bool:
            found = result("up")
            return bool(found) and found[0]["value"][1] == "1"

        wait_for("Prometheus says up", up)
        assert result('count(node_cpu_seconds_total{mode="idle"})')
        # It asks for OpenMetrics, where a counter's family goes without its suffix.
        metadata = f"http://127.0.0.1:{port}/api/v1/metadata?metric=node_cpu_seconds"
        found = wait_for("metadata", lambda: requests.get(metadata, timeout=5).json()["data"])
        assert found["node_cpu_seconds"][0]["type"] == "counter"
    finally:
        peer.terminate()
        peer.wait(20)


def complaints(page: bytes) -> set[str]:
    """What promtool finds to say about a page of metrics; a page it cannot read fails."""
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=page, capture_output=True, timeout=60
    )
    assert done.returncode in (0, 3), done.stderr.decode()  # 3: read, but not to its taste
    return set((done.stdout + done.stderr).decode().splitlines())


@needs("promtool")
def test_promtool_finds_no_fault_with_any_roles_metrics(host: Host) -> None:
    host.start("bridge", "rules", "api", "scraper")
    for role in ("bridge", "rules", "api", "scraper"):
        assert complaints(requests.get(f"{host.url(role)}/metrics", timeout=10).content) == set()


@needs("promtool", "prometheus-node-exporter")
def test_promtool_says_of_the_exporter_only_what_it_says_of_node_exporters_names(
    host: Host,
) -> None:
    host.start("exporter")
    port = free_port()
    with (host.folder / "node.log").open("wb") as log:
        command = ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}"]
        peer = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}/metrics"

        def page() -> bytes | None:
            try:
                return requests.get(url, timeout=10).content
            except requests.ConnectionError:
                return None

        theirs = complaints(wait_for("node_exporter", page))
    finally:
        peer.terminate()
        peer.wait(20)
    ours = complaints(requests.get(f"{host.url('exporter')}/metrics", timeout=10).content)
    assert ours - theirs == set()


@needs("promtool")
def test_promtool_queries_the_api(host: Host) -> None:
    host.start("api", "scraper", "exporter")
    url = host.url("api")
    wait_for("up", lambda: "=> 1 @" in run("promtool", "query", "instant", url, "up"))
    assert 'job="node"' in run("promtool", "query", "series", "--match=up", url)
    assert "up" in run("promtool", "query", "labels", url, "__name__").split()
    ranged = run("promtool", "query", "range", "--step=1s", url, "up")
    assert "up{" in ranged


@needs("amtool")
def test_amtool_adds_asks_and_silences(host: Host) -> None:
    host.start("bridge")
    amtool = ["amtool", f"--alertmanager.url={host.url('bridge')}"]
    run(*amtool, "alert", "add", "alertname=DiskFull", "instance=db-1", "severity=critical")
    assert "DiskFull" in run(*amtool, "alert", "query")
    assert "DiskFull" not in run(*amtool, "alert", "query", "instance=db-2")
    silence = run(
        *amtool, "silence", "add", "instance=db-1", "--comment=disk swap", "--author=op"
    ).split()[-1]
    assert silence in run(*amtool, "silence", "query")
    assert "DiskFull" in run(*amtool, "alert", "query", "--silenced")
    run(*amtool, "silence", "expire", silence)
    assert silence not in run(*amtool, "silence", "query")
