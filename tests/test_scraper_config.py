"""The scraper's section: defaults, Prometheus' keys, and faults that say what would be right."""

from pathlib import Path

import pytest

from fleetpulse.errors import ConfigError
from fleetpulse.yamlconf import load_model
from fleetpulse_cli.sections import read_root
from scraper.config import ScraperConfig
from scraper.httpconfig import Authorization, BasicAuth, HttpHeader, TlsConfig
from scraper.job import ScrapeJob
from scraper.protocols import is_openmetrics
from scraper.relabel import RelabelConfig
from scraper.sdconfig import DnsSdConfig, FileSdConfig, HttpSdConfig, TargetGroup
from scraper.targets import Job
from tests.scraper_fakes import config_of
from tests.support import ROOT

_JOBS = "scrape_configs:\n  - job_name: a\n"

FAULTS = [
    pytest.param(
        "scrape_interval: 5s\nscrape_timeout: 6s\n",
        "fleetpulse.yml:2: scrape_timeout: 6s outlasts the 5s interval",
        id="timeout over interval",
    ),
    pytest.param(
        _JOBS + "    scrape_timeout: 11s\n",
        "fleetpulse.yml:3: scrape_configs[0].scrape_timeout: 11s outlasts the 10s interval",
        id="a job's timeout over the section's interval",
    ),
    pytest.param(
        _JOBS + "    scrape_interval: 0s\n", "scrape_interval: should be greater", id="no interval"
    ),
    pytest.param(
        _JOBS + "  - job_name: a\n",
        "fleetpulse.yml:3: scrape_configs[1].job_name: the job_name 'a' is there twice",
        id="a job twice",
    ),
    pytest.param(
        _JOBS + "    kubernetes_sd_configs: []\n",
        "fleetpulse.yml:3: scrape_configs[0].kubernetes_sd_configs: not supported yet",
        id="not yet: discovery",
    ),
    pytest.param(
        _JOBS + "    proxy_url: http://u:hunter2@:x\n",
        "scrape_configs[0].proxy_url: no proxy's URL; write SCHEME://HOST:PORT",
        id="a proxy that is none",
    ),
    pytest.param(
        _JOBS + "    no_proxy: x\n", "no_proxy needs a proxy_url", id="no_proxy without a proxy"
    ),
    pytest.param(
        _JOBS + "    http_headers: {Host: {values: [x]}}\n",
        "http_headers: Host cannot be set here",
        id="a header that belongs to the request",
    ),
    pytest.param(
        _JOBS + "    http_headers: {X-A: {}}\n",
        "http_headers.X-A: give values, secrets or files",
        id="a header without a value",
    ),
    pytest.param(
        _JOBS + "    http_headers: {'a b': {values: [x]}}\n",
        "'a b' is no header's name",
        id="a header's name with a space",
    ),
    pytest.param(
        _JOBS + "    tls_config: {ca: x, ca_file: y}\n", "give ca or ca_file", id="two authorities"
    ),
    pytest.param(
        _JOBS + "    tls_config: {min_version: TLS13, max_version: TLS12}\n",
        "max_version is below the min_version TLS13",
        id="no version of TLS is left",
    ),
    pytest.param(
        _JOBS + "    scrape_protocols: [PrometheusProto]\n",
        "scrape_protocols[0]: PrometheusProto is not supported; leave it out",
        id="protobuf",
    ),
    pytest.param(
        _JOBS + "    fallback_scrape_protocol: Text\n",
        "fallback_scrape_protocol: 'Text' is none of OpenMetricsText1.0.0,",
        id="a protocol that is none",
    ),
    pytest.param(
        _JOBS + "    scrape_native_histograms: true\n",
        "scrape_native_histograms: native histograms are not supported",
        id="native histograms",
    ),
    pytest.param(
        _JOBS + "    native_histogram_bucket_limit: 100\n",
        "native histograms are not supported",
        id="limits of native histograms",
    ),
    pytest.param(
        "scrape_configs: [{job_name: a, metric_name_validation_scheme: legacy, "
        "metric_name_escaping_scheme: allow-utf-8}]\n",
        "UTF-8 names, which metric_name_validation_scheme legacy refuses",
        id="schemes that contradict",
    ),
    pytest.param(
        "metric_name_validation_scheme: legacy\n"
        + _JOBS
        + "    metric_name_escaping_scheme: allow-utf-8\n",
        "fleetpulse.yml:4: scrape_configs[0].metric_name_escaping_scheme: asks for UTF-8 names",
        id="a scheme that contradicts the section's",
    ),
    pytest.param(
        _JOBS + "    fallback_scrape_protocol: [a]\n", "['a'] is none of", id="a list for a word"
    ),
    pytest.param(
        _JOBS + "    http_sd_configs: [{url: 'ftp://x'}]\n",
        "http_sd_configs[0].url: no URL to ask; write http://HOST:PORT/PATH",
        id="discovery by another protocol",
    ),
    pytest.param(
        _JOBS + "    http_sd_configs: [{url: 'http://u:hunter2@x/'}]\n",
        "put the login into basic_auth",
        id="a password in a URL",
    ),
    pytest.param(
        _JOBS + "    dns_sd_configs: [{names: [a.b], type: TXT, port: 1}]\n",
        "dns_sd_configs[0].type: should be 'SRV', 'A'",
        id="records that are no targets",
    ),
    pytest.param(
        _JOBS + "    dns_sd_configs:\n    - names: [a.b]\n      type: a\n",
        "fleetpulse.yml:4: scrape_configs[0].dns_sd_configs[0]: records of type A name no port",
        id="no port",
    ),
    pytest.param(
        _JOBS + "    dns_sd_configs: [{names: ['a b']}]\n", "'a b' is no name", id="no DNS name"
    ),
    pytest.param(
        "global: {scrape_interval: 5s}\n",
        "fleetpulse.yml:1: global: this section is what Prometheus calls global",
        id="Prometheus' global section",
    ),
    pytest.param("scrape_classes: []\n", "scrape_classes: not supported yet", id="scrape classes"),
    pytest.param(
        "scrape_config_files: [none.yml]\n", "none.yml:1: cannot be read", id="a file that is not"
    ),
    pytest.param(_JOBS + "    oauth2: {}\n", "oauth2: not supported yet", id="not yet: oauth2"),
    pytest.param(
        _JOBS + "    metrics_paths: /x\n", "did you mean metrics_path?", id="an unknown key"
    ),
    pytest.param(
        _JOBS + '    static_configs: [{targets: ["http://web-1:9100/metrics"]}]\n',
        "write host:port, without scheme or path",
        id="a URL for a target",
    ),
    pytest.param(
        _JOBS + "    file_sd_configs: [{files: [targets.txt]}]\n",
        "ends in .json, .yml or .yaml",
        id="a target file of another kind",
    ),
    pytest.param(
        _JOBS + "    relabel_configs: [{regex: '(', target_label: x}]\n",
        "is no regular expression",
        id="a broken regex",
    ),
    pytest.param(
        _JOBS + "    relabel_configs: [{action: labeldrop, regex: x, target_label: y}]\n",
        "labeldrop takes only regex",
        id="a key that the action does not take",
    ),
    pytest.param(
        _JOBS + "    relabel_configs: [{source_labels: [a]}]\n",
        "replace needs a target_label",
        id="replace into nothing",
    ),
    pytest.param(
        _JOBS + "    relabel_configs: [{action: hashmod, target_label: a}]\n",
        "modulus above zero",
        id="hashmod without modulus",
    ),
    pytest.param(
        _JOBS + "    basic_auth: {username: a, password: b, password_file: c}\n",
        "password or password_file, not both",
        id="two passwords",
    ),
    pytest.param(
        _JOBS + "    authorization: {type: Basic, credentials: x}\n",
        "use basic_auth",
        id="basic by hand",
    ),
    pytest.param(
        _JOBS + "    authorization: {credentials: x}\n    bearer_token: y\n",
        "give one of basic_auth, authorization and bearer_token",
        id="two ways in",
    ),
    pytest.param(
        _JOBS + "    tls_config: {cert_file: a}\n",
        "cert or cert_file goes together with key or key_file",
        id="half a certificate",
    ),
]


