"""Roles as processes: reload by signal and by file, what they refuse, bad surroundings."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support import ROOT, Process, free_port, wait_for, wait_ready

pytestmark = pytest.mark.integration

LISTENING = ["exporter", "scraper", "api", "rules", "bridge"]
_SUCCESSFUL = re.compile(r"^fleetpulse_config_last_reload_successful ([01])", re.MULTILINE)


class Role:
    """One role with a configuration file of its own."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.listen = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.listen}"
        self.file = folder / "fleetpulse.yml"
        self.write({})
        arguments = [name, "--config", str(self.file), "--data-dir", str(folder / "data")]
        self.process = Process(arguments, folder / "log")

    def write(self, more: dict[str, Any]) -> None:
        # In one step: the watch must not see half a file.
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps({self.name: {"listen": self.listen, **more}}))
        new.replace(self.file)

    def start(self) -> str:
        self.process.start()
        return wait_ready(self.url, self.process)

    def reload_state(self) -> str:
        """1 or 0 as the role's metrics have it; empty while its server changes hands."""
        try:
            page = requests.get(f"{self.url}/metrics", timeout=5).text
        except requests.RequestException:
            return ""
        found = _SUCCESSFUL.search(page)
        return found[1] if found else ""


@pytest.fixture(params=LISTENING)
def role(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Role]:
    role = Role(tmp_path, request.param)
    yield role
    role.process.kill()


def test_a_bad_reload_is_told_and_a_good_one_mends_it(role: Role) -> None:
    role.start()
    assert role.reload_state() == "1"
    role.write({"no_such_key": 1})  # seen by the watch
    wait_for("the refusal", lambda: role.reload_state() == "0")
    assert "no_such_key: no such key" in role.process.output()
    assert requests.get(f"{role.url}/-/ready", timeout=5).status_code == 200
    role.write({})
    os.kill(role.process.pid, signal.SIGHUP)
    wait_for("the mended file", lambda: role.reload_state() == "1")
    assert role.process.stop() == 0


def test_the_scraper_sees_a_config_file_come(tmp_path: Path) -> None:
    role = Role(tmp_path, "scraper")
    role.write({"scrape_config_files": ["jobs-*.yml"], "scrape_configs": []})
    try:
        assert "0 targets" in role.start()
        job = {"job_name": "a", "static_configs": [{"targets": ["127.0.0.1:1", "127.0.0.1:2"]}]}
        (tmp_path / "new").write_text(json.dumps({"scrape_configs": [job]}))
        (tmp_path / "new").replace(tmp_path / "jobs-a.yml")
        ready = f"{role.url}/-/ready"
        wait_for("two targets", lambda: "2 targets" in requests.get(ready, timeout=5).text)
    finally:
        role.process.kill()


def test_a_port_in_use_is_one_line_and_exit_code_2(role: Role, tmp_path: Path) -> None:
    role.start()
    arguments = [role.name, "--listen", role.listen, "--data-dir", str(tmp_path / "other")]
    second = Process(arguments, tmp_path / "second.log").start()
    wait_for("the end", lambda: second.poll() is not None)
    assert second.poll() == 2
    assert f"cannot listen on {role.listen}" in second.output()
    assert "Traceback" not in second.output()


def test_the_api_needs_keys_as_long_as_it_serves_a_network(tmp_path: Path) -> None:
    port = free_port()
    file, data = tmp_path / "fleetpulse.yml", str(tmp_path / "data")
    file.write_text(f'api: {{listen: "0.0.0.0:{port}"}}')
    assert fleetpulse("keys", "create", "--scope", "read", "--data-dir", data).returncode == 0
    arguments = ["api", "--config", str(file), "--data-dir", data]
    with Process(arguments, tmp_path / "log") as process:
        url = f"http://127.0.0.1:{port}"
        assert wait_ready(url, process) == "keys needed"
        # Only a restart can move it to the loopback address, where reads need none.
        file.write_text(f'api: {{listen: "127.0.0.1:{port}"}}')
        wait_for("the reload", lambda: "configuration reloaded" in process.output())
        assert "api.listen has changed; it takes effect after a restart" in process.output()
        wait_for("the new worker", lambda: "keys needed" in _text(f"{url}/-/ready"))
        assert requests.get(f"{url}/api/v1/query?query=1", timeout=5).status_code == 401


