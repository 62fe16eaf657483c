"""The exporter beside Debian's node_exporter, and before promtool's and Prometheus' eyes."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from exporter.app import ExporterApp
from exporter.config import ExporterConfig
from tests.support import free_port, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.peer]

_ATTEMPTS = 8  # pairs of pages; a host that is at work changes between two reads
# What node_exporter 1.5 tells and we do not: these collectors are yet to come.
_NOT_OURS = ("node_nf_conntrack_stat_", "node_selinux_", "node_textfile_",
             "node_udp_queues", "node_exporter_build_info", "node_scrape_collector_")  # fmt: skip

# Each exporter's own sockets, files and threads are among what these count while it looks.
_MOVED_BY_LOOKING = ("node_sockstat_", "node_filefd_", "node_procs_")
_MOVED_BY = 16.0


def program(name: str, package: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is missing; apt install {package}")
    return path


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[str]:
    app = ExporterApp(ExporterConfig.model_validate({"listen": "127.0.0.1:0"}), tmp_path)
    app.start()
    yield app.address.url
    app.stop()


def served(command: list[str], url: str) -> Iterator[str]:
    """The URL of a program that runs while it is needed."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(f"{command[0]} to answer", lambda: answers(url))
            yield url
        finally:
            process.terminate()


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.ConnectionError:
        return False


@pytest.fixture
def theirs() -> Iterator[str]:
    path = program("prometheus-node-exporter", "prometheus-node-exporter")
    config, port = ExporterConfig(), free_port()
    # Debian's build and each version have exclusions of their own; names are what is compared.
    command = [
        path,
        f"--web.listen-address=127.0.0.1:{port}",
        "--collector.filesystem.mount-points-exclude="
        + config.filesystem.mount_points_exclude.pattern,
        "--collector.filesystem.fs-types-exclude=" + config.filesystem.fs_types_exclude.pattern,
        "--collector.diskstats.device-exclude=" + config.diskstats.device_exclude.pattern,
        "--collector.netdev.device-exclude=" + config.netdev.device_exclude.pattern,
    ]
    yield from served(command, f"http://127.0.0.1:{port}")


@dataclass(frozen=True)
class Page:
    """types by metric name; values by series."""

    types: dict[str, str]
    values: dict[tuple[str, frozenset[tuple[str, str]]], float]


def page(url: str) -> Page:
    text = requests.get(f"{url}/metrics", timeout=30).text
    found = Page({}, {})
    for line in text.splitlines():
        if line.startswith("# TYPE node_"):
            _, _, name, kind = line.split()
            if not name.startswith(_NOT_OURS):
                found.types[name] = kind
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in found.types:
                key = (sample.name, frozenset(sample.labels.items()))
                found.values[key] = sample.value
    return found


def test_names_types_and_labels_are_node_exporters(ours: str, theirs: str) -> None:
    mine, peer = page(ours), page(theirs)
    assert mine.types == peer.types
    assert set(mine.values) == set(peer.values)
    assert len(mine.values) > 150


def test_values_are_node_exporters(ours: str, theirs: str) -> None:
    """Theirs, read between two of ours, lies between these; for each series at least once."""
    differing: dict[object, object] = {}
    for attempt in range(_ATTEMPTS):
        before, peer, after = page(ours), page(theirs), page(ours)
        wrong = {
            key: (before.values.get(key), value, after.values.get(key))
            for key, value in peer.values.items()
            if not _between(key[0], before.values.get(key), value, after.values.get(key))
        }
        differing = {key: wrong[key] for key in wrong if not attempt or key in differing}
        if not differing:
            return
    raise AssertionError(f"of {len(peer.values)} series differ: {differing}")


def _between(name: str, low: float | None, value: float, high: float | None) -> bool:
    if low is None or high is None:
        return False
    low, high = min(low, high), max(low, high)
    slack = _MOVED_BY if name.startswith(_MOVED_BY_LOOKING) else 1e-9 * max(1.0, abs(value))
    return low - slack <= value <= high + slack


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
    for url in served(command, f"http://127.0.0.1:{port}/-/ready"):
        api = url.replace("/-/ready", "/api/v1/query")

        def boot_time(api: str = api) -> list[object]:
            query = {"query": "node_boot_time_seconds and on(instance) up == 1"}
            found = requests.get(api, params=query, timeout=10).json()
            result: list[object] = found["data"]["result"]
            return result

        wait_for("Prometheus to have scraped", boot_time)
