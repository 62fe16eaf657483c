"""Alertmanager's file: what is taken, and how faults are told."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from alertmanager_bridge.amconfig import check_bridge_file, load_amconfig, parse_amconfig, redacted
from alertmanager_bridge.bridge import HISTORY_ONLY
from alertmanager_bridge.receivers.build import build_integrations
from fleetpulse.errors import ConfigError
from tests.bridge_fakes import amfile

DATA = Path(__file__).parent / "data" / "alertmanager_bridge"
GOOD = sorted(DATA.glob("good_*.yml"))

needs_amtool = pytest.mark.skipif(
    shutil.which("amtool") is None, reason="needs amtool (Debian: prometheus-alertmanager)"
)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_files_of_alertmanagers_users_load(path: Path) -> None:
    assert check_bridge_file(path) == []
    assert build_integrations(load_amconfig(path))


@needs_amtool
@pytest.mark.peer
@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_amtool_takes_the_same_files_and_what_status_shows(path: Path, tmp_path: Path) -> None:
    shown = tmp_path / "shown.yml"
    # Newer Alertmanagers hide a webhook's URL too; this amtool wants to see one.
    shown.write_text(redacted(load_amconfig(path)).replace(" url: <secret>", " url: http://x"))
    for file in (path, shown):
        done = subprocess.run(
            ["amtool", "check-config", file], capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0, done.stdout + done.stderr


BASE = """\
route:
  receiver: ops
