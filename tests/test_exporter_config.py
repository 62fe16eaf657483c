"""The section `exporter`: its defaults, and what it says of mistakes."""

from pathlib import Path

import pytest

from exporter.config import COLLECTOR_NAMES, ExporterConfig, PushConfig
from fleetpulse.errors import ConfigError
from fleetpulse.yamlconf import parse_model

ALL = ", ".join(COLLECTOR_NAMES)


def parse(text: str) -> ExporterConfig:
    return parse_model(text, ExporterConfig, file="f.yml", base=Path("/etc/fleetpulse"))


def test_nothing_written_is_a_working_exporter() -> None:
    config = parse("")
    assert str(config.listen) == "0.0.0.0:9100"
    assert config.collectors.names() == list(COLLECTOR_NAMES)
    assert config.collector_timeout == 5.0
    assert config.push.url == ""
    assert (config.push.interval, config.push.spool_pages) == (10.0, 1000)


CHOSEN = [
    pytest.param("{enable: [cpu, uname]}", ["cpu", "uname"], id="only these"),
    pytest.param("{enable: [cpu, uname], disable: [cpu]}", ["uname"], id="disable wins"),
    pytest.param("{disable: [cpu]}", [n for n in COLLECTOR_NAMES if n != "cpu"], id="all but"),
]


@pytest.mark.parametrize(("text", "names"), CHOSEN)
def test_collectors_are_chosen(text: str, names: list[str]) -> None:
    assert parse(f"collectors: {text}").collectors.names() == names


URLS = [
    pytest.param("http://mon:8080", "http://mon:8080/api/v1/metrics", id="the bare address"),
    pytest.param("http://mon:8080/", "http://mon:8080/api/v1/metrics", id="with a slash"),
    pytest.param("https://a/fp/", "https://a/fp/api/v1/metrics", id="behind a prefix"),
    pytest.param("https://a/api/v1/metrics", "https://a/api/v1/metrics", id="written in full"),
    pytest.param("http://[::1]:8080", "http://[::1]:8080/api/v1/metrics", id="IPv6"),
]


@pytest.mark.parametrize(("written", "url"), URLS)
def test_the_push_url_is_completed_once(written: str, url: str) -> None:
    push = PushConfig(url=written, key_file=Path("k"))
    assert push.url == url
    assert PushConfig.model_validate(push.model_dump(include={"url", "key_file"})).url == url


def test_files_are_relative_to_the_configuration() -> None:
    config = parse("push: {url: 'http://mon', key_file: push.key}")
    assert config.push.key_file == Path("/etc/fleetpulse/push.key")


def test_the_host_names_itself_unless_told() -> None:
    assert PushConfig(server="web1").server_name() == "web1"
    assert PushConfig().server_name() != ""


FAULTS = [
    pytest.param("colectors: {}", "f.yml:1: colectors: ", id="an unknown key"),
    pytest.param(
        "collectors:\n  disable: [cpus]",
        f"f.yml:2: collectors.disable: no collector 'cpus'; there are {ALL}",
        id="an unknown collector",
    ),
    pytest.param(
        "filesystem: {fs_types_exclude: '('}",
        "f.yml:1: filesystem.fs_types_exclude: '(' is no regular expression: missing )",
        id="a broken pattern",
    ),
    pytest.param("listen: 9100", "f.yml:1: listen: '9100' is no listen address", id="only a port"),
    pytest.param("collector_timeout: 5", "f.yml:1: collector_timeout: 5 has no unit", id="no unit"),
    pytest.param(
        "filesystem: {mount_timeout: 5s}",
        "f.yml:1: filesystem.mount_timeout must be below collector_timeout (5s)",
        id="a mount that may take as long as the collector",
    ),
    pytest.param(
        "push: {url: 'http://mon'}", "f.yml:1: push: push needs key_file", id="a push without key"
    ),
    pytest.param(
        "push: {url: 'mon:8080', key_file: k}",
        "f.yml:1: push.url: write the API's URL",
        id="no URL",
    ),
    pytest.param(
        "push: {url: 'http://u:secret@mon', key_file: k}",
        "f.yml:1: push.url: no user or password in the URL",
        id="a password in the URL",
    ),
    pytest.param(
        "push: {labels: {instance: a}}",
        "f.yml:1: push.labels: instance is set by the API",
        id="a label that is the API's",
    ),
    pytest.param("push: {labels: {'a-b': x}}", "'a-b' is no label name", id="a bad label name"),
    pytest.param("push: {interval: 100ms}", "f.yml:1: push.interval: ", id="ten pages a second"),
    pytest.param("push: {spool_pages: 0}", "f.yml:1: push.spool_pages: ", id="no room at all"),
]


@pytest.mark.parametrize(("text", "fault"), FAULTS)
def test_faults_name_the_place_and_the_mend(text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert fault in str(caught.value)
    assert "secret" not in str(caught.value)
