"""docs/remote-write.md: its examples are good to those whom they are for, its names are ours."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from api.remotewrite.counters import REASONS, RemoteWriteCounters
from tests.support import ROOT, needs

_TEXT = (ROOT / "docs" / "remote-write.md").read_text()


def _blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", _TEXT, re.DOTALL)


@pytest.mark.peer
@needs("promtool")
def test_promtool_takes_the_prometheus_example(tmp_path: Path) -> None:
    (tmp_path / "push.key").write_text("key")
    (example,) = _blocks("yaml")
    path = tmp_path / "prometheus.yml"
    path.write_text(example.replace("/etc/prometheus", str(tmp_path)))
    done = subprocess.run(["promtool", "check", "config", path], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    assert yaml.safe_load(example)["remote_write"][0]["url"].endswith("/api/v1/write")


@pytest.mark.peer
@needs("vmagent")
def test_vmagent_takes_the_vmagent_example(tmp_path: Path) -> None:
    (tmp_path / "push.key").write_text("key")
    (tmp_path / "prometheus.yml").write_text("scrape_configs: []\n")
    (example,) = _blocks("sh")
    command = shlex.split(example.replace("\\\n", "").replace("/etc/vmagent", str(tmp_path)))
    done = subprocess.run([*command, "-dryRun"], capture_output=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0, done.stderr.decode()


def test_every_metric_and_reason_is_documented() -> None:
    registry = CollectorRegistry()
    RemoteWriteCounters(registry, lambda: 0)
    page = generate_latest(registry).decode()
    for name in re.findall(r"^# TYPE (\S+)", page, re.MULTILINE):
        assert f"`{name}" in _TEXT or name.endswith("_created")
    for reason in set(REASONS) - {"empty"}:
        assert f"`{reason}`" in _TEXT
