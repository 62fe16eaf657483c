"""`fleetpulse up` as a user runs it: the lines, a role that dies, Ctrl-C, a port in use."""

import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from fleetpulse.values import ListenAddress
from fleetpulse_cli.asking import ask_ready
from fleetpulse_cli.supervisor import RoleLog
from tests.support import ROOT, Process, free_port, wait_for

pytestmark = pytest.mark.integration

NOBODYS_HASH = "$2b$04$g.yY9SD/NMvJcrDgvtZ7t.y35Zn.W3JhMbRjdD4Ij93fXpvupXT02"
ROLES = ("exporter", "scraper", "api", "rules", "bridge")


class Up(Process):
    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.ports = {role: free_port() for role in ROLES}
        lines = [f'{role}: {{listen: "127.0.0.1:{port}"}}' for role, port in self.ports.items()]
        lines[1] = (
            f'scraper: {{listen: "127.0.0.1:{self.ports["scraper"]}", scrape_interval: 1s, '
            f"scrape_timeout: 1s, scrape_configs: [{{job_name: node, static_configs: "
            f'[{{targets: ["127.0.0.1:{self.ports["exporter"]}"]}}]}}]}}'
        )
        lines[2] = lines[2].replace("{", "{rate_limit: unlimited, ")
        (folder / "fleetpulse.yml").write_text("\n".join(lines))
        config, data = str(folder / "fleetpulse.yml"), str(folder / "data")
        arguments = ["up", "--config", config, "--data-dir", data]
        super().__init__(arguments, folder / "up.log", **environment)

    def wait_line(self, pattern: str) -> re.Match[str]:
        def look() -> re.Match[str] | None:
            assert self.poll() is None, self.output()
            return re.search(pattern, self.output(), re.MULTILINE)

        return wait_for(f"{pattern} in {self.output()}", look)

    def wait_up(self) -> None:
        for role in ROLES:
            self.wait_line(rf"^{role} .* up\b")

    def role_pid(self, role: str) -> int:
        return role_pid(self.pid, role)


