"""/api/v1/status/…, features, notifications and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, Counter

from api.about import About
from api.app import create_app
from api.server import features
from fleetpulse.promql.config import PromqlConfig
from fleetpulse.storage.base import Cardinality
from fleetpulse.storageconfig import EmbeddedConfig
from fleetpulse_cli.aboutapi import about
from fleetpulse_cli.sections import SECTIONS, whole_file
from tests.api_fakes import NOW, Api, FakeReader, bearer

SECRETS = {
    name: f"hush-{name}"
    for name in (
        "influx", "password", "credentials", "bearer", "header", "key", "proxy", "connect", "sd",
        "env",
    )
}  # fmt: skip
CONFIG = """
log_level: debug
storage:
  kind: influxdb2
  url: http://127.0.0.1:8086
  org: o
  bucket: b
  token: hush-influx
  retention: {raw: 2d}
scraper:
  scrape_interval: 15s
  scrape_configs:
    - job_name: basic
      basic_auth: {username: u, password: hush-password}
      static_configs: [{targets: ["a:1"]}]
    - job_name: token
      authorization: {credentials: hush-credentials}
      proxy_url: http://user:hush-proxy@proxy:3128
      proxy_connect_header: {X-Key: [hush-connect]}
      tls_config: {cert: "-", key: hush-key}
      http_sd_configs: [{url: "http://sd/", basic_auth: {username: u, password: hush-sd}}]
    - job_name: bearer
      bearer_token: hush-bearer
      http_headers: {X-Api-Key: {secrets: [hush-header]}}
    - job_name: environment
      bearer_token: ${HUSH}
exporter:
  collector_timeout: 7s
  push: {url: "http://api:8080", key_file: push.key}
rules:
  bridge_urls: ["http://bridge:9093"]
  external_labels: {site: berlin}
api:
  query: {timeout: 30s}
promql: {experimental: true, lookback: 2m}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HUSH", SECRETS["env"])
    (tmp_path / "fleetpulse.yml").write_text(CONFIG)
    (tmp_path / "push.key").write_text("hush-push")
    return tmp_path


def real_about(folder: Path) -> About:
    settings = whole_file(folder / "fleetpulse.yml", now=lambda: NOW - 60)
    registry = CollectorRegistry()
    damaged = Counter("fleetpulse_store_damaged_blobs", "x", ["kind"], registry=registry)
    damaged.labels("page").inc(2)
    return about(settings, folder / "data", registry, 2 * 86400.0, NOW - 100)


def client(folder: Path, known: About, reader: Any = None, **settings: Any) -> Any:
    api = Api(folder, **settings)
    app = create_app(
        api.config, api.engine, reader or api.reader, api.writer, api.keys, CollectorRegistry(),
        now=api.now, about=known,
    )  # fmt: skip
    return app.test_client()


def data(answer: Any) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json["data"]


def test_the_configuration_has_no_secret(folder: Path) -> None:
    asking = client(folder, real_about(folder))
    text = data(asking.get("/api/v1/status/config"))["yaml"]
    assert "hush" not in text
    assert text.count("<secret>") == len(SECRETS)
    for path in ("config", "flags", "runtimeinfo", "buildinfo"):
        assert "hush" not in asking.get(f"/api/v1/status/{path}").text
    assert "hush" not in asking.get("/metrics").text


def test_the_configuration_is_as_it_would_be_written(folder: Path) -> None:
    known = real_about(folder)
    shown = yaml.safe_load(data(client(folder, known).get("/api/v1/status/config"))["yaml"])
    assert shown["log_level"] == "debug"
    assert shown["scraper"]["scrape_interval"] == "15s"
    assert shown["scraper"]["scrape_configs"][0]["basic_auth"] == {
        "username": "u", "password": "<secret>",
    }  # fmt: skip
    assert shown["storage"]["retention"]["raw"] == "2d"
    assert shown["exporter"]["collector_timeout"] == "7s"
    assert shown["exporter"]["push"]["key_file"] == str(folder / "push.key")
    assert shown["api"]["query"]["timeout"] == "30s"
    assert shown["api"]["listen"] == "127.0.0.1:8080"  # a default


def test_what_is_shown_can_be_read_again(tmp_path: Path) -> None:
    """With nothing secret in it, and paths whole."""
    plain = CONFIG.partition("storage:")[0] + "rules: {external_labels: {site: berlin}}\n"
    (tmp_path / "fleetpulse.yml").write_text(plain)
    text = real_about(tmp_path).yaml()
    (tmp_path / "again.yml").write_text(text)
    first = whole_file(tmp_path / "fleetpulse.yml").current
    again = whole_file(tmp_path / "again.yml").current
    for section in SECTIONS:
        if section != "exporter":  # whose patterns are anchored once more
            assert getattr(again, section) == getattr(first, section)


def test_flags_have_prometheus_names(folder: Path) -> None:
    flags = data(client(folder, real_about(folder)).get("/api/v1/status/flags"))
    assert all(isinstance(value, str) for value in flags.values())
    assert flags["config.file"] == str(folder / "fleetpulse.yml")
    assert flags["query.lookback-delta"] == "2m"
    assert flags["query.timeout"] == "30s"
    assert flags["storage.tsdb.retention.time"] == "2d"
    assert "promql-experimental-functions" in flags["enable-feature"]


