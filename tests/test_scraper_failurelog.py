"""scrape_failure_log_file: a line a failure, and what logrotate does to the file."""

import json
from pathlib import Path

import pytest

from scraper.failurelog import FailureLogs


def write(logs: FailureLogs, path: Path, error: str = "timed out") -> None:
    logs.write(path, 1_700_000_000_123, "node", "http://web-1:9100/metrics", error)


def test_a_failure_is_a_line_of_json(tmp_path: Path) -> None:
    path = tmp_path / "failures.log"
    logs = FailureLogs(lambda: None)
    write(logs, path, 'HTTP status 503\n"')
    write(logs, path)
    logs.close()
    first, second = map(json.loads, path.read_text().splitlines())
    assert first == {
        "time": "2023-11-14T22:13:20.123+00:00",
        "level": "ERROR",
        "msg": 'HTTP status 503\n"',
        "job_name": "node",
        "target": "http://web-1:9100/metrics",
    }
    assert second["msg"] == "timed out"


@pytest.mark.parametrize("then", ["moved", "deleted"])
def test_a_file_that_was_rotated_is_opened_anew(tmp_path: Path, then: str) -> None:
    path = tmp_path / "failures.log"
    logs = FailureLogs(lambda: None)
    write(logs, path)
    if then == "moved":
        path.rename(tmp_path / "failures.log.1")
    else:
        path.unlink()
    write(logs, path)
    write(logs, path)
    logs.close()
    assert len(path.read_text().splitlines()) == 2


def test_a_file_that_cannot_be_written_is_told_of_once_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lost: list[int] = []
    logs = FailureLogs(lambda: lost.append(1))
    path = tmp_path / "missing" / "failures.log"
    write(logs, path)
    write(logs, path)
    assert len(lost) == 2
    assert len(caplog.records) == 1
    path.parent.mkdir()
    write(logs, path)
    logs.close()
    assert len(path.read_text().splitlines()) == 1