def role_pid(supervisor: int, role: str) -> int:
    """The process of a role, by its command line."""
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            command = (folder / "cmdline").read_bytes().split(b"\0")
            parent = int((folder / "stat").read_text().rsplit(")")[-1].split()[1])
        except OSError:
            continue
        if parent == supervisor and role.encode() in command:
            return int(folder.name)
    raise AssertionError(f"no process of {role}")


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    process = Up(tmp_path)
    yield process
    process.kill()


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")")[-1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_an_exporter_that_wants_a_password_is_up_when_it_listens(up: Up) -> None:
    # What it wants to hear is in a file of hashes: nobody here can know it.
    (up.folder / "web.yml").write_text(f"basic_auth_users: {{fleet: {NOBODYS_HASH}}}\n")
    file = up.folder / "fleetpulse.yml"
    guarded = "exporter: {web_config_file: web.yml, "
    file.write_text(file.read_text().replace("exporter: {", guarded))
    up.start()
    up.wait_up()
    url = f"http://127.0.0.1:{up.ports['exporter']}/metrics"
    assert f"exporter  {url}" in up.output()
    assert requests.get(url, timeout=10).status_code == 401
    assert up.stop(signal.SIGINT) == 0


def test_the_lines_an_answer_and_the_end_in_order(up: Up) -> None:
    up.start()
    up.wait_up()
    lines = up.output().splitlines()
    assert lines[0].startswith("FleetPulse 0.1.0   data in ")
    assert [line.split()[0] for line in lines[1:6]] == list(ROLES)
    assert re.search(r"^scraper +1 target, every 1 ?s +up$", up.output(), re.MULTILINE)
    assert re.search(r"^rules +\d+ rules in 3 groups +up$", up.output(), re.MULTILINE)
    assert "no receiver configured: alerts are kept in the history only" in lines[5]
    key = (up.folder / "data" / "keys" / "admin").read_text()
    assert "data/keys/admin (shown once)" in lines[3]
    assert key.strip() not in up.output()
    assert os.stat(up.folder / "data" / "keys" / "admin").st_mode & 0o777 == 0o600

    def answer() -> bool:
        url = f"http://127.0.0.1:{up.ports['api']}/api/v1/query"
        result = requests.get(url, {"query": "up"}, timeout=10).json()["data"]["result"]
        return bool(result) and result[0]["value"][1] == "1"

    wait_for("up is 1", answer)
    pids = [up.role_pid(role) for role in ROLES]
    assert up.stop(signal.SIGINT) == 0
    stopped = re.findall(r"^(\w+) +stopped$", up.output(), re.MULTILINE)
    assert stopped == ["exporter", "scraper", "api", "rules", "bridge"]
    assert not any(alive(pid) for pid in pids)


def test_a_role_that_dies_comes_back_and_the_line_says_so(up: Up) -> None:
    up.start()
    up.wait_up()
    os.kill(up.role_pid("scraper"), signal.SIGKILL)
    up.wait_line(r"^scraper +died \(signal 9\), restart in 1 s; log in .*scraper\.log$")
    wait_for("scraper up again", lambda: len(re.findall(r"^scraper .* up$", up.output(), re.M)) > 1)
    assert up.stop() == 0


def test_roles_end_with_a_supervisor_that_is_killed(up: Up) -> None:
    up.start()
    up.wait_up()
    pids = [up.role_pid(role) for role in ROLES]
    os.kill(up.pid, signal.SIGKILL)
    wait_for("the end of all roles", lambda: not any(alive(pid) for pid in pids))


def test_a_proxy_of_the_environment_is_not_asked_for_the_roles(tmp_path: Path) -> None:
    with Up(tmp_path, http_proxy="http://127.0.0.1:9", no_proxy="") as up:
        up.wait_up()


def test_a_second_ctrl_c_kills_what_does_not_end(up: Up) -> None:
    up.start()
    up.wait_up()
    os.kill(up.role_pid("exporter"), signal.SIGSTOP)
    os.kill(up.pid, signal.SIGTERM)  # of two SIGINT at once only one would arrive
    assert up.stop(signal.SIGINT) == 0
    killed = re.findall(r"^(\w+) +killed$", up.output(), re.MULTILINE)
    assert killed == ["exporter", "scraper", "api", "rules", "bridge"]


def test_roles_outlive_the_terminal_and_the_folder_of_logs(up: Up) -> None:
    """Whoever reads its output goes away (`| head`), and then somebody cleans up too well."""
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "fleetpulse_cli.main", *up.arguments],
        cwd=ROOT, stdout=writer, stderr=subprocess.STDOUT,
    )  # fmt: skip
    os.close(writer)
    try:
        with os.fdopen(reader) as out:
            assert out.readline().startswith("FleetPulse")
        shutil.rmtree(up.folder / "data" / "logs")

        def pid(role: str) -> int:
            wait_for(role, lambda: ask_ready(ListenAddress("127.0.0.1", up.ports[role])))
            return role_pid(process.pid, role)

        pids = [pid(role) for role in ROLES]
        os.kill(pids[1], signal.SIGKILL)
        wait_for("the death", lambda: not alive(pids[1]))
        pids[1] = pid("scraper")
        assert all(alive(one) for one in pids)
        process.terminate()
        assert process.wait(30) == 0
        assert not any(alive(one) for one in pids)
    finally:
        process.kill()
        process.wait()


def test_a_full_disk_costs_lines_of_the_log_and_nothing_else() -> None:
    told: list[str] = []
    handler = RoleLog(Path("/dev/full"), told.append)
    for _ in range(2):
        handler.handle(logging.makeLogRecord({"msg": "a line"}))
    handler.close()
    assert told == ["/dev/full: lines are lost: [Errno 28] No space left on device"]


def test_a_port_in_use_is_one_clear_line_and_nothing_stays(up: Up) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", up.ports["bridge"]))
        taken.listen()
        up.start()
        wait_for("the end", lambda: up.poll() is not None)
    assert up.poll() == 2
    (line,) = up.output().splitlines()
    assert f"bridge cannot listen on 127.0.0.1:{up.ports['bridge']}" in line
    assert "choose another" in line


def test_a_configuration_with_faults_stops_it_at_once(up: Up) -> None:
    (up.folder / "fleetpulse.yml").write_text("api: {thread: 1}\nrules: {shipped: maybe}\n")
    up.start()
    wait_for("the end", lambda: up.poll() is not None)
    assert up.poll() == 2
    first, second = up.output().splitlines()
    assert "fleetpulse.yml:1: api.thread: no such key; did you mean threads?" in first
    assert "fleetpulse.yml:2: rules.shipped" in second


def test_a_role_that_cannot_start_ends_it_with_the_roles_own_words(up: Up) -> None:
    (up.folder / "rules.yml").write_text("groups: [{name: a, rules: [{alert: A, expr: 'up =='}]}]")
    text = (up.folder / "fleetpulse.yml").read_text()
    text = text.replace("rules: {listen", "rules: {rule_files: [rules.yml], listen")
    (up.folder / "fleetpulse.yml").write_text(text)
    up.start()
    wait_for("the end", lambda: up.poll() is not None)
    assert up.poll() == 2
    assert re.search(r"rules: .*rules\.yml:1: groups\[0\]\.rules\[0\]\.expr: ", up.output())