def _text(url: str) -> str:
    try:
        return requests.get(url, timeout=5).text
    except requests.RequestException:
        return ""


def test_a_faulty_template_file_leaves_the_bridge_as_it_was(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    template = tmp_path / "words.tmpl"
    template.write_text('{{ define "x" }}hello{{ end }}')
    (tmp_path / "am.yml").write_text("route: {receiver: r}\nreceivers: [{name: r}]\n"
                                     "templates: [words.tmpl]")  # fmt: skip
    file, data = tmp_path / "fleetpulse.yml", str(tmp_path / "data")
    file.write_text(json.dumps({"bridge": {"listen": url[7:], "config_file": "am.yml"}}))
    with Process(
        ["bridge", "--config", str(file), "--data-dir", data], tmp_path / "log"
    ) as process:
        wait_ready(url, process)
        template.write_text('{{ define "x" }}hello{{ en')
        os.kill(process.pid, signal.SIGHUP)
        wait_for("the refusal", lambda: "reload refused" in process.output())
        # The new worker goes on with the words that the old one had.
        refused = "fleetpulse_config_last_reload_successful 0"
        wait_for("the new worker", lambda: refused in _text(f"{url}/metrics"))
        assert "cannot begin" not in process.output()


def fleetpulse(*arguments: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "fleetpulse_cli.main", *arguments],
        cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("name", LISTENING)
def test_a_data_folder_that_is_a_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    # The exporter keeps nothing on disk but pages to be pushed.
    push = ("--push", "http://127.0.0.1:9", "--key-file", "k") if name == "exporter" else ()
    data = str(tmp_path / "data")
    done = fleetpulse(name, "--data-dir", data, "--listen", "127.0.0.1:0", *push)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "cannot write to the data folder" in line
    assert "--data-dir" in line


def test_the_api_does_not_start_on_a_network_without_keys(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    done = fleetpulse("api", "--listen", f"0.0.0.0:{free_port()}", "--data-dir", data)
    assert done.returncode == 2
    assert "fleetpulse keys create" in done.stderr


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    data = ["--data-dir", str(tmp_path / "data")]
    made = fleetpulse("keys", "create", "--scope", "push", "--server", "web-1", *data)
    secret = made.stdout.strip()
    key_id = secret.split("_")[1]
    listed = fleetpulse("keys", "list", *data).stdout
    assert key_id in listed
    assert "web-1" in listed
    assert secret not in listed
    stored = (tmp_path / "data" / "keys" / "keys.json").read_text()
    assert secret.split("_")[2] not in stored
    assert fleetpulse("keys", "revoke", key_id, *data).returncode == 0
    assert fleetpulse("keys", "revoke", "nothere", *data).returncode == 2
    mode = (tmp_path / "data" / "keys" / "keys.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_rules_once_prints_what_fires(tmp_path: Path) -> None:
    rule = {"alert": "Always", "expr": "vector(1)", "labels": {"a": "b"}}
    (tmp_path / "r.yml").write_text(json.dumps({"groups": [{"name": "g", "rules": [rule]}]}))
    config = {"rules": {"shipped": False, "rule_files": ["r.yml"]}}
    (tmp_path / "fleetpulse.yml").write_text(json.dumps(config))
    done = fleetpulse("rules", "--once", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'alertname="Always"' in done.stdout


PUSHES = [
    pytest.param(["http://127.0.0.1:1"], "key_file", id="no key file"),
    pytest.param(["monitor", "--key-file", "k"], "write the API's URL", id="no URL"),
]


def test_a_push_key_without_a_push_is_no_silent_matter(tmp_path: Path) -> None:
    done = fleetpulse("exporter", "--data-dir", str(tmp_path / "data"), "--key-file", "k")
    assert done.returncode == 2
    assert done.stderr == (
        "fleetpulse exporter: --key-file and --server go with --push, or with exporter.push.url\n"
    )


@pytest.mark.parametrize(("more", "said"), PUSHES)
def test_push_mode_says_what_is_missing(more: list[str], said: str, tmp_path: Path) -> None:
    (tmp_path / "fleetpulse.yml").write_text("exporter: {push: {interval: 20s}}")
    config = str(tmp_path / "fleetpulse.yml")
    data = ["--data-dir", str(tmp_path / "data"), "--config", config]
    done = fleetpulse("exporter", *data, "--push", *more)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert said in line
