"""Folders of metrics that other programs write: found, kept, and left out when they are bad."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.block import Block
from exporter.collectors import textfile
from exporter.collectors.textfile import TextfileCollector
from exporter.page import TEXT
from tests.exporter_fakes import samples

LONG_AGO = 1_700_000_000
ERROR = "node_textfile_scrape_error"


def write(path: Path, text: str, at: float = LONG_AGO) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (at, at))
    return path


def page_of(collector: TextfileCollector) -> dict[str, float]:
    part, _ = Block().take(collector.collect())
    return samples(part.text(TEXT))


def test_files_are_told_with_the_seconds_they_are_of(tmp_path: Path) -> None:
    a = write(tmp_path / "a.prom", "x 1\n", at=LONG_AGO + 0.75)
    write(tmp_path / "b.prom.tmp", "y 1\n")
    write(tmp_path / "sub/c.prom", "z 1\n")
    assert page_of(TextfileCollector([f"{tmp_path}/"])) == {
        "x": 1,
        f'node_textfile_mtime_seconds{{file="{a}"}}': LONG_AGO,
        ERROR: 0,
    }


@pytest.mark.parametrize("directories", [(), ("",)])
def test_without_a_folder_there_is_nothing_and_no_error(directories: tuple[str, ...]) -> None:
    assert page_of(TextfileCollector(directories)) == {ERROR: 0}


def test_several_folders_and_patterns(tmp_path: Path) -> None:
    write(tmp_path / "jobs/one/a.prom", "a 1\n")
    write(tmp_path / "jobs/.two/b.prom", "b 1\n")
    write(tmp_path / "more/c.prom", "c 1\n")
    page = page_of(TextfileCollector([f"{tmp_path}/jobs/*", f"{tmp_path}/more"]))
    assert (page["a"], page["b"], page["c"], page[ERROR]) == (1, 1, 1, 0)


def test_a_folder_found_twice_is_read_once(tmp_path: Path) -> None:
    write(tmp_path / "d/a.prom", "a 1\n")
    page = page_of(TextfileCollector([f"{tmp_path}/*", f"{tmp_path}/d"]))
    assert (page["a"], page[ERROR]) == (1, 0)


@pytest.mark.parametrize("missing", ["none", "none-*"])
def test_a_missing_folder_is_an_error(tmp_path: Path, missing: str) -> None:
    assert page_of(TextfileCollector([str(tmp_path / missing)])) == {ERROR: 1}


def broken(path: Path) -> None:
    write(path, "x 1\nno metric\n")


def unreadable(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


BAD = [
    pytest.param(broken, "line 2: ", id="it is broken"),
    pytest.param(lambda path: write(path, "x 1 1700000000\n"), "timestamp", id="it has timestamps"),
    pytest.param(lambda path: write(path, "x 1"), "cut short", id="it is cut short"),
    pytest.param(unreadable, "No such file", id="it is a link to nowhere"),
    pytest.param(Path.mkdir, "no file", id="it is a folder"),
    pytest.param(os.mkfifo, "no file", id="it is a pipe that nobody writes to"),
    pytest.param(lambda path: write(path, "#" * 2000 + "\n"), "more than 1000", id="too large"),
    pytest.param(lambda path: write(path, "x 1\n" * 11), "more than 10 samples", id="too long"),
]


@pytest.mark.parametrize(("spoil", "said"), BAD)
def test_a_bad_file_loses_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(tmp_path / "a.prom")
    write(tmp_path / "b.prom", "y 2\n")
    collector = TextfileCollector([str(tmp_path)], max_bytes=1000, max_series=10)
    for _ in range(3):
        page = page_of(collector)
        assert (page.get("x"), page["y"], page[ERROR]) == (None, 2, 1)
        assert f'node_textfile_mtime_seconds{{file="{tmp_path}/a.prom"}}' not in page
    (record,) = caplog.records  # once, for as long as it lasts
    assert said in record.getMessage()
    assert "a.prom" in record.getMessage()


def test_a_fault_that_comes_again_is_logged_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    collector = TextfileCollector([str(tmp_path)])
    for text in ("x\n", "x 1\n", "x\n"):
        write(tmp_path / "a.prom", text, at=LONG_AGO + len(caplog.records))
        page_of(collector)
    assert len(caplog.records) == 2


def test_contradictions_are_an_error_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "a.prom", "# TYPE x gauge\nx 1\n")
    write(tmp_path / "b.prom", "# TYPE x counter\nx 2\ny 3\n")
    page = page_of(TextfileCollector([str(tmp_path)]))
    assert (page["x"], page["y"], page[ERROR]) == (1, 3, 1)
    assert "x is a counter, but a gauge in" in caplog.text


def test_all_files_together_are_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in "abc":
        write(tmp_path / f"{name}.prom", f"{name}1 1\n{name}2 1\n")
    page = page_of(TextfileCollector([str(tmp_path)], max_series=5, max_files=100))
    assert ("a1" in page, "b2" in page, "c1" in page, page[ERROR]) == (True, True, False, 1)
    page = page_of(TextfileCollector([str(tmp_path)], max_files=2))
    assert ("b1" in page, "c1" in page, page[ERROR]) == (True, False, 1)
    assert "of 3 files only 2 are read" in caplog.text


CHANGES = [
    pytest.param("x 2\n", LONG_AGO + 1, 2, id="another time"),
    pytest.param("x 2\ny 1\n", LONG_AGO, 2, id="another size"),
    pytest.param("x 2\n", LONG_AGO, 1, id="none that shows, long after"),
]


@pytest.mark.parametrize(("text", "at", "expected"), CHANGES)
def test_a_file_is_read_again_when_it_has_changed(
    tmp_path: Path, text: str, at: float, expected: float
) -> None:
    collector = TextfileCollector([str(tmp_path)])
    write(tmp_path / "a.prom", "x 1\n")
    assert page_of(collector)["x"] == 1
    write(tmp_path / "a.prom", text, at)
    assert page_of(collector)["x"] == expected


def test_a_file_written_just_now_is_read_again_though_its_time_is_the_same(tmp_path: Path) -> None:
    collector = TextfileCollector([str(tmp_path)], now=lambda: LONG_AGO + 0.1)
    for value in (1, 2):
        write(tmp_path / "a.prom", f"x {value}\n")
        assert page_of(collector)["x"] == value


def test_a_file_put_in_its_place_is_another(tmp_path: Path) -> None:
    collector = TextfileCollector([str(tmp_path)])
    write(tmp_path / "a.prom", "x 1\n")
    assert page_of(collector)["x"] == 1
    write(tmp_path / "new", "x 2\n").rename(tmp_path / "a.prom")
    assert page_of(collector)["x"] == 2


def test_a_file_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    collector = TextfileCollector([str(tmp_path)])
    file = write(tmp_path / "a.prom", "x 1\n")
    assert "x" in page_of(collector)
    file.unlink()
    assert page_of(collector) == {ERROR: 0}


def test_families_stay_the_same_while_only_values_change(tmp_path: Path) -> None:
    collector = TextfileCollector([str(tmp_path)])
    shapes = []
    block = Block()
    for value in (1, 2):
        write(tmp_path / "a.prom", f"x {value}\n", at=LONG_AGO + value)
        shapes.append(block.take(collector.collect())[0].shape)
    assert shapes[0] is shapes[1]  # the page is not made anew


def test_series_that_left_are_not_remembered(tmp_path: Path) -> None:
    collector = TextfileCollector([str(tmp_path)])
    for turn in range(50):
        write(tmp_path / "a.prom", f'x{{turn="{turn}"}} 1\n', at=LONG_AGO + turn)
        page_of(collector)
    (file,) = collector._files.values()
    assert len(file.known) <= 2


def test_what_a_counter_says_is_told_even_when_it_falls(tmp_path: Path) -> None:
    block, collector = Block(), TextfileCollector([str(tmp_path)])
    for value in (100, 99):
        write(tmp_path / "a.prom", f"# TYPE x_total counter\nx_total {value}\n", LONG_AGO - value)
        part, dropped = block.take(collector.collect())
        assert samples(part.text(TEXT))["x_total"] == value
        assert not dropped


def test_a_file_read_amid_a_change_is_whole(tmp_path: Path) -> None:
    """Renamed into place again and again while it is read: one or the other, never a mixture."""
    file, new = tmp_path / "a.prom", tmp_path / "new"
    bodies = [(f"x {n}\n" * 3000).encode() for n in (1, 22)]
    write(file, bodies[0].decode())
    done = threading.Event()

    def replace() -> None:
        turn = 0
        while not done.is_set():
            turn += 1
            new.write_bytes(bodies[turn % 2])
            new.rename(file)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        read = {textfile.read(str(file), 1 << 20)[0] for _ in range(300)}
    finally:
        done.set()
        writer.join()
    assert read <= set(bodies)


def test_the_reader_is_not_loaded_before_there_is_a_file(tmp_path: Path) -> None:
    code = (
        "import sys; from exporter.collectors.textfile import TextfileCollector;"
        f"list(TextfileCollector([{str(tmp_path)!r}]).collect());"
        "print([m for m in ('fleetpulse.openmetrics', 'exporter.promfile') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
    assert done.stdout.strip() == b"[]"


@pytest.fixture(autouse=True)
def _warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)


def test_without_a_folder_another_is_looked_into_if_it_is_there(tmp_path: Path) -> None:
    collector = TextfileCollector(otherwise=str(tmp_path / "later"))
    assert page_of(collector) == {"node_textfile_scrape_error": 0}
    (tmp_path / "later").mkdir()
    (tmp_path / "later/a.prom").write_text("a 1\n")
    assert page_of(collector)["a"] == 1


def test_a_folder_that_is_named_is_the_only_one(tmp_path: Path) -> None:
    (tmp_path / "a.prom").write_text("a 1\n")
    (tmp_path / "empty").mkdir()
    collector = TextfileCollector([str(tmp_path / "empty")], otherwise=str(tmp_path))
    assert "a" not in page_of(collector)
