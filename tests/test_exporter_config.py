"""The section `exporter`: its defaults, and what it says of mistakes."""

from pathlib import Path

import pytest

from exporter.config import ExporterConfig
from exporter.settings.names import COLLECTOR_NAMES, OFF
from exporter.settings.patterns import pattern
from exporter.settings.push import PushConfig
from exporter.settings.sections import ScriptCommand
from fleetpulse.errors import ConfigError
from fleetpulse.records import read_record
from fleetpulse.yamldoc import Document

ON = [name for name in COLLECTOR_NAMES if name not in OFF]
ALL = ", ".join(COLLECTOR_NAMES)


def parse(text: str) -> ExporterConfig:
    document = Document.parse(text, "f.yml")
    return read_record(ExporterConfig, document, base=Path("/etc/fleetpulse"))


def test_nothing_written_is_a_working_exporter() -> None:
    config = parse("")
    assert [str(address) for address in config.listen] == ["0.0.0.0:9100"]
    assert config.collectors.names() == ON
    assert config.collector_timeout == 5.0
    assert config.push.url == ""
    assert (config.push.interval, config.push.spool_pages) == (10.0, 1000)


CHOSEN = [
    pytest.param("{enable: [systemd]}", sorted([*ON, "systemd"]), id="one more"),
    pytest.param("{defaults: false, enable: [uname, cpu]}", ["cpu", "uname"], id="only these"),
    pytest.param("{enable: [cpu, top], disable: [top]}", ON, id="disable wins"),
    pytest.param("{disable: [cpu]}", [n for n in ON if n != "cpu"], id="all but"),
    pytest.param(
        "{disable: [powersupply]}", [n for n in ON if n != "powersupplyclass"], id="other spelling"
    ),
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
    assert parse(f"push: {{url: '{written}', key_file: k}}").push.url == url
    assert parse(f"push: {{url: '{url}', key_file: k}}").push.url == url


def test_files_are_relative_to_the_configuration() -> None:
    config = parse("push: {url: 'http://mon', key_file: push.key}")
    assert config.push.key_file == Path("/etc/fleetpulse/push.key")


def test_the_host_names_itself_unless_told() -> None:
    assert PushConfig(server="web1").server_name() == "web1"
    assert PushConfig().server_name() != ""


FILTERS = [
    pytest.param(
        "netdev: {device_include: '^eth'}", "netdev", "device", "^eth", None, id="include"
    ),
    pytest.param("netdev: {device_exclude: ''}", "netdev", "device", None, None, id="neither"),
    pytest.param("netdev: {}", "netdev", "device", None, "^lo$", id="the default"),
    pytest.param(
        "filesystem: {fs_types_include: ext4}", "filesystem", "fs_types", "ext4", None, id="types"
    ),
]


@pytest.mark.parametrize(("text", "section", "what", "include", "exclude"), FILTERS)
def test_an_include_takes_the_place_of_the_default_exclude(
    text: str, section: str, what: str, include: str | None, exclude: str | None
) -> None:
    record = getattr(parse(text), section)
    wanted = [None if one is None else pattern(one) for one in (include, exclude)]
    assert [getattr(record, f"{what}_{end}") for end in ("include", "exclude")] == wanted


def test_an_include_of_one_thing_leaves_the_other_alone() -> None:
    config = parse("filesystem: {fs_types_include: ext4}").filesystem
    assert config.mount_points_exclude == ExporterConfig().filesystem.mount_points_exclude


def test_everything_else_can_be_said() -> None:
    config = parse(
        "listen: [':9100', '[::1]:9101']\ntelemetry_path: /m\nmax_requests: 0\n"
        "web_config_file: web.yml\nsystemd: {unit_include: 'ssh|cron'}\n"
        "textfile: {directories: [prom, '/var/lib/*/prom']}\n"
        "script: {commands: [{name: who, command: [who, -q], interval: 1m}]}\n"
        "push: {spool_max_bytes: 5MB, spool_max_age: 1h}\n"
    )
    assert len(config.listen) == 2
    assert config.web_config_file == Path("/etc/fleetpulse/web.yml")
    assert config.systemd.unit_include.search("sshd") is None
    assert config.textfile.directories == (
        Path("/etc/fleetpulse/prom"),
        Path("/var/lib/*/prom"),
    )
    assert config.script.commands == (ScriptCommand("who", ("who", "-q"), 5.0, 60.0),)
    assert (config.push.spool_max_bytes, config.push.spool_max_age) == (5 << 20, 3600.0)


FAULTS = [
    pytest.param("listen: []", "f.yml:1: listen: write at least one address", id="no address"),
    pytest.param("telemetry_path: m", "telemetry_path: 'm' is no path; write", id="no path"),
    pytest.param("telemetry_path: /-/ready", "telemetry_path: /-/ready tells", id="a taken path"),
    pytest.param("max_requests: -1", "max_requests: -1 is no whole number", id="fewer than none"),
    pytest.param("top: {count: 500}", "f.yml:1: top.count: must be at most 100", id="too many"),
    pytest.param(
        "netdev:\n  device_include: a\n  device_exclude: b",
        "f.yml:2: netdev.device_include: does not go together with device_exclude; keep one",
        id="an include and an exclude",
    ),
    pytest.param(
        "script: {commands: [{name: a, command: []}]}",
        "script.commands[0].command: write the program and its arguments",
        id="a script without a program",
    ),
    pytest.param(
        "script: {commands: [{name: a, command: who}]}",
        "script.commands[0].command: write a list",
        id="a script for a shell",
    ),
    pytest.param(
        "script: {commands: [{name: 'a b', command: [a]}]}",
        "script.commands[0].name: write letters",
        id="a script's odd name",
    ),
    pytest.param(
        "script: {commands: [{name: a, command: [a]}, {name: a, command: [b]}]}",
        "script.commands: two have the name a",
        id="two scripts of one name",
    ),
    pytest.param("vmstat: {fields: '\\pL'}", "is not known here", id="a pattern of Go's alone"),
    pytest.param("colectors: {}", "f.yml:1: colectors: ", id="an unknown key"),
    pytest.param(
        "collectors:\n  disable: [cpus]",
        f"f.yml:2: collectors.disable[0]: no collector 'cpus'; there are {ALL}",
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
        "f.yml:1: filesystem.mount_timeout: must be below collector_timeout (5s)",
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
