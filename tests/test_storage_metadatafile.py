import logging
from pathlib import Path

import pytest

from fleetpulse.model import Metadata
from fleetpulse.storage.metadatafile import MetadataFile

ONE, TWO = Metadata("counter", "Of one.", "bytes"), Metadata("gauge", 'Of "two" \n.')


def test_what_one_process_was_told_another_reads(tmp_path: Path) -> None:
    path = tmp_path / "data" / "metadata.json"
    MetadataFile(path).add({"one": ONE})
    MetadataFile(path).add({"two": TWO})
    assert MetadataFile(path).read() == {"one": ONE, "two": TWO}
    MetadataFile(path).add({"one": TWO})
    assert MetadataFile(path).read() == {"one": TWO, "two": TWO}
    assert [one.name for one in path.parent.iterdir()] == ["metadata.json"]


@pytest.mark.parametrize("text", ["", "{half", "[]", '{"a": {"kind": "x"}}', '{"a": 1}'])
def test_a_broken_file_is_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "m").write_text(text)
    file = MetadataFile(tmp_path / "m")
    assert file.read() == {}
    file.add({"one": ONE})
    assert file.read() == {"one": ONE}


def test_what_is_known_is_not_written_again(tmp_path: Path) -> None:
    file = MetadataFile(tmp_path / "m")
    file.add({"one": ONE, "two": TWO})
    before = (tmp_path / "m").stat().st_ino
    file.add({"two": TWO})
    assert (tmp_path / "m").stat().st_ino == before


def test_a_place_that_cannot_be_written_is_told_and_costs_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.ERROR):
        MetadataFile(tmp_path / "file" / "m").add({"one": ONE})
    assert "cannot be written" in caplog.text