@pytest.mark.parametrize(("text", "message"), FAULTS)
def test_a_fault_names_its_place_and_its_mend(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(text)
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_without_a_file_this_hosts_exporter_is_scraped() -> None:
    config = ScraperConfig()
    (job,) = config.scrape_configs
    assert job.job_name == "node"
    assert job.static_configs[0].targets == ("127.0.0.1:9100",)
    assert (config.interval_of(job), config.timeout_of(job)) == (10.0, 8.0)
    assert config.body_limit_of(job) == 50 << 20


def test_a_job_has_its_own_times_and_limits() -> None:
    config = config_of(_JOBS + "    scrape_interval: 5s\n    body_size_limit: 0\n")
    job = Job.of(config.scrape_configs[0], config)
    # The section's timeout would outlast the job's interval.
    assert (job.interval, job.timeout, job.limits.body) == (5.0, 5.0, 0)


def test_a_job_as_people_have_it_in_prometheus(tmp_path: Path) -> None:
    config = config_of(
        """
scrape_configs:
  - job_name: node
    scrape_interval: 15s
    scrape_timeout: 10s
    honor_labels: true
    scheme: https
    metrics_path: /probe
    params: {module: [http_2xx]}
    tls_config: {ca_file: ca.pem, insecure_skip_verify: true}
    authorization: {type: Bearer, credentials_file: token}
    file_sd_configs:
      - files: [targets/*.json]
        refresh_interval: 1m
    static_configs:
      - targets: ['web-1:9100', '[::1]:9100']
        labels: {rack: 7, spare: true}
    relabel_configs:
      - {source_labels: [__address__], regex: '([^:]+):\\d+', target_label: host}
      - {regex: 9100, action: Drop, source_labels: [port]}
    metric_relabel_configs:
      - {regex: le, action: labeldrop}
""",
        tmp_path,
    )
    (job,) = config.scrape_configs
    assert job.static_configs[0].labels == {"rack": "7", "spare": "true"}
    assert job.file_sd_configs[0].files == (tmp_path / "targets" / "*.json",)
    assert job.tls_config.ca_file == tmp_path / "ca.pem"
    assert job.relabel_configs[1].regex == "9100"


def test_secrets_do_not_print() -> None:
    config = config_of(_JOBS + "    basic_auth: {username: u, password: hunter2}\n")
    assert "hunter2" not in repr(config)
    assert "hunter2" not in repr(Job.of(config.scrape_configs[0], config))


def test_a_group_reference_is_no_environment_variable(tmp_path: Path) -> None:
    file = tmp_path / "scraper.yml"
    rule = "{source_labels: [a], target_label: b, replacement: '${1}-$2-${ZONE}'}"
    file.write_text(f"scrape_configs: [{{job_name: a, relabel_configs: [{rule}]}}]\n")
    config = load_model(file, ScraperConfig, env={"ZONE": "eu"})
    assert config.scrape_configs[0].relabel_configs[0].replacement == "${1}-$2-eu"


def test_an_unknown_key_is_told_the_keys_that_are_supported() -> None:
    with pytest.raises(ConfigError) as caught:
        config_of(_JOBS + "    foo: bar\n")
    assert "static_configs" in str(caught.value)
    assert "kubernetes_sd_configs" not in str(caught.value)


def test_config_files_add_their_jobs(tmp_path: Path) -> None:
    folder = tmp_path / "jobs"
    folder.mkdir()
    for name in ("b", "a"):
        job = f"{{job_name: {name}, tls_config: {{ca_file: ca.pem}}}}"
        (folder / f"{name}.yml").write_text(f"scrape_configs: [{job}]\n")
    config = config_of("scrape_config_files: [jobs/*.yml, jobs/a.yml]\n", tmp_path)
    assert [job.job_name for job in config.scrape_configs] == ["a", "b"]
    assert config.scrape_configs[0].tls_config.ca_file == folder / "ca.pem"
    both = config_of(
        "scrape_config_files: [jobs/a.yml]\nscrape_configs: [{job_name: c}]\n", tmp_path
    )
    assert [job.job_name for job in both.scrape_configs] == ["c", "a"]


def test_config_files_tell_their_own_faults_all_at_once(tmp_path: Path) -> None:
    (tmp_path / "1.yml").write_text("scrape_configs:\n  - job_name: a\n    metric_path: /x\n")
    (tmp_path / "2.yml").write_text("scrape_configs:\n  - job_name: x\n")
    (tmp_path / "3.yml").write_text("scrape_configs:\n  - job_name: c\n    scrape_timeout: 1m\n")
    with pytest.raises(ConfigError) as caught:
        config_of("scrape_config_files: ['?.yml']\nscrape_configs: [{job_name: x}]\n", tmp_path)
    unknown, doubled, late = caught.value.faults
    assert unknown.startswith(f"{tmp_path}/1.yml:3: scrape_configs[0].metric_path: no such key")
    assert doubled.startswith(f"{tmp_path}/2.yml:2: scrape_configs[0].job_name: the job_name 'x'")
    assert late.startswith(f"{tmp_path}/3.yml:3: scrape_configs[0].scrape_timeout: 1m outlasts")


def test_faults_of_config_files_hide_no_others(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("scrape_configs:\n  - job_nam: a\n")
    file = tmp_path / "fleetpulse.yml"
    file.write_text("scraper: {scrape_config_files: [a.yml]}\napi: {thread: 4}\n")
    with pytest.raises(ConfigError) as caught:
        read_root(file, ("scraper", "api"))
    assert [fault.partition(": ")[0] for fault in caught.value.faults] == [
        f"{tmp_path}/a.yml:2", f"{tmp_path}/a.yml:2", f"{file}:2",
    ]  # fmt: skip


def job_in(section: str, job: str) -> Job:
    config = config_of(f"{section}scrape_configs: [{{job_name: a, {job}}}]\n")
    return Job.of(config.scrape_configs[0], config)


def test_a_job_takes_the_sections_limits_unless_it_has_its_own() -> None:
    section = "sample_limit: 10\nlabel_limit: 5\nkeep_dropped_targets: 2\n"
    limits = job_in(section, "sample_limit: 20, label_limit: 0").limits
    assert (limits.samples, limits.labels, limits.dropped, limits.targets) == (20, 5, 2, 0)


ACCEPTS = [
    pytest.param(
        "",
        "enable_http2: true",
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
        "application/openmetrics-text;version=0.0.1;q=0.5,"
        "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
        "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
        id="as Prometheus does",
    ),
    pytest.param(
        "scrape_protocols: [OpenMetricsText0.0.1]\n",
        "scrape_protocols: [PrometheusText0.0.4]",
        "text/plain;version=0.0.4;q=0.6,*/*;q=0.5",
        id="the job's word counts",
    ),
    pytest.param(
        "scrape_protocols: [PrometheusText1.0.0]\nmetric_name_validation_scheme: legacy\n",
        "enable_http2: true",
        "text/plain;version=1.0.0;escaping=underscores;q=0.6,*/*;q=0.5",
        id="old names are asked for where only they are valid",
    ),
    pytest.param(
        "scrape_protocols: [PrometheusText1.0.0]\nmetric_name_escaping_scheme: dots\n",
        "metric_name_validation_scheme: utf8",
        "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.5",
        id="a job's own scheme has its own escaping",
    ),
]


@pytest.mark.parametrize(("section", "job", "accept"), ACCEPTS)
def test_what_is_asked_for(section: str, job: str, accept: str) -> None:
    assert job_in(section, job).accept == accept


KINDS = [
    pytest.param("application/openmetrics-text; version=1.0.0", None, True),
    pytest.param("Application/OpenMetrics-Text", "PrometheusText0.0.4", True),
    pytest.param("text/plain; version=0.0.4", "OpenMetricsText1.0.0", False),
    pytest.param("", None, False, id="none"),
    pytest.param("", "OpenMetricsText1.0.0", True, id="none, with a fallback"),
    pytest.param("application/json", "PrometheusText1.0.0", False, id="another, with a fallback"),
]


@pytest.mark.parametrize(("kind", "fallback", "expected"), KINDS)
def test_what_comes(kind: str, fallback: str | None, expected: bool) -> None:
    assert is_openmetrics(kind, fallback) == expected


def test_protobuf_is_refused() -> None:
    with pytest.raises(ValueError, match="protobuf"):
        is_openmetrics("application/vnd.google.protobuf; proto=x", "PrometheusText0.0.4")


def test_numbers_and_truth_values_are_texts_where_a_text_is_meant() -> None:
    rule = "{source_labels: [a], separator: 1, regex: true, target_label: b, replacement: 9100}"
    job = job_in("", f"params: {{n: [5, true]}}, relabel_configs: [{rule}]").config
    assert job.params == {"n": ("5", "true")}
    (made,) = job.relabel_configs
    assert (made.separator, made.regex, made.replacement) == ("1", "true", "9100")


def test_every_key_is_in_the_documentation() -> None:
    text = (ROOT / "docs" / "scraping.md").read_text()
    models = (ScraperConfig, ScrapeJob, TlsConfig, BasicAuth, Authorization, HttpHeader)
    more = (HttpSdConfig, DnsSdConfig, FileSdConfig, TargetGroup, RelabelConfig)
    keys = {
        name
        for model in (*models, *more)
        for name, field in model.model_fields.items()
        if not field.exclude
    }
    unsaid = {key for key in keys if f"`{key}`" not in text and f"{key}:" not in text}
    assert unsaid <= {"source_labels", "modulus", "target_label", "scrape_configs"}
