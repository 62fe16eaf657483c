"""`fleetpulse exporter`: its command line over its file, and a start that loads little."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.config import ExporterConfig
from fleetpulse.errors import ConfigError, StartError
from fleetpulse_cli.exporter_role import ExporterFile, exporter_settings
from fleetpulse_cli.main import main
from fleetpulse_cli.parser import parse
from fleetpulse_cli.settings import Settings
from tests.support import ROOT


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers[:] = before
    root.setLevel(level)


def settings(folder: Path, line: str, file: str = "") -> Settings[ExporterFile]:
    (folder / "f.yml").write_text(file)
    config = ["--config", str(folder / "f.yml")]
    return exporter_settings(parse(["exporter", *config, *line.split()]))


def exporter(folder: Path, line: str, file: str = "") -> ExporterConfig:
    return settings(folder, line, file).current.exporter


def test_flags_of_both_kinds_are_taken_in_any_order(tmp_path: Path) -> None:
    line = "--collector.disable-defaults --once --collector.cpu --log.level debug --path.procfs /p"
    options = parse(["exporter", *line.split(), "--data-dir", "d"])
    assert (options.once, options.data_dir) == (True, Path("d"))
    made = settings(tmp_path, line).current
    assert made.exporter.collectors.names() == ["cpu"]
    assert (made.log_level, made.exporter.procfs) == ("debug", Path("/p"))


def test_the_command_line_wins_after_a_reload_too(tmp_path: Path) -> None:
    line = "--web.max-requests=7 --listen 127.0.0.1:9 --no-collector.cpu"
    made = settings(tmp_path, line, "exporter: {max_requests: 1, collector_timeout: 6s}")
    (tmp_path / "f.yml").write_text("exporter: {max_requests: 2, listen: ':8', stat: {softirq: 1}}")
    assert not made.reload()
    (tmp_path / "f.yml").write_text("exporter: {max_requests: 2, listen: ':8'}")
    assert made.reload()
    config = made.current.exporter
    assert (config.max_requests, config.collector_timeout) == (7, 5.0)
    assert [str(address) for address in config.listen] == ["127.0.0.1:9"]
    assert "cpu" not in config.collectors.names()


def test_a_reload_that_a_flag_does_not_go_with_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = settings(tmp_path, "--collector.filesystem.mount-points-include=^/srv")
    logging.getLogger().addHandler(caplog.handler)
    (tmp_path / "f.yml").write_text("exporter: {filesystem: {mount_timeout: 6s}}")
    assert not made.reload()
    assert "exporter.filesystem.mount_timeout: must be below collector_timeout" in caplog.text


def test_the_file_is_checked_without_the_other_roles_sections(tmp_path: Path) -> None:
    assert exporter(tmp_path, "", "api: {threads: 0}") == ExporterConfig()
    with pytest.raises(ConfigError, match=r"f.yml:1: exporter.cpus: no such key; did you mean cpu"):
        exporter(tmp_path, "", "exporter: {cpus: {}}")
    with pytest.raises(ConfigError, match=r"f.yml:1: zzz: no such key"):
        exporter(tmp_path, "", "zzz: 1")


def test_an_old_flag_is_said_in_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "--collector.netdev.device-blacklist=^veth --log.format=logfmt"
    settings(tmp_path, line)
    err = capsys.readouterr().err
    assert "level=warning" in err
    assert "write --collector.netdev.device-exclude" in err


def test_two_names_of_one_thing_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"--listen and --web\.listen-address are the same"):
        settings(tmp_path, "--listen :1 --web.listen-address :2")


def test_push_options_are_put_over_the_section(tmp_path: Path) -> None:
    push = exporter(
        tmp_path,
        "--push http://mon --key-file k --server web-1",
        "exporter: {push: {interval: 1m}}",
    ).push
    assert push.url == "http://mon/api/v1/metrics"
    assert (push.key_file, push.server, push.interval) == (Path("k"), "web-1", 60.0)


PUSHES = [
    pytest.param("--push http://mon", "--push http://mon: push needs key_file", id="no key"),
    pytest.param("--push mon --key-file k", "--push mon: write the API's URL", id="no URL"),
    pytest.param("--server a", "--key-file and --server go with --push", id="no push"),
]


@pytest.mark.parametrize(("line", "said"), PUSHES)
def test_push_options_that_do_not_do(line: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(StartError) as caught:
        settings(tmp_path, line)
    assert str(caught.value).startswith(said)


def test_all_faults_of_the_command_line_end_the_start(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["exporter", "--colector.cpu", "--web.max-requests", "x"]) == 2
    assert capsys.readouterr().err == (
        "--colector.cpu: no such flag; did you mean --collector.cpu?\n"
        "--web.max-requests: 'x' is no whole number from 0 up\n"
    )


def test_other_commands_take_no_flags_of_the_exporters(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["scraper", "--collector.cpu"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --collector.cpu" in capsys.readouterr().err


def once(folder: Path, out: str) -> "subprocess.CompletedProcess[str]":
    """A page with a name that is not ASCII, where the language of all programs is C."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/mounts").write_text("/dev/a /größe ext4 rw 0 0\n")
    flags = ["--collector.disable-defaults", "--collector.filesystem"]
    line = ["exporter", "--once", *flags, "--path.procfs", str(folder / "proc")]
    with Path(out).open("wb") as stdout:
        return subprocess.run(
            [sys.executable, "-m", "fleetpulse_cli.main", *line], cwd=folder,
            env={"PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONUTF8": "0",
                 "PYTHONCOERCECLOCALE": "0"},
            stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip


def test_the_page_is_utf_8_in_any_language(tmp_path: Path) -> None:
    done = once(tmp_path, str(tmp_path / "page"))
    assert done.returncode == 0
    assert "größe" in (tmp_path / "page").read_text(encoding="utf-8")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_page_that_cannot_be_written_is_a_line(tmp_path: Path) -> None:
    done = once(tmp_path, "/dev/full")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    said = "fleetpulse exporter: the page cannot be written: No space left on device"
    assert done.stderr.splitlines()[-1] == said


HEAVY = {
    "api", "email", "flask", "gunicorn", "http", "json", "numpy", "prometheus_client", "pydantic",
    "requests", "rules", "scraper", "socketserver", "sqlite3", "subprocess", "tempfile", "urllib3",
    "wsgiref", "yaml",
}  # fmt: skip
_START = """
import sys
import fleetpulse_cli.main
from fleetpulse_cli.exporter_role import exporter_settings
from fleetpulse_cli.parser import parse
exporter_settings(parse(["exporter", "--once", "--collector.systemd"]))
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_the_exporters_way_to_its_settings_loads_nothing_heavy(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _START], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert HEAVY & set(done.stdout.split()) == set()