def test_the_process(folder: Path) -> None:
    known = data(client(folder, real_about(folder)).get("/api/v1/status/runtimeinfo"))
    assert known["startTime"] == "2023-11-14T22:11:40.000Z"
    assert known["serverTime"] == "2023-11-14T22:13:20.000Z"
    assert (known["reloadConfigSuccess"], known["lastConfigTime"]) == (
        True, "2023-11-14T22:12:20.000Z",
    )  # fmt: skip
    assert known["corruptionCount"] == 2
    assert known["storageRetention"] == "2d"


def test_federation_takes_the_rules_labels_by_default(folder: Path) -> None:
    assert real_about(folder).external_labels == {"site": "berlin"}
    file = folder / "fleetpulse.yml"
    file.write_text(CONFIG.replace("  query: {", "  external_labels: {dc: eu}\n  query: {"))
    assert real_about(folder).external_labels == {"dc": "eu"}


class Counting(FakeReader):
    """A store that can tell what it has."""

    def cardinality(self, limit: int) -> Cardinality:
        many = [(f"n{number}", 9 - number) for number in range(9)][:limit]
        return Cardinality(9, 4, 2, 1000, 2000, many, many, many, many)


def test_what_the_store_has(tmp_path: Path) -> None:
    asking = client(tmp_path, About(), Counting())
    found = data(asking.get("/api/v1/status/tsdb?limit=2"))
    assert found["headStats"] == {
        "numSeries": 9, "numLabelPairs": 4, "chunkCount": 2, "minTime": 1000, "maxTime": 2000,
    }  # fmt: skip
    two = [{"name": "n0", "value": 9}, {"name": "n1", "value": 8}]
    assert found["seriesCountByLabelValuePair"] == two
    assert len(data(asking.get("/api/v1/status/tsdb"))["seriesCountByMetricName"]) == 9


LIMITS = [
    pytest.param("0", "must be a positive number", id="none"),
    pytest.param("-1", "must be a positive number", id="below"),
    pytest.param("x", "must be a positive number", id="no number"),
    pytest.param("10001", "must not exceed 10000", id="too many"),
    pytest.param("9" * 40, "must not exceed 10000", id="far too many"),
]


@pytest.mark.parametrize(("limit", "message"), LIMITS)
def test_a_limit_that_is_none(tmp_path: Path, limit: str, message: str) -> None:
    answer = client(tmp_path, About(), Counting()).get(f"/api/v1/status/tsdb?limit={limit}")
    assert answer.status_code == 400
    assert message in answer.json["error"]


def test_a_store_that_does_not_count(tmp_path: Path) -> None:
    answer = client(tmp_path, About()).get("/api/v1/status/tsdb")
    assert (answer.status_code, answer.json["errorType"]) == (503, "unavailable")


def test_features_follow_the_configuration(tmp_path: Path) -> None:
    plain = data(client(tmp_path, About()).get("/api/v1/features"))
    assert plain == features(PromqlConfig())
    assert plain["promql_functions"]["rate"] is True
    assert plain["promql_functions"]["info"] is False
    assert plain["promql_operators"]["limitk"] is False
    more = features(PromqlConfig(experimental=True))
    assert more["promql_functions"]["info"]
    assert more["promql_functions"]["start_timestamp"] is False  # no setting enables it
    assert more["promql_operators"]["limitk"]
    assert all(isinstance(flag, bool) for group in more.values() for flag in group.values())


def test_experiments_are_read_where_they_are_allowed(tmp_path: Path) -> None:
    query = "/api/v1/format_query?query=info(up)"
    refused = client(tmp_path, About()).get(query)
    assert refused.status_code == 400
    assert "promql.experimental" in refused.json["error"]
    allowed = About(promql=PromqlConfig(experimental=True))
    assert data(client(tmp_path, allowed).get(query)) == "info(up)"


PATHS = [
    "/federate",
    "/version",
    "/-/reload",
    "/api/v1/features",
    "/api/v1/format_query?query=up",
    "/api/v1/parse_query?query=up",
    "/api/v1/notifications",
    "/api/v1/rules",
    "/api/v1/alerts",
    "/api/v1/alertmanagers",
    "/api/v1/scrape_pools",
    "/api/v1/targets/metadata",
    "/api/v1/status/config",
    "/api/v1/status/flags",
    "/api/v1/status/runtimeinfo",
    "/api/v1/status/tsdb",
    "/api/v1/status/walreplay",
]


@pytest.mark.parametrize("path", PATHS)
def test_where_keys_are_needed_all_of_it_needs_one(tmp_path: Path, path: str) -> None:
    api = Api(tmp_path, require_keys=True)
    push, read = api.key("push"), api.key("read")
    asking = api.client()
    assert asking.get(path).status_code == 401
    assert asking.get(path, headers=bearer(push)).status_code == 403
    assert asking.get(path, headers=bearer(read)).status_code not in (401, 403)


def test_a_selector_of_the_configuration_is_as_it_was_written() -> None:
    override = {"match": '{job="x"}', "raw": "1h"}
    section = EmbeddedConfig.model_validate({"retention": {"overrides": [override]}})
    assert section.model_dump(mode="json", exclude_unset=True)["retention"] == {
        "overrides": [override]
    }
