from pathlib import Path

import pytest

from fleetpulse.storage.deadletters import DeadLetters


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db.rejected"


def test_a_line_stands_below_its_time_and_reason(path: Path) -> None:
    DeadLetters(path, now=lambda: 0.0).keep(b"m value=1 5\n", "HTTP 400:\n no")
    assert path.read_text() == "# 1970-01-01T00:00:00Z HTTP 400: no\nm value=1 5\n"


def test_a_full_file_is_moved_aside_once(path: Path) -> None:
    letters = DeadLetters(path, max_bytes=200, now=lambda: 0.0)
    for number in range(20):
        letters.keep(b"line %d\n" % number, "why")
    moved = path.with_name(path.name + ".1")
    assert path.stat().st_size <= 200
    assert moved.stat().st_size <= 200
    assert path.read_text().endswith("line 19\n")
    assert {one.name for one in path.parent.iterdir()} == {path.name, moved.name}


def test_where_nothing_can_be_written_the_log_has_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    DeadLetters(tmp_path / "no" / "file").keep(b"m value=1\n", "why")
    assert "lost: m value=1" in caplog.messages[-1]


def test_the_log_is_not_flooded(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    letters = DeadLetters(path, now=lambda: 0.0)
    for _ in range(1000):
        letters.keep(b"x\n", "why")
    assert len(caplog.messages) == 20
