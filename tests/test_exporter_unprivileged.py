"""The exporter as nobody, where nothing can be written and no home is: all that it needs."""

from pathlib import Path

import pytest
import requests

from fleetpulse.logs import wants_a_person
from tests import cage
from tests.exporter_fakes import samples
from tests.support import Process, free_port, wait_ready

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(cage.why_not()), reason=cage.why_not() or "-"),
]

OPTIONAL = ("systemd", "tcpstat", "processes", "top", "script", "sensors", "interrupts")
FLAGS = [f"--collector.{name}" for name in OPTIONAL]


def file(path: Path, content: str, mode: int = 0o444) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(mode)


@pytest.fixture
def guarded_sys(tmp_path: Path) -> Path:
    """A /sys with what the kernel shows to root alone."""
    file(tmp_path / "sys/class/powercap/intel-rapl:0/name", "package-0\n")
    file(tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj", "1\n", 0o400)
    file(tmp_path / "sys/class/dmi/id/product_name", "Box\n")
    file(tmp_path / "sys/class/dmi/id/product_serial", "S3CRET\n", 0o400)
    return tmp_path / "sys"


def log_of(process: Process) -> str:
    assert "Traceback" not in process.output()
    return process.output()


def served(process: Process, port: int) -> dict[str, float]:
    with process:
        wait_ready(f"http://127.0.0.1:{port}", process)
        pages = [requests.get(f"http://127.0.0.1:{port}/metrics", timeout=20) for _ in range(2)]
        uid = Path(f"/proc/{process.pid}/status").read_text().partition("Uid:")[2].split()[0]
    assert int(uid) == cage.NOBODY
    assert [page.status_code for page in pages] == [200, 200]
    return samples(pages[1].text)


def test_the_page_comes_with_all_collectors_on(tmp_path: Path) -> None:
    port = free_port()
    process = Process(
        ["exporter", "--listen", f"127.0.0.1:{port}", *FLAGS], tmp_path / "log", cage.command()
    )
    page = served(process, port)
    lines = log_of(process).splitlines()
    troubles = [line for line in lines if wants_a_person(line) and ": collector " in line]
    # One line a collector at the most, and none of those that are on by default.
    named = [line.partition("collector ")[2].split()[0] for line in troubles]
    assert len(set(named)) == len(named)
    assert set(named) <= set(OPTIONAL), troubles
    for name in ("cpu", "filesystem", "meminfo", "netdev", "processes", "top", "uname"):
        assert page[f'node_scrape_collector_success{{collector="{name}"}}'] == 1


def test_what_is_for_root_alone_is_said_in_a_line(tmp_path: Path, guarded_sys: Path) -> None:
    port = free_port()
    process = Process(
        [
            *("exporter", "--listen", f"127.0.0.1:{port}", "--path.sysfs", str(guarded_sys)),
            *("--collector.disable-defaults", "--collector.dmi", "--collector.rapl"),
        ],
        tmp_path / "log",
        cage.command(guarded_sys),
    )
    page = served(process, port)
    assert page['node_scrape_collector_success{collector="rapl"}'] == 0
    assert page['node_dmi_info{product_name="Box"}'] == 1
    log = log_of(process)
    assert log.count("rapl") == log.count("readable by root alone") == 1
    assert not any(wants_a_person(line) for line in log.splitlines())


def test_once_prints_a_page(tmp_path: Path) -> None:
    process = Process(["exporter", "--once"], tmp_path / "log", cage.command()).start()
    assert process.stop(0) == 0
    assert samples(log_of(process))["node_load1"] >= 0


def test_nothing_can_be_written_there(tmp_path: Path) -> None:
    """The cage is one: push mode, which needs a folder, says that it has none."""
    key = ["--push", "http://127.0.0.1:9", "--key-file", "/dev/null", "--server", "here"]
    process = Process(["exporter", *key], tmp_path / "log", cage.command()).start()
    assert process.stop(0) == 2
    assert "cannot write to the data folder: Read-only file system" in log_of(process)