receivers:
- name: ops
"""

FAULTS = [
    pytest.param("", "am.yml:1: route: missing", id="empty file"),
    pytest.param("- a", "am.yml:1: write a mapping", id="a list"),
    pytest.param("route: {", "not valid YAML", id="no YAML"),
    pytest.param("receivers: []", "route: missing", id="no route"),
    pytest.param(
        BASE + "  pagerduty_configs: [{routing_key: x}]\n",
        "am.yml:5: receivers[0].pagerduty_configs: not supported yet",
        id="a receiver to come",
    ),
    pytest.param(
        BASE + "time_intervals: [{name: night}]\n",
        "am.yml:5: time_intervals: not supported yet",
        id="a section to come",
    ),
    pytest.param(
        BASE + "receiver: x\n", "am.yml:5: receiver: no such key", id="unknown key at the top"
    ),
    pytest.param(
        BASE + "  slak_configs: []\n", "did you mean slack_configs", id="a slip of the pen"
    ),
    pytest.param(
        BASE.replace("receiver: ops", "receiver: opps"),
        "am.yml:2: route.receiver: there is no receiver 'opps'; known here: ops",
        id="unknown receiver",
    ),
    pytest.param(
        BASE.replace("receiver: ops", "receiver: ops\n  routes: [{receiver: x}]"),
        "am.yml:3: route.routes[0].receiver: there is no receiver 'x'",
        id="unknown receiver further down",
    ),
    pytest.param(BASE + "- name: ops\n", "am.yml:5: receivers[1].name: another", id="name twice"),
    pytest.param("route: {group_by: [a]}", "route.receiver: missing", id="no default receiver"),
    pytest.param(
        BASE.replace("receiver: ops", "receiver: ops\n  matchers: [a=b]"),
        "am.yml:3: route.matchers: the root route",
        id="matchers at the root",
    ),
    pytest.param(
        BASE.replace("receiver: ops", "receiver: ops\n  continue: true"),
        "route.continue",
        id="continue at the root",
    ),
    pytest.param(
        BASE.replace("receiver: ops", "receiver: ops\n  routes: [{matchers: ['a=~\"[\"']}]"),
        "am.yml:3: route.routes[0].matchers[0]: '[' is no regular expression",
        id="broken matcher",
    ),
    pytest.param(
        BASE.replace("receiver: ops", "receiver: ops\n  routes: [{match_re: {a: '['}}]"),
        "is no regular expression",
        id="broken match_re",
    ),
    pytest.param(
        BASE.replace("receiver: ops", "receiver: ops\n  routes: [{match: {a: yes}}]"),
        "put the text in quotes",
        id="YAML's idea of yes",
    ),
    pytest.param(
        BASE.replace("receiver: ops", "receiver: ops\n  group_wait: 30"),
        "am.yml:3: route.group_wait: 30 has no unit",
        id="a duration without unit",
    ),
    pytest.param(
        BASE.replace("receiver: ops", "receiver: ops\n  group_interval: 0s"),
        "route.group_interval: must be more than 0",
        id="a group_interval of nothing",
    ),
    pytest.param(
        BASE.replace("receiver: ops", "receiver: ops\n  group_by: [a, '...']"),
        "means all labels",
        id="all labels and one",
    ),
    pytest.param(
        BASE.replace("receiver: ops", "receiver: ops\n  group_by: [a, a]"),
        "twice",
        id="label twice",
    ),
    pytest.param(
        BASE + "  slack_configs: [{channel: x}]\n",
        "am.yml:5: receivers[0].slack_configs[0].api_url: missing; set it here or as global",
        id="Slack without URL",
    ),
    pytest.param(
        BASE + "  slack_configs: [{api_url: hooks.slack.com/x}]\n",
        "write a URL that begins with http",
        id="no URL",
    ),
    pytest.param(
        BASE + "  slack_configs: [{api_url: 'http://a/b', api_url_file: c}]\n",
        "at most one of api_url and api_url_file",
        id="URL and file",
    ),
    pytest.param(
        BASE + "  slack_configs: [{api_url: 'http://a/b', title: '{{ .Foo'}]\n",
        "am.yml:5: receivers[0].slack_configs[0].title: template line 1: unclosed action",
        id="broken template",
    ),
    pytest.param(
        BASE + "  slack_configs: [{api_url: 'http://a/b', fields: [{title: x}]}]\n",
        "fields[0].value: missing",
        id="half a field",
    ),
    pytest.param(
        BASE + "  email_configs: [{to: a@example.org}]\n",
        "email_configs[0].smarthost: missing; set it here or as global.smtp_smarthost",
        id="no smarthost",
    ),
    pytest.param(
        BASE + "  email_configs: [{to: a@b.c, from: d@e.f, smarthost: mail}]\n",
        "write HOST:PORT",
        id="smarthost without port",
    ),
    pytest.param(
        BASE + "  email_configs: [{to: a@b.c, from: d@e.f, smarthost: 'm:25',"
        " headers: {Subject: a, subject: b}}]\n",
        "there twice",
        id="a header twice",
    ),
    pytest.param(
        BASE + "  webhook_configs: [{}]\n", "one of url and url_file", id="no webhook URL"
    ),
    pytest.param(
        BASE + "  webhook_configs: [{url: 'http://x', http_config: {oauth2: {}}}]\n",
        "http_config.oauth2: not supported yet",
        id="OAuth",
    ),
    pytest.param(
        BASE
        + "  webhook_configs: [{url: 'http://x', http_config: {tls_config: {cert_file: a}}}]\n",
        "cert_file and key_file go together",
        id="half a client certificate",
    ),
]


@pytest.mark.parametrize(("text", "fault"), FAULTS)
def test_faults_name_the_place_and_the_mend(text: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        amfile(text)
    assert fault in str(caught.value)


def test_all_faults_are_told_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    path = tmp_path / "am.yml"
    path.write_text(
        "global: {resolve_timeout: soon}\n"
        "route:\n"
        "  receiver: nobody\n"
        "  routes:\n"
        "  - matchers: ['severity']\n"
        "receivers:\n"
        "- name: ops\n"
        "  email_configs: [{to: x@example.org}]\n"
        "  victorops_configs: []\n"
    )
    faults = check_bridge_file(path)
    assert [int(fault.removeprefix(f"{path}:").partition(":")[0]) for fault in faults] == [
        1, 3, 5, 8, 8, 9,
    ]  # fmt: skip


def test_secrets_are_in_no_fault_and_not_in_status() -> None:
    secret = "hunter2hunter2"
    with pytest.raises(ConfigError) as caught:
        amfile(BASE + f"  slack_configs: [{{api_url: 'ftp://{secret}'}}]\n")
    assert secret not in str(caught.value)
    config = amfile(
        BASE + f"  slack_configs: [{{api_url: 'https://hooks.example/{secret}'}}]\n"
        f"  webhook_configs: [{{url: 'http://x/{secret}',"
        f" http_config: {{basic_auth: {{username: a, password: {secret}}}}}}}]\n"
        f"global: {{smtp_auth_password: {secret}}}\n"
    )
    assert secret not in redacted(config) + repr(config)
    assert redacted(config).count("<secret>") == 4


def test_keys_without_a_value_count_as_left_out() -> None:
    config = amfile("global:\nroute:\n  receiver: a\n  routes:\nreceivers:\n- name: a\n")
    assert config.global_.resolve_timeout == 300
    assert config.route.routes == []


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    text = BASE + "  slack_configs: [{api_url_file: secret/url}]\n"
    config = parse_amconfig(text, file="am.yml", base=tmp_path)
    assert config.receivers[0].slack_configs[0].api_url_file == tmp_path / "secret" / "url"


def test_dollars_and_braces_are_left_alone() -> None:
    text = BASE + "  slack_configs: [{api_url: 'http://a/b', text: 'costs ${5} {{ .Status }}'}]\n"
    assert amfile(text).receivers[0].slack_configs[0].text == "costs ${5} {{ .Status }}"


def test_the_file_that_stands_for_none_has_no_receiver_to_speak_of() -> None:
    assert build_integrations(HISTORY_ONLY) == {"history-only": []}
    assert yaml.safe_load(redacted(HISTORY_ONLY))["route"] == {"receiver": "history-only"}


def test_broken_template_files_are_faults(tmp_path: Path) -> None:
    (tmp_path / "a.tmpl").write_text('\n\n{{ define "x" }}')
    path = tmp_path / "am.yml"
    path.write_text(BASE + "templates: ['*.tmpl']\n")
    (fault,) = check_bridge_file(path)
    assert "a.tmpl:3: {{define}} is never closed" in fault
