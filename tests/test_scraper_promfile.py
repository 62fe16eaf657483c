"""Prometheus' own file: its scrape part with Prometheus' defaults, the rest let pass."""

from pathlib import Path

import pytest

from fleetpulse.errors import ConfigError
from scraper.promfile import NOT_READ, PrometheusFile, read_prometheus_file

_JOBS = "scrape_configs:\n  - job_name: a\n"


def read(folder: Path, text: str) -> PrometheusFile:
    (folder / "prometheus.yml").write_text(text)
    return read_prometheus_file(folder / "prometheus.yml")


GOOD = [
    pytest.param("", id="nothing"),
    pytest.param(_JOBS + "    scrape_timeout: 50s\n", id="its interval is a minute"),
    pytest.param("global: {scrape_interval: 5s}\n" + _JOBS, id="its timeout follows the interval"),
    pytest.param(
        "global: {evaluation_interval: 1m, external_labels: {a: b}, query_log_file: x}\n",
        id="keys of others in the global section",
    ),
    pytest.param("".join(f"{key}: [{{a: b}}]\n" for key in NOT_READ), id="sections of others"),
    pytest.param(
        _JOBS + "    relabel_configs: [{target_label: a, replacement: '${NOT_SET}'}]\n",
        id="no environment is looked at",
    ),
    pytest.param("scrape_config_files: ['none/*.yml']\n", id="files that there may be"),
]


@pytest.mark.parametrize("text", GOOD)
def test_what_is_fine(tmp_path: Path, text: str) -> None:
    read(tmp_path, text)


BAD = [
    pytest.param("rule_file: []\n", ":1: rule_file: no such key", id="a key that is none"),
    pytest.param(
        "global:\n  scrape_interval: 5s\n  scrape_timeout: 6s\n",
        ":3: global.scrape_timeout: 6s outlasts the 5s interval",
        id="the timeout outlasts the interval",
    ),
    pytest.param(
        "global: {scrape_interval: 5s}\n" + _JOBS + "    scrape_timeout: 6s\n",
        ":4: scrape_configs[0].scrape_timeout: 6s outlasts the 5s interval",
        id="a job's timeout outlasts it",
    ),
    pytest.param(
        "global: {scrape_native_histograms: true}\n",
        ":1: global.scrape_native_histograms: native histograms are not supported",
        id="what there is not, for all jobs",
    ),
]


@pytest.mark.parametrize(("text", "fault"), BAD)
def test_what_is_not(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert caught.value.faults[0].startswith(f"{tmp_path}/prometheus.yml{fault}")
