"""What the exporter tells of its own process, from /proc."""

import resource
from pathlib import Path

import pytest

from exporter.collectors.base import Host
from exporter.collectors.process import ProcessCollector
from tests.exporter_fakes import page_of

# A name may hold anything; then state, …, the ticks of CPU (14, 15), when it was started (22), its
# address space (23) and its pages of memory (24).
_STAT = "7 (a) (b) S 1 7 7 0 -1 0 10 0 0 0 250 50 0 0 20 0 3 0 4200 300000 25 0 0 0\n"
_FIGURES = {
    "process_cpu_seconds_total": 3.0,
    "process_virtual_memory_bytes": 300_000.0,
    "process_virtual_memory_max_bytes": 2.0**64 - 1,
    "process_resident_memory_bytes": 25 * 4096.0,
    "process_open_fds": 2.0,
    "process_max_fds": 1024.0,
    "process_start_time_seconds": 1_700_000_042.0,
}


def limit(what: int) -> tuple[int, int]:
    soft = 1024 if what == resource.RLIMIT_NOFILE else resource.RLIM_INFINITY
    return soft, resource.RLIM_INFINITY


@pytest.fixture
def procfs(tmp_path: Path) -> Path:
    (tmp_path / "self/fd").mkdir(parents=True)
    for number in "01":
        (tmp_path / "self/fd" / number).touch()
    (tmp_path / "self/stat").write_text(_STAT)
    (tmp_path / "stat").write_text("cpu 1 2 3 4\nbtime 1700000000\nprocesses 9\n")
    return tmp_path


def told(procfs: Path) -> dict[str, float]:
    collector = ProcessCollector(Host(procfs), ticks=100, page_size=4096, limit=limit)
    return page_of(collector.collect())


def test_all_of_it(procfs: Path) -> None:
    assert told(procfs) == _FIGURES


def test_where_all_but_processes_is_hidden_only_the_start_is_not_told(procfs: Path) -> None:
    (procfs / "stat").unlink()  # as systemd's ProcSubset=pid has it
    lacking = _FIGURES.keys() - told(procfs).keys()
    assert lacking == {"process_start_time_seconds"}


def test_open_files_that_cannot_be_listed_are_not_none(procfs: Path) -> None:
    for file in (procfs / "self/fd").iterdir():
        file.unlink()
    (procfs / "self/fd").rmdir()
    assert _FIGURES.keys() - told(procfs).keys() == {"process_open_fds", "process_max_fds"}
